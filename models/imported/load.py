"""Which model trained elsewhere a name means, and how the engine runs it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from auricle.configs.errors import ModelError
from auricle.models.decoding.transducer import TransducerSearch
from auricle.models.engine import ModelInfo
from auricle.models.imported import emformer, silero
from auricle.models.imported.emformer import EmformerFolder
from auricle.models.imported.files import verify
from auricle.models.imported.frontends import Segments, Windows
from auricle.models.imported.sherpa import SherpaFolder

UNKNOWN = 0
"""How many parameters a graph has that does not say so."""


class Imported(NamedTuple):
    """A loaded model with all that belongs to it."""

    info: ModelInfo
    network: Any
    """`(frames, state) -> (output, state)`, with `initial_state`."""
    frontend: Any
    """The same for samples."""
    search: Callable[..., TransducerSearch] | None = None
    """Makes a search over a transducer's outputs; takes `beam`."""


def load_imported(name: str) -> Imported:
    """Loads `silero`, `emformer-rnnt`, or a folder with a transducer.

    Raises:
        ModelError: a file or a package is missing, doubtful or damaged.
    """
    if name == silero.NAME:
        return _silero()
    folder = emformer.download() if name == emformer.NAME else Path(name).expanduser()
    if any(folder.glob("*.onnx")):
        return _transducer(SherpaFolder(folder), 1)
    if any(folder.glob("*.pt")):
        return _transducer(EmformerFolder(folder), emformer.MOST_TOKENS)
    raise ModelError(
        f"{folder} holds no transducer: neither one for sherpa-onnx (encoder, decoder, joiner .onnx and "
        "tokens.txt) nor torchaudio's RNN-T (.pt, .model, .json)"
    )


def _silero() -> Imported:
    path = silero.find_silero()
    info = ModelInfo(
        name=f"{silero.NAME}@{verify(path.parent, [path])}",
        kind="vad",
        labels=("speech",),
        stride_frames=1,
        lookahead_frames=0,
        frontend=silero.FRONTEND,
        parameters=UNKNOWN,
    )
    return Imported(info, silero.Silero(path), Windows(silero.FRONTEND))


def _transducer(folder: SherpaFolder | EmformerFolder, most_tokens: int) -> Imported:
    encoder = folder.encoder
    info = ModelInfo(
        name=folder.name,
        kind="transducer",
        labels=(),
        stride_frames=1,
        lookahead_frames=0,
        frontend=folder.frontend,
        parameters=UNKNOWN,
        channels=encoder.frames_per_output * encoder.channels,
    )
    search = partial(
        TransducerSearch,
        folder.predictor,
        folder.tokens,
        frames_per_output=encoder.frames_per_output,
        most_tokens=most_tokens,
    )
    return Imported(info, encoder, Segments(folder.frontend), search)
