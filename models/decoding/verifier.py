"""The second look at a wake phrase: a few small GRUs, fitted to one phrase as its user says it.

The keyword search fires candidates more readily than asked for; a verifier reads the frames of each again,
and the search's score, and gives a score of its own. It reads frames in the coarse steps of the background
file, so what it was fitted to and what it hears live are the same.

Shape letters: K networks, B candidates, T frames, V labels, F inputs, H hidden, W windows.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from auricle.configs.errors import ModelError
from auricle.configs.whole import written_whole
from auricle.models.decoding.background import LEAST_CODE, Codes, Tail
from auricle.models.decoding.phrases import Array, PhraseSearchSettings, Way
from auricle.models.phones import BLANK_INDEX

FORMAT = "auricle.verifier/1"
BEFORE_FRAMES = 8
"""So many frames before the phrase are read, too."""
AFTER_FRAMES = 2
"""And so many after it: those that the search waits for in any case."""
MOST_FRAMES = 50
"""Of a longer phrase only the last frames are read."""
RAW_MIDDLE, RAW_SPREAD = -27.0, 3.0
"""Scores of the search are brought to a few units around 0; chosen on dev."""


class Candidate(NamedTuple):
    """A path through a phrase that may be the phrase."""

    frame: int
    """Its last frame."""
    raw: float
    """The search's score."""
    start: int
    """Its first frame."""


@dataclass(frozen=True)
class VerifierInfo:
    """What a verifier belongs to."""

    phrase: str
    ways: tuple[Way, ...]
    model: str
    """Hash of the acoustic model's weights."""
    search: PhraseSearchSettings
    least_raw: float
    """Candidates score so much in the search, or more."""
    record: dict[str, Any] = field(default_factory=dict)
    """How it was fitted, and what it reached on recordings held out."""


class Weights(NamedTuple):
    """K networks side by side; the gates are those of torch: reset, update, new."""

    inputs: Array  # (K, F, 3H)
    hidden: Array  # (K, H, 3H)
    input_bias: Array  # (K, 1, 3H)
    hidden_bias: Array  # (K, 1, 3H)
    output: Array  # (K, H)
    raw: Array  # (K, 2), what the search's score counts, and a constant


@dataclass(frozen=True)
class Verifier:
    """Judges candidates of one phrase."""

    info: VerifierInfo
    weights: Weights
    tail: Tail
    """How often what is not the phrase scores how high: of speech that the networks were not fitted to."""

    def scores(self, segments: Sequence[Codes], raws: Sequence[float]) -> Array:
        """What each network says of candidates, with shape `(K, B)`: above 0 for the phrase.

        Args:
            segments: what was heard around each, as `cut` cuts it.
            raws: their scores in the search.
        """
        weights, counts = self.weights, np.array([len(segment) for segment in segments])
        read = inputs(segments)
        state = np.zeros((len(weights.output), len(segments), weights.output.shape[1]), np.float32)
        for frame in range(int(counts.max(initial=0))):
            gates = read[:, frame] @ weights.inputs + weights.input_bias
            before = state @ weights.hidden + weights.hidden_bias
            reset, update, new = np.split(gates, 3, 2)
            old_reset, old_update, old_new = np.split(before, 3, 2)
            update = _sigmoid(update + old_update)
            new = np.tanh(new + _sigmoid(reset + old_reset) * old_new)
            after = (1 - update) * new + update * state
            state = np.where((counts > frame)[:, None], after, state)
        said = (state * weights.output[:, None]).sum(2)
        raw = scaled(np.asarray(raws, np.float32))
        found: Array = said + weights.raw[:, :1] * raw + weights.raw[:, 1:]
        return found

    def score(self, segment: Codes, raw: float) -> float:
        """The mean over the networks for one candidate."""
        return float(self.scores([segment], [raw]).mean())

    def save(self, path: Path) -> str:
        """Writes the file, whole or not at all; returns its checksum."""
        tensors = {**self.weights._asdict(), "tail": self.tail.scores}
        tensors = {name: np.ascontiguousarray(value, np.float32) for name, value in tensors.items()}
        tail = {name: value for name, value in self.tail._asdict().items() if name != "scores"}
        header = json.dumps({"tail": tail, **asdict(self.info)}, sort_keys=True)
        checksum = _checksum(header, tensors)
        with written_whole(path) as partial:
            partial.write_bytes(save(tensors, {"format": FORMAT, "verifier": header, "checksum": checksum}))
        return checksum

    def check(self, ways: Sequence[Way], model: str, search: PhraseSearchSettings) -> None:
        """Refuses to judge for another acoustic model or another phrase.

        Raises:
            ModelError: it was fitted to those; the message says what to do.
        """
        remedy = f'fit it again with `auricle train wake "{self.info.phrase}" --recordings DIR --config F`'
        if self.info.model != model:
            raise ModelError(
                f"the verifier of '{self.info.phrase}' was fitted to the acoustic model {self.info.model}, "
                f"but {model} is used: its scores would mean nothing; {remedy}"
            )
        if self.info.search != search or self.info.ways != tuple(ways):
            raise ModelError(
                f"the verifier of '{self.info.phrase}' was fitted to another phrase, other pronunciations "
                f"or another calibration than are used now; {remedy}"
            )


