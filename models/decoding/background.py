"""Speech as an acoustic model heard it, small enough to ship: what thresholds are calibrated on.

A file holds the posteriors of some hours of speech in coarse steps, cut into pieces that are searched side by
side, and belongs to exactly one model. Searching it for a phrase tells how often the phrase would be heard
wrongly at any threshold; beyond the highest scores found, the tail is taken to fall off exponentially.

Shape letters: B pieces, J frames, V labels, P phrases, W windows.
"""

import json
import lzma
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from auricle.configs.errors import ModelError
from auricle.configs.whole import written_whole
from auricle.models.decoding.phrases import Array, Found, PhraseSearch, PhraseSearchSettings
from auricle.models.decoding.rivals import RIVAL_CODES, Rivals, decode_rivals

SUFFIX = ".wake.xz"
"""A model's background lies beside its weights, as `STEM.wake.xz`."""
SUFFIX_OF_SECOND = ".second.wake.xz"
"""And that of its second pass as `STEM.second.wake.xz`."""
FORMAT = "auricle.background/1"
STEP = 0.5
"""Log-probabilities are stored in these steps below the best label of their frame."""
LEAST_CODE = 20
"""Everything at or beyond so many steps is one."""
KEPT = 14
"""Labels of a frame that are stored; the others are the least likely."""
WINDOW_FRAMES = 50
"""False accepts closer together than this are one."""
TAIL_EVENTS = 40
"""The tail is fitted to so many of the highest scores."""
DOUBTFUL_EVENTS = 5
"""So many of these may be the phrase itself, truly said: of them it only counts that they are high."""
LEAST_RATE = 1e-6
"""False accepts per hour that stand for none."""
BEST_SCORE = -13.0
"""Hardly any phrase scores higher, not even one that fits perfectly."""
BEST_AGAINST_WORDS = -8.0
"""The same where phrases are held against common words, which explain them worse."""

Codes = NDArray[np.uint8]


@dataclass(frozen=True)
class BackgroundInfo:
    """What a background file says of itself."""

    model: str
    """Hash of the weights whose posteriors these are."""
    hours: float
    frame_s: float
    """Duration of a frame."""
    search: PhraseSearchSettings
    """The search that goes with the model; chosen on dev."""
    correction: float = 1.0
    """So many times more false accepts come in speech that was not trained on."""
    start_shift_samples: int = 0
    """From the first frame of a path to where the phrase begins."""
    end_shift_samples: int = 0
    """From the last frame of a path to where the phrase ends."""
    searched_part: float = 0.0
    """Of a second pass: the first one's part in what was heard (`second_look.said_by_both`)."""
    words: str = ""
    """Hash of the common words that phrases are held against; "" for none."""
    word_cost: float = 0.0
    """What a phrase pays for each nat by which such words explain better what was heard."""
    sources: tuple[str, ...] = ()
    """What was heard: set, split and hours."""

    def score(self, frame: int, found: Found, words: Rivals | None) -> Array:
        """What phrases score that end at a frame, `(B, P)`, words held against them if there are any."""
        return found.score if words is None else found.score - self.word_cost * words.lead(frame, found)


class Tail(NamedTuple):
    """How often a phrase is heard wrongly, by the score at which it is heard."""

    scores: Array  # (W,), highest score of each window, falling
    hours: float
    pivot: float  # from here on up the rate falls exponentially
    scale: float  # score in which it falls by a factor e
    pivot_rate: float  # false accepts per hour at the pivot
    events: int = TAIL_EVENTS  # of the scores lie above the pivot
    best: float = np.inf  # hardly anything scores higher

    @property
    def least_rate(self) -> float:
        """False accepts per hour if only what fits perfectly is heard."""
        return self.rate(self.best)

    def threshold(self, rate: float) -> float:
        """The score to ask for, for at most `rate` false accepts an hour as far as that can be had."""
        return min(self.best, self.score_at(rate))

    def rate(self, score: float) -> float:
        """False accepts per hour where everything from `score` up is heard."""
        if score >= self.pivot:
            return max(LEAST_RATE, self.pivot_rate * float(np.exp((self.pivot - score) / self.scale)))
        above = int(np.searchsorted(-self.scores, -score, side="right"))
        return self.pivot_rate * max(1.0, above / self.events)

    def score_at(self, rate: float) -> float:
        """The score from which on a phrase is heard wrongly `rate` times an hour."""
        if rate <= self.pivot_rate:
            return self.pivot + self.scale * float(np.log(self.pivot_rate / max(rate, LEAST_RATE)))
        count = min(len(self.scores), max(1, round(self.events * rate / self.pivot_rate)))
        return float(self.scores[count - 1])


