"""torchaudio's RNN-T bundle: an Emformer as encoder, an LSTM as predictor.

A folder holds the weights (`*.pt`), the statistics of the features (`*stat*.json` with "mean" and
"invstddev"), the SentencePiece model of the tokens (`*.model`), and, if the network is not torchaudio's base
one, `network.json` with the arguments of `torchaudio.models.emformer_rnnt_model`. The name `emformer-rnnt`
stands for the files of `torchaudio.pipelines.EMFORMER_RNNT_BASE_LIBRISPEECH`, downloaded once.

Features are computed over the whole stream, as in training; torchaudio's own streaming recipe begins anew in
each segment.

Shape letters: B streams, K segments, S frames in a segment, F mels, J joiner channels, V tokens.
"""

import json
import logging
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from auricle.configs.errors import ModelError
from auricle.configs.whole import written_whole
from auricle.models.decoding.transducer import Array
from auricle.models.imported.files import SUMS, find_one, verify, write_sums
from auricle.models.imported.frontends import SegmentConfig
from auricle.models.imported.pieces import read_pieces

NAME = "emformer-rnnt"
DOWNLOADS = {
    "weights.pt": "models/emformer_rnnt_base_librispeech.pt",
    "statistics.json": "pipeline-assets/global_stats_rnnt_librispeech.json",
    "pieces.model": "pipeline-assets/spm_bpe_4096_librispeech.model",
}
"""Our names of the bundle's files, and torchaudio's."""
NETWORK_FILE = "network.json"
MOST_TOKENS = 4
"""Tokens that one frame of 40 ms may give."""
_LOG = logging.getLogger(__name__)
State = tuple[tuple[Tensor, ...], ...]


class Networks(NamedTuple):
    """What a folder describes."""

    rnnt: Any
    segment_frames: int
    """Frames that a segment stands for."""
    right_frames: int
    """Frames that it sees beyond those."""
    time_reduction: int
    """Feature frames in one encoder frame."""
    mels: int


class EmformerEncoder:
    """The encoder, segment by segment."""

    def __init__(self, networks: Networks, mean: Tensor, scale: Tensor) -> None:
        """Takes the networks, and what the features are normalised by, each with shape `(F,)`."""
        self._networks, self._mean, self._scale = networks, mean, scale
        self.frames_per_output = networks.segment_frames // networks.time_reduction
        seen = networks.segment_frames + networks.right_frames
        self._shape = (seen, networks.mels)
        self._lengths = torch.tensor([seen])
        with torch.inference_mode():
            encoded, _, state = networks.rnnt.transcribe_streaming(
                torch.zeros(1, *self._shape), self._lengths, None
            )
        self.channels = int(encoded.shape[2])
        self._fresh: State = tuple(
            tuple(torch.zeros_like(leaf).transpose(0, 1).contiguous() for leaf in layer) for layer in state
        )

    def initial_state(self, batch_size: int) -> State:
        """Returns the state of streams that have heard nothing."""
        return tuple(
            tuple(leaf.expand(batch_size, *leaf.shape[1:]).clone() for leaf in layer) for layer in self._fresh
        )

    def __call__(self, segments: Tensor, state: State) -> tuple[Tensor, State]:
        """Segments `(B, K, S * F)` to encoder frames `(B, K, frames_per_output * J)`, and the new state."""
        rnnt, outputs = self._networks.rnnt, []
        heard = (segments.reshape(*segments.shape[:2], *self._shape) - self._mean) * self._scale
        lengths = self._lengths.expand(len(heard))
        carried: Any = [[leaf.transpose(0, 1) for leaf in layer] for layer in state]
        for segment in range(segments.shape[1]):
            encoded, _, carried = rnnt.transcribe_streaming(heard[:, segment], lengths, carried)
            outputs.append(encoded.reshape(len(heard), 1, -1))
        if not outputs:
            return segments.new_zeros(len(heard), 0, self.frames_per_output * self.channels), state
        after = tuple(tuple(leaf.transpose(0, 1).clone() for leaf in layer) for layer in carried)
        return torch.cat(outputs, dim=1), after


class EmformerPredictor:
    """The bundle's LSTM predictor and its joiner."""

    def __init__(self, rnnt: Any, blank: int, silent: frozenset[int]) -> None:
        """Takes the networks, and which tokens are no text."""
        self._rnnt, self.blank, self.silent = rnnt, blank, silent
        self._one = torch.tensor([1])
        self._begin = self._predict([blank], None)

    def begin(self) -> tuple[Array, Any]:
        """What is predicted before the first token, and the LSTM's state."""
        predicted, memories = self._begin
        return predicted[0], memories[0]

    def advance(self, tokens: Sequence[int], memories: Sequence[Any]) -> tuple[Array, list[Any]]:
        """What is predicted after one more token each."""
        layers = zip(*memories, strict=True)
        state = [[torch.cat(leaves) for leaves in zip(*layer, strict=True)] for layer in layers]
        return self._predict(tokens, state)

    @torch.inference_mode()
    def _predict(self, tokens: Sequence[int], state: Any) -> tuple[Array, list[Any]]:
        targets = torch.tensor([[token] for token in tokens])
        predicted, _, after = self._rnnt.predict(targets, self._one.expand(len(tokens)), state)
        rows = range(len(tokens))
        memories = [tuple(tuple(leaf[row : row + 1] for leaf in layer) for layer in after) for row in rows]
        return predicted[:, 0].numpy(), memories

    @torch.inference_mode()
    def join(self, encoded: Array, predicted: Array) -> Array:
        """Logarithms of token probabilities `(K, V)`."""
        count = len(predicted)
        source = torch.from_numpy(encoded).expand(count, 1, -1)
        lengths = self._one.expand(count)
        joined, _, _ = self._rnnt.join(source, lengths, torch.from_numpy(predicted)[:, None], lengths)
        found: Array = joined[:, 0, 0].log_softmax(-1).numpy()
        return found


