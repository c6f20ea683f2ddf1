"""The engine: runs loaded models over streams, numpy in and numpy out.

The daemon knows only `Engine`; states are opaque to it. `TorchEngine` is the reference.

Shape letters: B streams, N samples, T frames, F mels, V labels.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from auricle.configs.errors import ModelError
from auricle.models import state as states
from auricle.models.checkpoint import load_model
from auricle.models.decoding.transducer import TransducerSearch
from auricle.models.frontend import LogMel
from auricle.models.runtime import Features, Runtime, runtime_of
from auricle.models.second_pass import SECOND_SUFFIX, SecondPass, load_second_pass
from auricle.models.zoo import find_model, shipped_path

Array = NDArray[np.float32]
State = Any  # opaque to callers; a NamedTuple of tensors here


class Frontend(Protocol):
    """What a caller must know of a front end; also its handle. Auricle's own is `FrontendConfig`."""

    @property
    def hop_samples(self) -> int:
        """Samples from one frame to the next."""

    @property
    def width(self) -> int:
        """Numbers in one frame, F."""

    @property
    def delay_samples(self) -> int:
        """Samples that a frame needs beyond the hop that it stands for."""


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
    frontend: Frontend
    parameters: int
    """0: unknown."""
    channels: int = 0
    """Numbers in each output frame that are no posteriors of `labels`, as of a transducer's encoder."""
    hidden: int = 0
    """Hidden values that follow the posteriors in each output frame, H; 0 without a second pass."""
    second: str = ""
    """Name and hash of the second pass, as `name`."""
    file: Path | None = None
    """Where the weights are; None for a model that was trained elsewhere."""

    @property
    def outputs(self) -> int:
        """Numbers in each output frame before the hidden values, V."""
        return self.channels or len(self.labels)

    @property
    def width(self) -> int:
        """Numbers in each output frame, W = V + H."""
        return self.outputs + self.hidden

    @property
    def frame_samples(self) -> int:
        """Samples for each output frame."""
        return self.stride_frames * self.frontend.hop_samples


class Engine(Protocol):
    """One step of any model over B streams: `(input, state) -> (output, state)`."""

    def load(self, name: str, cell: str = "gru", *, second_pass: bool = False) -> ModelInfo:
        """Loads a shipped model, a file, or one trained elsewhere; with its second pass, if it has one."""

    def transducer_search(self, model: ModelInfo, beam: int = 1) -> TransducerSearch:
        """The search over the outputs of a model of kind "transducer"."""

    def frontend_state(self, frontend: Frontend, batch_size: int = 1) -> State:
        """State of a front end that has heard nothing."""

    def model_state(self, model: ModelInfo, batch_size: int = 1) -> State:
        """State of a model that has heard nothing."""

    def features(self, frontend: Frontend, samples: Array, state: State) -> tuple[Array, State]:
        """Samples `(B, N)`, N whole hops of 10 ms, to those frames `(B, T, F)` that are now whole."""

    def infer(self, model: ModelInfo, frames: Array, state: State) -> tuple[Array, State]:
        """Frames `(B, T, F)`, T whole strides, to posteriors and hidden values `(B, T / stride, W)`."""

    def look_again(self, model: ModelInfo, hidden: Array) -> Array:
        """Hidden values of an utterance `(J, H)` to the posteriors of the second pass `(J, V)`."""

    def dump_state(self, state: State) -> dict[str, NDArray[Any]]:
        """The tensors of a state by name, to be stored."""

    def restore_state(self, tensors: Mapping[str, NDArray[Any]], like: State) -> State:
        """The state that `dump_state` took apart; `like` is a state of the same structure."""


class _Loaded(NamedTuple):
    network: Any
    """`(frames, state) -> (output, state)` over torch tensors, with `initial_state(batch_size)`."""
    activation: str = ""
    """What turns its output into posteriors; nothing: it gives them itself."""
    search: Callable[..., TransducerSearch] | None = None
    second: SecondPass | None = None