class Background:
    """Hours of speech, ready to be searched."""

    def __init__(self, stored: Codes, info: BackgroundInfo) -> None:
        """Takes what was heard.

        Args:
            stored: codes as `encode` makes them, `(B, J, V)`; where `info` names words, two more of each
                frame, as `Rivals.encode` makes them: what words explain of it.
            info: what is known of it.
        """
        self.stored, self.info = stored, info
        self.codes = stored[..., :-RIVAL_CODES] if info.words else stored
        self._values = -STEP * np.arange(LEAST_CODE + 1, dtype=np.float32)

    def tails(self, search: PhraseSearch) -> list[Tail]:
        """Searches all of it for phrases; a second or so for ten of them."""
        state, highest = search.initial_state(len(self.codes)), list[Array]()
        words = decode_rivals(self.stored[..., -RIVAL_CODES:]) if self.info.words else None
        whole = self.codes.shape[1] // WINDOW_FRAMES * WINDOW_FRAMES
        for frame in range(whole):
            found, state = search.step(self._values[self.codes[:, frame]], state)
            scores = self.info.score(frame, found, words)
            if frame % WINDOW_FRAMES:
                np.maximum(highest[-1], scores, out=highest[-1])
            else:
                highest.append(scores.copy())
        windows = np.stack(highest, 1)
        return [fit_windows(windows[..., phrase], self.info) for phrase in range(windows.shape[2])]

    def log_probs(self) -> Array:
        """What the codes stand for, with shape `(B, J, V)`."""
        return self._values[self.codes]

    def without(self, split: str) -> "Background":
        """What is not of a split, which may then be judged on; all of it, where nothing else is there."""
        piece_s = self.codes.shape[1] * self.info.frame_s
        kept, begin = [], 0
        for source in self.info.sources:
            name, _, hours = source.removesuffix(" h").partition(": ")
            end = begin + round(float(hours) * 3600 / piece_s)
            if not name.endswith(f" {split}"):
                kept.append(np.arange(begin, min(end, len(self.codes))))
            begin = end
        if not kept:
            return self
        pieces = np.concatenate(kept)
        part = len(pieces) / len(self.stored)
        return Background(self.stored[pieces], replace(self.info, hours=self.info.hours * part))

    def save(self, path: Path) -> None:
        """Writes the file, whole or not at all."""
        write_codes(path, {"format": FORMAT, **asdict(self.info)}, self.stored)


def load_background(path: Path, model: str, kind: str = "model") -> Background:
    """Reads the background of a model, or of its second pass.

    Args:
        path: the file.
        model: hash of its weights.
        kind: what it is called in errors.

    Raises:
        ModelError: it is missing, damaged, or belongs to other weights.
    """
    remedy = "make one with `auricle calibrate MODEL --data DATA`"
    try:
        header, codes = read_codes(path.read_bytes(), FORMAT)
        header["search"] = PhraseSearchSettings(**header["search"])
        info = BackgroundInfo(**{**header, "sources": tuple(header["sources"])})
    except FileNotFoundError as error:
        raise ModelError(f"wake phrases need the calibration {path}, which is not there; {remedy}") from error
    except (OSError, lzma.LZMAError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} is no calibration of wake phrases: {error}; {remedy}") from error
    if info.model != model:
        raise ModelError(
            f"{path} was made with the weights {info.model}, but the {kind}'s are {model}: its thresholds "
            f"would be wrong; {remedy}"
        )
    return Background(codes, info)


