"""The engine: runs loaded models over streams, numpy in and numpy out.

The daemon knows only `Engine`; states are opaque to it. `TorchEngine` is the reference.

Shape letters: B streams, N samples, T frames, F mels, V labels.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from auricle.configs.errors import ModelError
from auricle.models import state as states
from auricle.models.checkpoint import ModelSpec, load_model
from auricle.models.frontend import FrontendConfig, LogMel
from auricle.models.network import Network
from auricle.models.zoo import find_model

Array = NDArray[np.float32]
State = Any  # opaque to callers; a NamedTuple of tensors here


@dataclass(frozen=True)
class ModelInfo:
    """What a caller must know of a loaded model; also its handle."""

    name: str
    """File stem and hash, as events carry it: `keyword-gru@1a2b3c4d`."""
    kind: str
    labels: tuple[str, ...]
    stride_frames: int
    """Feature frames for each output frame."""
    lookahead_frames: int
    """Output frames that an output lags behind what it speaks of."""
    frontend: FrontendConfig
    parameters: int

    @property
    def frame_samples(self) -> int:
        """Samples for each output frame."""
        return self.stride_frames * self.frontend.hop_samples


class Engine(Protocol):
    """One step of any model over B streams: `(input, state) -> (output, state)`."""

    def load(self, name: str, cell: str = "gru") -> ModelInfo:
        """Loads a shipped model or a file."""

    def frontend_state(self, frontend: FrontendConfig, batch_size: int = 1) -> State:
        """State of a front end that has heard nothing."""

    def model_state(self, model: ModelInfo, batch_size: int = 1) -> State:
        """State of a model that has heard nothing."""

    def features(self, frontend: FrontendConfig, samples: Array, state: State) -> tuple[Array, State]:
        """Samples `(B, N)`, N whole hops, to frames `(B, T, F)`."""

    def infer(self, model: ModelInfo, frames: Array, state: State) -> tuple[Array, State]:
        """Frames `(B, T, F)`, T whole strides, to posteriors `(B, T / stride, V)`."""

    def dump_state(self, state: State) -> dict[str, NDArray[Any]]:
        """The tensors of a state by name, to be stored."""

    def restore_state(self, tensors: Mapping[str, NDArray[Any]], like: State) -> State:
        """The state that `dump_state` took apart; `like` is a state of the same structure."""


class _Loaded(NamedTuple):
    spec: ModelSpec
    network: Network


FEW_STEPS = 4
"""Steps in one call up to which plain kernels beat oneDNN's (GRU equal, LSTM 3 to 20 times faster)."""


def limit_threads(threads: int) -> None:
    """Sets how many threads a step may use, and treats denormal numbers as zero; call it first in `main`."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)


@contextmanager
def _onednn(*, enabled: bool) -> Iterator[None]:
    """Switches oneDNN only; torch's own context manager touches (and warns of) GPU settings too."""
    onednn: Any = torch.backends.mkldnn
    before, onednn.enabled = onednn.enabled, enabled
    try:
        yield
    finally:
        onednn.enabled = before


class TorchEngine:
    """Runs models eagerly on the CPU."""

    def __init__(self) -> None:
        """Holds no model yet; the caller sets torch's threads (one is best for small steps)."""
        self._models: dict[ModelInfo, _Loaded] = {}
        self._frontends: dict[FrontendConfig, LogMel] = {}

    def load(self, name: str, cell: str = "gru") -> ModelInfo:
        """Loads a shipped model or a file; loading one again returns the same handle.

        Raises:
            ModelError: there is no such model, or its file is damaged.
        """
        path = find_model(name, cell)
        spec, network, digest = load_model(path)
        info = ModelInfo(
            name=f"{path.stem}@{digest}",
            kind=spec.kind,
            labels=spec.labels,
            stride_frames=spec.network.stride_frames,
            lookahead_frames=spec.lookahead_frames,
            frontend=spec.frontend,
            parameters=sum(weight.numel() for weight in network.parameters()),
        )
        self._models.setdefault(info, _Loaded(spec, network.requires_grad_(False)))
        self._frontends.setdefault(spec.frontend, LogMel(spec.frontend))
        return info

    def frontend_state(self, frontend: FrontendConfig, batch_size: int = 1) -> State:
        """State of a front end that has heard nothing."""
        return self._frontends[frontend].initial_state(batch_size)

    def model_state(self, model: ModelInfo, batch_size: int = 1) -> State:
        """State of a model that has heard nothing."""
        return self._models[model].network.initial_state(batch_size)

    @torch.inference_mode()
    def features(self, frontend: FrontendConfig, samples: Array, state: State) -> tuple[Array, State]:
        """Samples `(B, N)`, N whole hops, to log mel frames `(B, T, F)`."""
        frames, state = self._frontends[frontend](torch.from_numpy(samples), state)
        return frames.numpy(), state

    @torch.inference_mode()
    def infer(self, model: ModelInfo, frames: Array, state: State) -> tuple[Array, State]:
        """Frames `(B, T, F)`, T whole strides, to posteriors `(B, T / stride, V)`."""
        spec, network = self._models[model]
        steps = frames.shape[1] // model.stride_frames
        # oneDNN repacks an LSTM's weights at each call: for a few steps that costs more than it saves.
        with _onednn(enabled=steps > FEW_STEPS):
            logits, state = network(torch.from_numpy(frames), state)
        posterior = logits.sigmoid() if spec.activation == "sigmoid" else logits.softmax(-1)
        return posterior.numpy(), state

    def dump_state(self, state: State) -> dict[str, NDArray[Any]]:
        """The tensors of a state by name, to be stored."""
        return {name: tensor.numpy() for name, tensor in states.to_dict(state).items()}

    def restore_state(self, tensors: Mapping[str, NDArray[Any]], like: State) -> State:
        """The state that `dump_state` took apart.

        Raises:
            ModelError: the tensors do not fit `like`.
        """
        try:
            return states.from_dict({name: torch.tensor(value) for name, value in tensors.items()}, like)
        except TypeError as error:
            raise ModelError(f"a stored state holds something else than numbers: {error}") from error