class EmformerFolder:
    """A folder with the bundle's files."""

    def __init__(self, folder: Path) -> None:
        """Finds, verifies and loads them.

        Raises:
            ModelError: a file is missing, doubtful, damaged, or they do not fit each other.
        """
        weights = find_one(folder, "file of weights", "*.pt")
        pieces = find_one(folder, "SentencePiece model", "*.model")
        statistics = find_one(folder, "file of statistics", "*stat*.json")
        network = folder / NETWORK_FILE
        files = [weights, pieces, statistics, *([network] if network.is_file() else [])]
        self.name = f"{folder.name}@{verify(folder, files)}"
        known = read_pieces(pieces)
        self.tokens = [*(piece.text for piece in known), ""]
        networks = build_networks(network, len(self.tokens))
        _load_weights(networks.rnnt, weights)
        mean, scale = _read_statistics(statistics, networks.mels)
        silent = frozenset(number for number, piece in enumerate(known) if not piece.is_text)
        self.encoder = EmformerEncoder(networks, mean, scale)
        self.predictor = EmformerPredictor(networks.rnnt, len(known), silent)
        seen = networks.segment_frames + networks.right_frames
        self.frontend = SegmentConfig("torchaudio", seen, networks.segment_frames, networks.mels)


def build_networks(path: Path, symbols: int) -> Networks:
    """Builds torchaudio's base network, or the one that a file describes, without weights.

    Raises:
        ModelError: the description is no such network.
    """
    from torchaudio.models import emformer_rnnt_base, emformer_rnnt_model
    from torchaudio.pipelines import EMFORMER_RNNT_BASE_LIBRISPEECH as BUNDLE

    if not path.is_file():
        rnnt = emformer_rnnt_base(num_symbols=symbols).eval().requires_grad_(False)
        return Networks(rnnt, BUNDLE.segment_length, BUNDLE.right_context_length, 4, BUNDLE.n_mels)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        rnnt = emformer_rnnt_model(**values, num_symbols=symbols).eval().requires_grad_(False)
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(f"{path} does not describe an Emformer RNN-T: {error}") from error
    keys = ("segment_length", "right_context_length", "time_reduction_stride", "input_dim")
    return Networks(rnnt, *(int(values[key]) for key in keys))


def _load_weights(rnnt: Any, path: Path) -> None:
    try:
        rnnt.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError, EOFError, AttributeError, pickle.UnpicklingError) as error:
        raise ModelError(f"the weights in {path} do not fit the network, or are damaged: {error}") from error


def _read_statistics(path: Path, mels: int) -> tuple[Tensor, Tensor]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        found = [torch.tensor(np.array(values[key], dtype=np.float32)) for key in ("mean", "invstddev")]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} holds no lists 'mean' and 'invstddev': {error!r}") from error
    if any(leaf.shape != (mels,) for leaf in found):
        raise ModelError(f"{path}: expected {mels} numbers each, got {[tuple(leaf.shape) for leaf in found]}")
    return found[0], found[1]


def download(folder: Path | None = None) -> Path:
    """Makes sure that torchaudio's bundle lies on this machine; returns its folder.

    The first download writes down the files' checksums; from then on they must stay what they are.

    Args:
        folder: where to (default: in torch's cache of models).

    Raises:
        ModelError: a file is missing and cannot be downloaded.
    """
    folder = folder or Path(torch.hub.get_dir()) / "auricle" / NAME
    missing = [name for name in DOWNLOADS if not (folder / name).is_file()]
    for name in missing:
        _fetch(DOWNLOADS[name], folder / name)
    if missing or not (folder / SUMS).is_file():
        write_sums(folder, [folder / name for name in DOWNLOADS])
    return folder


def _fetch(key: str, path: Path) -> None:
    from torchaudio.utils import _download_asset

    _LOG.info("downloading %s to %s", key, path)
    try:
        with written_whole(path) as partial:
            _download_asset(key, path=partial, progress=False)
    except OSError as error:
        raise ModelError(
            f"cannot download torchaudio's {key}: {error}; with a network try again, without one put the "
            f"bundle's files into a folder and give its path as model (see docs/imported-models.md)"
        ) from error
