"""Talk as an acoustic model heard it, utterance by utterance: how often is a grammar heard in it wrongly?

A file holds the posteriors of an hour or two of speech in coarse steps and belongs to exactly one set of
weights. Searching it for the sentences of a grammar, as the daemon searches what is said to it, tells how
often other speech would be taken for a command from any score on.

Shape letters: U utterances, J frames of all of them, V labels.
"""

import hashlib
import logging
import lzma
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from auricle.configs.errors import ModelError
from auricle.models.decoding import confidence, search
from auricle.models.decoding.background import Codes, Expected, Tail, fit_scores, read_codes, write_codes
from auricle.models.decoding.graph import CommandGraph, store_arrays
from auricle.models.decoding.search import SearchConfig

logger = logging.getLogger(__name__)

Array = NDArray[np.float32]

SUFFIX = ".talk.xz"
"""What a model made of talk lies beside its weights, as `STEM.talk.xz`."""
SUFFIX_OF_SECOND = ".second.talk.xz"
"""And what its second pass did as `STEM.second.talk.xz`."""
FORMAT = "auricle.talk/1"
VERSION = 4
"""Of how talk is searched; to be raised with every change of the search or of its scores."""
STEP = 0.5
"""Log-probabilities are stored in these steps below the best label of their frame."""
LEAST_CODE = 17
"""Everything at or beyond so many steps is one: smoothing makes it alike anyhow."""
TAIL_EVENTS = 15
"""The tail is fitted to so many of the highest scores."""
DOUBTFUL_EVENTS = 3
"""So many of these may be commands, truly said in passing: of them it only counts that they are high."""
EXPECTED = Expected(scale=1.8, events=8)
"""Few scores tell a scale badly: in halves of the talk thresholds differed by 1.9 logits. So what the tails
of twelve grammars have on average counts beside them."""
FEWEST = 2
"""Utterances that a tail can be fitted to."""
NOTHING_FOUND = -99.0
"""Score of an utterance in which no sentence can be found."""
LOOSEST = -8.0
"""No lower score is enough, however rare a sentence is: commands of dev that were found rightly lie above."""
STRICTEST = 3.0
"""No higher score is asked for, however common a sentence is: of commands of dev that were found rightly one
in ten lies below."""
REMEDY = "make one with `auricle calibrate MODEL --data DATA`"

Shown = Callable[[Iterable[Array], int], Iterable[Array]]
"""Passes utterances on, of which there are so many, and may show how far it is."""


def _as_they_come(utterances: Iterable[Array], count: int) -> Iterable[Array]:
    return utterances


@dataclass(frozen=True)
class TalkInfo:
    """What a file of talk says of itself."""

    model: str
    """Hash of the weights whose posteriors these are."""
    hours: float
    """Of speech."""
    correction: float = 1.0
    """So many times more false commands come in speech that was not trained on."""
    sources: tuple[str, ...] = ()
    """What was heard: set and split."""


class Talk:
    """Utterances, ready to be searched."""

    def __init__(self, codes: Codes, ends: Sequence[int], info: TalkInfo) -> None:
        """Takes codes `(J, V)` as `coded` makes them, and where each utterance ends, `(U,)`."""
        self.codes, self.ends, self.info = codes, tuple(ends), info

    def utterances(self) -> Iterator[Array]:
        """Posteriors `(J, V)` of one after another."""
        likelihoods = np.exp(-STEP * np.arange(LEAST_CODE + 1, dtype=np.float32))
        for begin, end in zip((0, *self.ends), self.ends, strict=False):
            found = likelihoods[self.codes[begin:end]]
            yield found / found.sum(1, keepdims=True)

    def tail(self, graph: CommandGraph, config: SearchConfig, shown: Shown = _as_they_come) -> Tail:
        """Searches all of it for the sentences of a grammar; 3 s an hour for few, 10 for many.

        The scores of the tail are those of `confidence.logit`.
        """
        utterances = shown(self.utterances(), len(self.ends))
        found = np.array([best_logit(rows, graph, config) for rows in utterances], np.float32)
        hours, correction = self.info.hours, self.info.correction
        return fit_scores(
            -np.sort(-found), hours, correction, TAIL_EVENTS, DOUBTFUL_EVENTS, expected=EXPECTED
        )

    def save(self, path: Path) -> None:
        """Writes the file, whole or not at all."""
        write_codes(path, {"format": FORMAT, "ends": self.ends, **asdict(self.info)}, self.codes)


def coded(log_probs: Array) -> Codes:
    """Rounds log-probabilities of an utterance `(J, V)`.

    Of every label, for how clearly phones are told apart is judged by all of them.
    """
    below = log_probs.max(1, keepdims=True) - log_probs
    codes: Codes = np.minimum(np.round(below / STEP), LEAST_CODE).astype(np.uint8)
    return codes


