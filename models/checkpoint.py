"""Model files: weights, configurations, labels and training record in one safetensors file."""

import hashlib
import json
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from auricle.configs.errors import ModelError
from auricle.configs.whole import written_whole
from auricle.models.frontend import FrontendConfig
from auricle.models.network import Network, NetworkConfig

FORMAT = "auricle.model/1"
ACTIVATIONS = ("sigmoid", "softmax")
C = TypeVar("C")


@dataclass(frozen=True)
class ModelSpec:
    """All that must be known of a model beside its weights."""

    kind: str
    """What the outputs mean: "vad", "keyword" or "acoustic"."""
    labels: tuple[str, ...]
    network: NetworkConfig
    frontend: FrontendConfig = field(default_factory=FrontendConfig)
    activation: str = "softmax"
    """What turns logits into posteriors: "sigmoid" or "softmax"."""
    lookahead_frames: int = 0
    """Output frame j speaks of the audio that ended this many output frames before it."""
    record: dict[str, Any] = field(default_factory=dict)
    """How it was trained: command, data, licences, figures."""

    def __post_init__(self) -> None:
        """Checks that the parts fit each other."""
        if len(self.labels) != self.network.labels:
            raise ModelError(f"{len(self.labels)} labels for a network of {self.network.labels} outputs")
        if self.frontend.mels != self.network.mels:
            raise ModelError(f"a front end of {self.frontend.mels} mels for a network of {self.network.mels}")
        if self.activation not in ACTIVATIONS:
            raise ModelError(f"unknown activation '{self.activation}': expected one of {ACTIVATIONS}")

    @property
    def frame_samples(self) -> int:
        """Samples of audio for each output frame."""
        return self.network.stride_frames * self.frontend.hop_samples


def save_model(path: Path, spec: ModelSpec, network: Network, dtype: torch.dtype = torch.float16) -> str:
    """Writes a model file, whole or not at all.

    Args:
        path: where to, ending in `.safetensors`.
        spec: what the model is; its network configuration must be the network's own.
        network: the weights.
        dtype: how to store floating-point weights.

    Returns:
        The model's hash (see `file_hash`).
    """
    if spec.network != network.config:
        raise ModelError(f"the description says {spec.network}, the network is {network.config}")
    weights = {
        name: (value.to(dtype) if value.is_floating_point() else value).contiguous()
        for name, value in network.state_dict().items()
    }
    header = json.dumps({"format": FORMAT, **asdict(spec)}, sort_keys=True)
    content = save(weights, metadata={"auricle": header})
    with written_whole(path) as partial:
        partial.write_bytes(content)
    return file_hash(content)


def file_hash(content: bytes) -> str:
    """First eight hexadecimal digits of the SHA-256 of a model file: names exactly these weights."""
    return hashlib.sha256(content).hexdigest()[:8]


def load_model(path: Path) -> tuple[ModelSpec, Network, str]:
    """Reads a model file.

    Returns:
        The description, the network in evaluation mode with float32 weights, and the file's hash.

    Raises:
        ModelError: the file is missing, damaged, of another format, or its weights do not fit.
    """
    try:
        content = path.read_bytes()
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ModelError(
            f"cannot read model file {path}: {why}; check the path, or train one with `auricle train`"
        ) from error
    spec = _parse_header(path, metadata.get("auricle", ""))
    network = Network(spec.network)
    _fit(path, network, weights)
    return spec, network.eval(), file_hash(content)


def _parse_header(path: Path, text: str) -> ModelSpec:
    try:
        header = json.loads(text)
        found = header.pop("format")
        if found != FORMAT:
            raise ModelError(
                f"{path} has format '{found}', expected '{FORMAT}': a file of another kind, or version"
            )
        header["network"] = _build(NetworkConfig, header["network"])
        header["frontend"] = _build(FrontendConfig, header["frontend"])
        return _build(ModelSpec, header)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{path} is no Auricle model (header: {error!r}); train one with `auricle train`"
        ) from error


def _build(kind: type[C], values: dict[str, Any]) -> C:
    """Makes a dataclass of its own fields and no others, lists turned into tuples.

    A field with a plain default may be missing: the file is older than the field, whose default means "as
    before".
    """
    entries = fields(kind)  # type: ignore[arg-type]
    missing = {entry.name for entry in entries if entry.default is MISSING} - values.keys()
    unknown = values.keys() - {entry.name for entry in entries}
    if missing or unknown:
        raise KeyError(f"{kind.__name__}: missing {missing}, unknown {unknown}")
    return kind(
        **{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    )


def _fit(path: Path, network: Network, weights: dict[str, Tensor]) -> None:
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    if wrong := sorted(
        name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)
    ):
        details = "; ".join(f"{name}: expected {expected.get(name)}, got {found.get(name)}" for name in wrong)
        raise ModelError(f"the weights in {path} do not fit its network ({details})")
    network.load_state_dict({name: value.float() for name, value in weights.items()})
