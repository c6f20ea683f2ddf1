"""Streaming LSTM transducers of icefall, as exported for sherpa-onnx: three ONNX graphs and tokens.txt.

What the graphs' inputs, outputs and metadata mean: k2-fsa/sherpa-onnx `online-lstm-transducer-model.cc` and
k2-fsa/icefall `lstm_transducer_stateless2/export-onnx.py`. The encoder takes segments of T frames, each
`decode_chunk_len` after the one before, and its states (for an LSTM hidden and cell, for a GRU hidden alone).

Shape letters: B streams, K segments, S frames in a segment, L layers, H state, J joiner channels, V tokens.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auricle.configs.errors import ModelError
from auricle.models.decoding.transducer import Array, log_softmax
from auricle.models.imported.files import find_one, verify
from auricle.models.imported.frontends import SegmentConfig
from auricle.models.imported.onnx import Graph, as_float32

EXTRA = "sherpa"
CELLS = ("lstm", "gru")
BLANK, NO_TEXT = "<blk>", ("<unk>", "<sos/eos>")
MELS = 80
Context = tuple[int, ...]
EncoderState = tuple[Tensor, ...]  # each (B, L, H)


class SherpaEncoder:
    """The encoder graph, segment by segment."""

    def __init__(self, path: Path) -> None:
        """Loads the graph.

        Raises:
            ModelError: it is missing, damaged, or no LSTM or GRU encoder.
        """
        self._graph = graph = Graph(path, EXTRA)
        cell = graph.metadata.get("model_type", "")
        if cell not in CELLS:
            raise ModelError(f"{path} is a '{cell or 'unknown'}' model, expected one of {', '.join(CELLS)}")
        graph.expect(2, 2)
        self._input, *self._states = graph.inputs
        self.segment_frames, self.shift_frames = graph.number("T"), graph.number("decode_chunk_len")
        if not 0 < self.shift_frames <= self.segment_frames:
            raise ModelError(f"{path}: expected 0 < decode_chunk_len <= T in its metadata")
        if graph.inputs[self._input][-1] != MELS:
            raise ModelError(
                f"{path}: expected features of {MELS} mels, got the shape {graph.inputs[self._input]}"
            )
        if len(graph.outputs) != 1 + len(self._states):
            raise ModelError(
                f"{path}: expected one output and one new state for each of {self._states}, "
                f"got {graph.outputs}"
            )
        self._sizes = [self._size(name) for name in self._states]
        self.frames_per_output, self.channels = self._try_out()

    def _size(self, name: str) -> tuple[int, int]:
        shape = self._graph.inputs[name]
        if len(shape) != 3 or not isinstance(shape[0], int) or not isinstance(shape[2], int):
            raise ModelError(f"{self._graph.path}: expected state {name} (layers, N, size), got {shape}")
        return shape[0], shape[2]

    def _try_out(self) -> tuple[int, int]:
        """How many frames, of how many channels, a segment gives: only the graph itself knows."""
        encoded, _ = self(torch.zeros(1, 1, self.segment_frames * MELS), self.initial_state(1))
        return self._frames, encoded.shape[2] // self._frames

    def initial_state(self, batch_size: int) -> EncoderState:
        """Returns the state of streams that have heard nothing."""
        return tuple(torch.zeros(batch_size, layers, size) for layers, size in self._sizes)

    def __call__(self, segments: Tensor, state: EncoderState) -> tuple[Tensor, EncoderState]:
        """Segments `(B, K, S * 80)` to encoder frames `(B, K, frames_per_output * J)`, and the new state."""
        carried = [leaf.transpose(0, 1).contiguous().numpy() for leaf in state]
        heard = segments.reshape(*segments.shape[:2], self.segment_frames, MELS)
        outputs = []
        for segment in range(segments.shape[1]):
            inputs = {self._input: heard[:, segment].contiguous().numpy()}
            encoded, *carried = self._graph.run(inputs | dict(zip(self._states, carried, strict=True)))
            self._frames = encoded.shape[1]
            outputs.append(torch.from_numpy(as_float32(encoded)).reshape(len(heard), 1, -1))
        if not outputs:
            return segments.new_zeros(len(heard), 0, self.frames_per_output * self.channels), state
        after = (torch.from_numpy(as_float32(leaf)).transpose(0, 1).clone() for leaf in carried)
        return torch.cat(outputs, dim=1), tuple(after)


class SherpaPredictor:
    """The decoder graph, which sees the last few tokens, and the joiner graph."""

    def __init__(self, decoder: Path, joiner: Path, tokens: Sequence[str], channels: int) -> None:
        """Loads the graphs.

        Args:
            decoder: the decoder's file.
            joiner: the joiner's file.
            tokens: text of each token.
            channels: J of the encoder.

        Raises:
            ModelError: a file is missing or damaged, or they do not fit each other.
        """
        self._decoder, self._joiner = Graph(decoder, EXTRA), Graph(joiner, EXTRA)
        self._decoder.expect(1, 1)
        self._joiner.expect(2, 1)
        self._context, vocabulary = self._decoder.number("context_size"), self._decoder.number("vocab_size")
        if vocabulary != len(tokens):
            raise ModelError(f"{decoder} knows {vocabulary} tokens, tokens.txt lists {len(tokens)}")
        self.blank = tokens.index(BLANK)
        self.silent = frozenset(number for number, token in enumerate(tokens) if token in NO_TEXT)
        self._begin = self.advance([], [(self.blank,) * self._context])[0][0]
        try:
            found = self.join(np.zeros(channels, np.float32), self._begin[None]).shape
        except Exception as error:  # whatever onnxruntime raises for channels that do not fit
            raise ModelError(f"{joiner} does not fit the encoder's {channels} channels: {error}") from error
        if found != (1, vocabulary):
            raise ModelError(f"{joiner}: expected {vocabulary} outputs, got {found[1:]}")

    def begin(self) -> tuple[Array, Context]:
        """What is predicted before the first token, and the memory: only blanks."""
        return self._begin, (self.blank,) * self._context

    def advance(self, tokens: Sequence[int], memories: Sequence[Context]) -> tuple[Array, list[Context]]:
        """What is predicted after one more token each (none: after the memories as they are)."""
        contexts = list(memories)
        if tokens:
            contexts = [(*memory, token)[1:] for memory, token in zip(memories, tokens, strict=True)]
        inputs = {next(iter(self._decoder.inputs)): np.array(contexts, dtype=np.int64)}
        return as_float32(self._decoder.run(inputs)[0]).reshape(len(contexts), -1), contexts

    def join(self, encoded: Array, predicted: Array) -> Array:
        """Logarithms of token probabilities `(K, V)`."""
        frames: NDArray[np.float32] = np.repeat(encoded[None], len(predicted), axis=0)
        inputs = dict(zip(self._joiner.inputs, (frames, predicted), strict=False))
        return log_softmax(as_float32(self._joiner.run(inputs)[0]).reshape(len(predicted), -1))


class SherpaFolder:
    """A folder with the four files."""

    def __init__(self, folder: Path) -> None:
        """Finds, verifies and loads them.

        Raises:
            ModelError: a file is missing, doubtful, damaged, or they do not fit each other.
        """
        tokens = folder / "tokens.txt"
        encoder, decoder, joiner = (
            find_one(folder, f"{role} graph", f"*{role}*.onnx") for role in ("encoder", "decoder", "joiner")
        )
        self.name = f"{folder.name}@{verify(folder, (encoder, decoder, joiner, tokens))}"
        self.tokens = read_tokens(tokens)
        self.encoder = SherpaEncoder(encoder)
        self.predictor = SherpaPredictor(decoder, joiner, self.tokens, self.encoder.channels)
        self.frontend = SegmentConfig("kaldi", self.encoder.segment_frames, self.encoder.shift_frames, MELS)


def read_tokens(path: Path) -> list[str]:
    """Reads tokens.txt: a token and its number on each line, the numbers 0, 1, 2, ...

    Raises:
        ModelError: the file is missing, a line is none, a number is missing, or there is no blank.
    """
    found: dict[int, str] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"cannot read the list of tokens {path}: {error}") from error
    for number, line in enumerate(lines, start=1):
        token, _, index = line.rstrip().rpartition(" ")
        if not index.isdecimal() or int(index) in found:
            raise ModelError(f"{path}:{number}: expected a token and a number of its own, got {line!r}")
        found[int(index)] = token
    tokens = [found.get(number, "") for number in range(len(found))]
    if set(found) != set(range(len(found))) or BLANK not in tokens:
        raise ModelError(f"{path}: expected the numbers 0 to {len(found) - 1} and the token {BLANK}")
    return tokens