def inputs(segments: Sequence[Codes]) -> Array:
    """What the networks read of candidates, `(B, T, F)`: F is V, shorter ones are filled with 0 at the end.

    The best label of a frame gives 1, one that is out of the question 0.
    """
    longest = max(map(len, segments), default=0)
    read = np.zeros((len(segments), longest, segments[0].shape[1]), np.float32)
    for row, segment in zip(read, segments, strict=True):
        row[: len(segment)] = (1 - segment / np.float32(LEAST_CODE)) ** 2
    return read


def scaled(raw: Array) -> Array:
    """Scores of the search as the networks take them."""
    return (raw - np.float32(RAW_MIDDLE)) / np.float32(RAW_SPREAD)


def _sigmoid(values: Array) -> Array:
    return np.asarray(0.5 * np.tanh(0.5 * values) + 0.5, np.float32)


def candidates(scores: Array, starts: NDArray[np.int64], least_raw: float) -> list[Candidate]:
    """Finds the candidates that a stream fires as long as none is agreed to.

    Args:
        scores: of the phrase in every frame, with shape `(T,)`.
        starts: where the best paths began, with shape `(T,)`.
        least_raw: the lowest score of a candidate.
    """
    found: list[Candidate] = []
    best: Candidate | None = None
    for frame in np.flatnonzero(scores >= least_raw).tolist():
        raw = float(scores[frame])
        if best is not None and (frame - best.frame > AFTER_FRAMES or raw <= best.raw):
            if frame - best.frame < AFTER_FRAMES:
                continue
            found.append(best)
            settled, best = best, None
            if frame - settled.frame == AFTER_FRAMES:  # this frame settled it, and is used up
                continue
        best = Candidate(frame, raw, int(starts[frame]))
    return [*found, best] if best is not None else found


def cut(codes: Codes, candidate: Candidate) -> Codes:
    """The frames around a candidate, with shape `(T, V)`; silence where nothing was heard yet.

    Args:
        codes: of a stream, with shape `(T, V)`; frames are counted from its first one.
        candidate: which.
    """
    end = candidate.frame + 1 + AFTER_FRAMES
    begin = max(candidate.start - BEFORE_FRAMES, end - MOST_FRAMES)
    found = silence(end - begin, codes.shape[1])
    first = max(begin, 0)
    last = max(first, min(end, len(codes)))
    found[first - begin : last - begin] = codes[first:last]
    return found


def silence(frames: int, labels: int) -> Codes:
    """Frames that hold nothing but blanks, with shape `(T, V)`."""
    found = np.full((frames, labels), LEAST_CODE, np.uint8)
    found[:, BLANK_INDEX] = 0
    return found


def load_verifier(path: Path) -> Verifier:
    """Reads a verifier.

    Raises:
        ModelError: the file is missing, damaged or no verifier.
    """
    remedy = "fit one with `auricle train wake PHRASE --recordings DIR --out FILE`"
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        if metadata.get("format") != FORMAT:
            raise ValueError(f"expected format '{FORMAT}', got '{metadata.get('format')}'")
        if _checksum(metadata["verifier"], tensors) != metadata["checksum"]:
            raise ValueError("its checksum is wrong")
        header = json.loads(metadata["verifier"])
        tail = Tail(tensors.pop("tail"), **header.pop("tail"))
        ways = tuple(tuple(tuple(word) for word in way) for way in header.pop("ways"))
        search = PhraseSearchSettings(**header.pop("search"))
        return Verifier(VerifierInfo(ways=ways, search=search, **header), Weights(**tensors), tail)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} is no verifier of a wake phrase: {error}; {remedy}") from error


def _checksum(header: str, tensors: Mapping[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256(header.encode())
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].tobytes())
    return digest.hexdigest()[:16]