IMPORTED = ("silero", "emformer-rnnt")
"""Names of models trained elsewhere; a folder with one goes by its path."""
FEW_STEPS = 4
"""Steps in one call up to which plain kernels beat oneDNN's (LSTM 3 to 20 times faster), where torch runs a
model."""


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
        self._frontends: dict[Frontend, Any] = {}

    def load(self, name: str, cell: str = "gru", *, second_pass: bool = False) -> ModelInfo:
        """Loads a shipped model, a file, or a model trained elsewhere (`imported.load` says which).

        Loading one again returns the same handle.

        Args:
            name: which.
            cell: which version of a shipped one.
            second_pass: whether the second pass is wanted that may lie beside the file.

        Raises:
            ModelError: there is no such model, its file is damaged, or it needs a package that is missing.
        """
        if name in IMPORTED or (Path(name).expanduser().is_dir() and shipped_path(name, cell) is None):
            return self._load_imported(name)
        path = find_model(name, cell)
        spec, network, digest = load_model(path)
        beside, second, second_name = path.with_suffix(SECOND_SUFFIX), None, ""
        if second_pass and beside.exists():
            second, second_digest = load_second_pass(beside, digest, spec.network)
            second_name = f"{beside.name}@{second_digest}"
        info = ModelInfo(
            name=f"{path.stem}@{digest}",
            kind=spec.kind,
            labels=spec.labels,
            stride_frames=spec.network.stride_frames,
            lookahead_frames=spec.lookahead_frames,
            frontend=spec.frontend,
            parameters=sum(weight.numel() for weight in network.parameters()),
            hidden=0 if second is None else spec.network.hidden,
            second=second_name,
            file=path,
        )
        if info not in self._models:
            runtime = runtime_of(network.requires_grad_(False))
            self._models[info] = _Loaded(runtime, spec.activation, second=second)
        self._frontends.setdefault(spec.frontend, Features(LogMel(spec.frontend)))
        return info

    def _load_imported(self, name: str) -> ModelInfo:
        from auricle.models.imported.load import load_imported  # what it needs is optional

        found = load_imported(name)
        self._models.setdefault(found.info, _Loaded(found.network, search=found.search))
        self._frontends.setdefault(found.info.frontend, found.frontend)
        return found.info

    def transducer_search(self, model: ModelInfo, beam: int = 1) -> TransducerSearch:
        """The search over a transducer's outputs, with so many hypotheses (1: greedy).

        Raises:
            ModelError: the model is no transducer.
        """
        make = self._models[model].search
        if make is None:
            raise ModelError(f"{model.name} is a '{model.kind}' model, expected a transducer")
        return make(beam=beam)

    def frontend_state(self, frontend: Frontend, batch_size: int = 1) -> State:
        """State of a front end that has heard nothing."""
        return self._frontends[frontend].initial_state(batch_size)

    def model_state(self, model: ModelInfo, batch_size: int = 1) -> State:
        """State of a model that has heard nothing."""
        return self._models[model].network.initial_state(batch_size)

    @torch.inference_mode()
    def features(self, frontend: Frontend, samples: Array, state: State) -> tuple[Array, State]:
        """Samples `(B, N)`, N whole hops of 10 ms, to those frames `(B, T, F)` that are now whole."""
        frames, state = self._frontends[frontend](torch.from_numpy(samples), state)
        return frames.numpy(), state

    @torch.inference_mode()
    def infer(self, model: ModelInfo, frames: Array, state: State) -> tuple[Array, State]:
        """Frames `(B, T, F)`, T whole strides, to posteriors and hidden values `(B, T / stride, W)`."""
        network, activation, _, second = self._models[model]
        steps, hidden = frames.shape[1] // model.stride_frames, None
        # oneDNN repacks an LSTM's weights at each call: for a few steps that costs more than it saves.
        with nullcontext() if isinstance(network, Runtime) else _onednn(enabled=steps > FEW_STEPS):
            if second is None:
                output, state = network(torch.from_numpy(frames), state)
            else:
                hidden, state = network.hidden(torch.from_numpy(frames), state)
                output = network.logits(hidden)
        if activation:
            output = output.sigmoid() if activation == "sigmoid" else output.softmax(-1)
        found: Array = (output if hidden is None else torch.cat([output, hidden], -1)).numpy()
        return found, state

    @torch.inference_mode()
    def look_again(self, model: ModelInfo, hidden: Array) -> Array:
        """Hidden values of an utterance `(J, H)` to the posteriors of the second pass `(J, V)`.

        Raises:
            ModelError: the model has none.
        """
        second = self._models[model].second
        if second is None:
            raise ModelError(f"{model.name} has no second pass")
        found: Array = second(torch.from_numpy(hidden)[None])[0].softmax(-1).numpy()
        return found

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