def write_codes(path: Path, header: dict[str, Any], codes: Codes) -> None:
    """Writes codes of any shape behind a header, compressed; the file appears whole or not at all."""
    line = json.dumps({**header, "shape": codes.shape}).encode()
    content = lzma.compress(line + b"\n" + codes.tobytes(), preset=9 | lzma.PRESET_EXTREME)
    with written_whole(path) as partial:
        partial.write_bytes(content)


def read_codes(content: bytes, format_name: str) -> tuple[dict[str, Any], Codes]:
    """The header, without format and shape, and the codes of what `write_codes` wrote.

    Raises:
        LZMAError, ValueError, KeyError, TypeError: it is damaged, or of another format.
    """
    line, _, body = lzma.decompress(content).partition(b"\n")
    header: dict[str, Any] = json.loads(line)
    if header.pop("format") != format_name:
        raise ValueError("another format")
    return header, np.frombuffer(body, np.uint8).reshape(header.pop("shape"))


def encode(log_probs: Array, piece_frames: int) -> Codes:
    """Rounds log-probabilities of one stream `(J, V)` and cuts them into pieces `(B, piece_frames, V)`.

    What is left over at the end is dropped.
    """
    pieces = len(log_probs) // piece_frames
    below = log_probs.max(1, keepdims=True) - log_probs
    codes = np.minimum(np.round(below / STEP), LEAST_CODE).astype(np.uint8)
    kth = np.partition(below, KEPT - 1, axis=1)[:, KEPT - 1 : KEPT]
    codes[below > kth] = LEAST_CODE
    cut: Codes = codes[: pieces * piece_frames].reshape(pieces, piece_frames, log_probs.shape[1])
    return cut


def fit_tail(scores: Array, info: BackgroundInfo, events: int = TAIL_EVENTS) -> Tail:
    """Fits the rate of false accepts to the scores of a phrase in the background, `(B, J)`.

    The tail is fitted to the `events` highest.
    """
    windows = scores.shape[1] // WINDOW_FRAMES
    highest = scores[:, : windows * WINDOW_FRAMES].reshape(len(scores), windows, WINDOW_FRAMES).max(2)
    return fit_windows(highest, info, events)


def fit_windows(highest: Array, info: BackgroundInfo, events: int = TAIL_EVENTS) -> Tail:
    """As `fit_tail`, from the highest score of each window, `(B, W)`."""
    ordered = -np.sort(-highest.reshape(-1))
    hours = highest.size * WINDOW_FRAMES * info.frame_s / 3600
    tail = fit_scores(ordered, hours, info.correction, events, DOUBTFUL_EVENTS)
    return tail._replace(best=BEST_AGAINST_WORDS if info.words else BEST_SCORE)


class Expected(NamedTuple):
    """The scale that a tail is expected to have before anything is heard."""

    scale: float
    events: int = 0
    """It counts like so many scores."""


def fit_scores(
    ordered: Array,
    hours: float,
    correction: float,
    events: int,
    doubtful: int,
    *,
    expected: Expected = Expected(0.0),  # noqa: B008 (a tuple)
) -> Tail:
    """As `fit_tail`, from the scores, falling, that were found in so many hours; the first are doubtful."""
    count = min(events, len(ordered) - 1)
    pivot = float(ordered[count])
    # The likeliest scale of an exponential tail whose highest values are only known to be that high.
    doubtful = min(doubtful, count - 1)
    excess = ordered[doubtful:count] - pivot
    away = float(excess.sum() + doubtful * excess[0]) + expected.events * expected.scale
    scale = max(0.05, away / (len(excess) + expected.events))
    return Tail(ordered, hours, pivot, scale, events / hours * correction, events)
