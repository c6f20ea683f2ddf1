"""Transducers (RNN-T): what was said, found while encoder frames come in.

The engine runs the encoder; a `TransducerSearch` finds tokens with the other two networks, the predictor
(what follows what was said) and the joiner (both together). Time is a count of encoder frames since the
search began: who asks knows where those lie in the stream.

Shape letters: K hypotheses, D channels, V tokens.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
WORD_START = "\u2581"
"""How token lists mark the beginning of a word (a wide underline)."""


class Predictor(Protocol):
    """The networks of a transducer beside its encoder."""

    blank: int
    silent: frozenset[int]
    """Tokens that are no text, such as "unknown": they are passed over like blanks."""

    def begin(self) -> tuple[Array, Any]:
        """What is predicted before the first token: `(D,)`, and a memory."""

    def advance(self, tokens: Sequence[int], memories: Sequence[Any]) -> tuple[Array, list[Any]]:
        """What is predicted after one more token each: `(K, D)`, and the new memories."""

    def join(self, encoded: Array, predicted: Array) -> Array:
        """Log probabilities of tokens `(K, V)`, from an encoder frame `(D,)` and predictions `(K, D)`."""


class Token(NamedTuple):
    """A token that was heard."""

    id: int
    frame: int
    """Encoder frame at which it was found, counted from the beginning of the search."""
    log_prob: float


class Hypothesis(NamedTuple):
    """What may have been said."""

    tokens: tuple[Token, ...]
    log_prob: float
    predicted: Array  # (D,)
    memory: Any


class SearchState(NamedTuple):
    """What a search remembers of a stream."""

    frames: int
    """Encoder frames heard since the search began."""
    beam: tuple[Hypothesis, ...]
    """Best first."""

    @property
    def best(self) -> Hypothesis:
        """The likeliest hypothesis."""
        return self.beam[0]


class Word(NamedTuple):
    """A word of a hypothesis."""

    text: str
    first_frame: int
    last_frame: int
    score: float
    """Mean probability of its tokens, in 0..1."""


class TransducerSearch:
    """Searches for the likeliest tokens, frame by frame; owns no stream."""

    def __init__(
        self,
        predictor: Predictor,
        tokens: Sequence[str],
        *,
        frames_per_output: int = 1,
        most_tokens: int = 1,
        beam: int = 1,
    ) -> None:
        """Takes the networks and their tokens.

        Args:
            predictor: the networks.
            tokens: the text of each token.
            frames_per_output: encoder frames in each output of the engine.
            most_tokens: tokens that one encoder frame may give (greedy search only).
            beam: hypotheses kept; 1 is greedy search, more give at most one token for a frame.
        """
        self.tokens = tuple(tokens)
        self.frames_per_output = frames_per_output
        self._predictor, self._most_tokens, self._beam = predictor, most_tokens, beam

    def initial_state(self) -> SearchState:
        """State of a search that has heard nothing; also after an endpoint."""
        predicted, memory = self._predictor.begin()
        return SearchState(0, (Hypothesis((), 0.0, predicted, memory),))

    def step(self, encoded: Array, state: SearchState) -> SearchState:
        """Takes encoder outputs, each of `frames_per_output` frames.

        Args:
            encoded: with shape `(T, frames_per_output * D)`.
            state: what was heard before.
        """
        channels = encoded.shape[1] // self.frames_per_output
        for frame in encoded.reshape(-1, channels):
            if self._beam == 1:
                beam: tuple[Hypothesis, ...] = (self._greedy(frame, state.best, state.frames),)
            else:
                beam = self._best_of(frame, state.beam, state.frames)
            state = SearchState(state.frames + 1, beam)
        return state

    def _greedy(self, encoded: Array, hypothesis: Hypothesis, frame: int) -> Hypothesis:
        """The likeliest tokens of one frame, until blank is the likeliest."""
        for _ in range(self._most_tokens):
            log_probs = self._predictor.join(encoded, hypothesis.predicted[None])[0]
            token = int(log_probs.argmax())
            score = float(log_probs[token])
            if token == self._predictor.blank or token in self._predictor.silent:
                return hypothesis._replace(log_prob=hypothesis.log_prob + score)
            hypothesis = self._extended([hypothesis], [token], [score], frame)[0]
        return hypothesis

    def _best_of(self, encoded: Array, beam: tuple[Hypothesis, ...], frame: int) -> tuple[Hypothesis, ...]:
        """The best hypotheses after one frame that gives each at most one token."""
        log_probs = self._predictor.join(encoded, np.stack([member.predicted for member in beam]))
        log_probs[:, list(self._predictor.silent)] = -np.inf
        totals = log_probs + np.array([[member.log_prob] for member in beam], dtype=np.float32)
        count = min(2 * self._beam, totals.size)
        likeliest = np.argpartition(-totals.ravel(), count - 1)[:count]
        rows, tokens = np.unravel_index(np.sort(likeliest), totals.shape)
        kept: list[Hypothesis] = []
        grown: list[tuple[Hypothesis, int, float]] = []
        for row, token in zip(rows.tolist(), tokens.tolist(), strict=True):
            if token in self._predictor.silent:
                continue
            if token == self._predictor.blank:
                kept.append(beam[row]._replace(log_prob=float(totals[row, token])))
            else:
                grown.append((beam[row], token, float(log_probs[row, token])))
        found = _merged([*kept, *self._extended_by(grown, frame)])
        return tuple(sorted(found, key=lambda member: -member.log_prob)[: self._beam])

    def _extended_by(self, grown: Sequence[tuple[Hypothesis, int, float]], frame: int) -> list[Hypothesis]:
        members, tokens, scores = zip(*grown, strict=True) if grown else ((), (), ())
        return self._extended(members, tokens, scores, frame)

    def _extended(
        self, members: Sequence[Hypothesis], tokens: Sequence[int], scores: Sequence[float], frame: int
    ) -> list[Hypothesis]:
        """Each hypothesis with one more token."""
        if not members:
            return []
        predicted, memories = self._predictor.advance(tokens, [member.memory for member in members])
        return [
            Hypothesis(
                (*member.tokens, Token(token, frame, score)), member.log_prob + score, prediction, memory
            )
            for member, token, score, prediction, memory in zip(
                members, tokens, scores, predicted, memories, strict=True
            )
        ]

    def stable_words(self, state: SearchState) -> int:
        """How many words of the best hypothesis will stay; the last of them may yet be continued."""
        first, *others = [[word.text for word in self.words(member)] for member in state.beam]
        count = 0
        while all(words[: count + 1] == first[: count + 1] for words in others) and count < len(first):
            count += 1
        return count

    def words(self, hypothesis: Hypothesis) -> list[Word]:
        """The words of a hypothesis; a token that begins no word goes on with the last one."""
        words: list[list[Token]] = []
        for token in hypothesis.tokens:
            if not words or self.tokens[token.id].startswith(WORD_START):
                words.append([])
            words[-1].append(token)
        return [self._word(parts) for parts in words if self._text(parts)]

    def _text(self, parts: Sequence[Token]) -> str:
        return "".join(self.tokens[part.id] for part in parts).replace(WORD_START, "").strip()

    def _word(self, parts: Sequence[Token]) -> Word:
        score = float(np.mean(np.exp([part.log_prob for part in parts])))
        return Word(self._text(parts), parts[0].frame, parts[-1].frame, min(1.0, score))


def _merged(hypotheses: Sequence[Hypothesis]) -> list[Hypothesis]:
    """Joins hypotheses of the same tokens: their probabilities add up."""
    found: dict[tuple[int, ...], Hypothesis] = {}
    for member in hypotheses:
        key = tuple(token.id for token in member.tokens)
        same = found.get(key)
        if same is None:
            found[key] = member
        else:
            better = same if same.log_prob >= member.log_prob else member
            total = float(np.logaddexp(same.log_prob, member.log_prob))
            found[key] = better._replace(log_prob=total)
    return list(found.values())


def log_softmax(logits: Array) -> Array:
    """Logarithms of probabilities, along the last axis."""
    shifted = logits - logits.max(-1, keepdims=True)
    normal: Array = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return normal