def best_logit(rows: Array, graph: CommandGraph, config: SearchConfig) -> float:
    """What `confidence.logit` gives the best sentence of a grammar in posteriors `(J, V)` of an utterance."""
    state = search.begin(graph)
    for row in rows:
        state = search.step(row, state, config)
    sentence = search.best_sentence(state)
    return NOTHING_FOUND if sentence is None else confidence.logit(confidence.evidence(sentence))


def load_talk(path: Path, model: str) -> Talk:
    """Reads a file of talk; arguments and errors as for `read_talk`."""
    return read_talk(_content(path), path, model)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error}; {REMEDY}") from error


def read_talk(content: bytes, path: Path, model: str) -> Talk:
    """Reads talk of a model, or of its second pass, from what is in the file.

    Args:
        content: what was read.
        path: the file, to name it.
        model: hash of the weights that are used.

    Raises:
        ModelError: it is damaged, or belongs to other weights.
    """
    try:
        header, codes = read_codes(content, FORMAT)
        ends = header.pop("ends")
        if len(ends) < FEWEST or ends != sorted(ends) or ends[-1] != len(codes) or codes.max() > LEAST_CODE:
            raise ValueError("its utterances are not whole")
        info = TalkInfo(**{**header, "sources": tuple(header["sources"])})
    except (lzma.LZMAError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} is no calibration of commands: {error}; {REMEDY}") from error
    if info.model != model:
        raise ModelError(
            f"{path} was made with the weights {info.model}, but {model} are used: thresholds of commands "
            f"would be wrong; {REMEDY}, or take the file away"
        )
    return Talk(codes, ends, info)


class Scale:
    """What the score of a sentence means, where no talk was heard: a fit to other grammars."""

    def score(self, logit: float) -> float:
        """Score in 0..1 of what `confidence.logit` gave."""
        return 1 / (1 + self.rate(logit))

    def least(self, false_accepts_per_hour: float) -> float:
        """The logit from which on a sentence is reported."""
        return float(-np.log(false_accepts_per_hour))

    def rate(self, logit: float) -> float:
        """How often in an hour other speech is supposed to be taken for a command, from there on."""
        return float(np.exp(-np.clip(logit, -50.0, 50.0)))


class CountedScale(Scale):
    """The same, counted in talk."""

    def __init__(self, tail: Tail) -> None:
        """Takes what came of searching it for the grammar."""
        self._tail = tail

    def least(self, false_accepts_per_hour: float) -> float:
        """As in `Scale`."""
        return float(np.clip(self._tail.score_at(false_accepts_per_hour), LOOSEST, STRICTEST))

    def rate(self, logit: float) -> float:
        """As in `Scale`."""
        return self._tail.rate(logit)


class Listener:
    """Finds the scale of any grammar; what was found once is kept."""

    def __init__(self, path: Path, model: str, config: SearchConfig, folder: Path | None = None) -> None:
        """Takes the talk to search.

        Args:
            path: a file of talk.
            model: hash of the weights that are used.
            config: how the daemon searches.
            folder: where scales are kept; None for nowhere.

        Raises:
            ModelError: the file cannot be read.
        """
        self._content = _content(path)
        self._path, self._model, self._config, self._folder = path, model, config, folder

    def scale(self, graph: CommandGraph, shown: Shown = _as_they_come) -> CountedScale:
        """The scale of a grammar, from the cache or from a search of all the talk, some seconds.

        Args:
            graph: the grammar.
            shown: shows how far a search is.

        Raises:
            ModelError: the file is damaged, or belongs to other weights.
        """
        stored = None
        if self._folder is not None:
            stored = self._folder / f"talk-{self._digest(graph)}.npz"
            if (found := _load_tail(stored)) is not None:
                return CountedScale(found)
        talk = read_talk(self._content, self._path, self._model)
        logger.info("%.1f h of talk are searched for the sentences of the grammar, once", talk.info.hours)
        tail = talk.tail(graph, self._config, shown)
        if stored is not None:
            store_arrays(tail._asdict(), stored)
        return CountedScale(tail)

    def _digest(self, graph: CommandGraph) -> str:
        """Tells everything apart on which a scale depends."""
        digest = hashlib.sha256(self._content)
        digest.update(
            f"{VERSION} {self._model} {self._config} {confidence.FITTED} {confidence.BIAS}".encode()
        )
        for field in fields(graph):
            value = getattr(graph, field.name)
            if isinstance(value, np.ndarray):  # what words mean changes no score
                digest.update(f"{value.shape}".encode() + value.tobytes())
        return digest.hexdigest()[:32]


def _load_tail(path: Path) -> Tail | None:
    """Reads a stored tail; None if there is none, or it is damaged in any way: it can be made again."""
    try:
        with path.open("rb") as file, np.load(file) as stored:
            numbers = {name: stored[name].item() for name in stored.files if name != "scores"}
            return Tail(scores=stored["scores"], **numbers)
    except Exception:  # zip, zlib and numpy each have their own
        return None
