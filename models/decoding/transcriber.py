"""From posteriors to words: vocabulary, hot words, search, word times and confidences.

Shape letters: V labels, W words.
"""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from auricle.configs.errors import DataError, ModelError
from auricle.models.decoding.beam import BeamSearch, BeamSettings
from auricle.models.decoding.hypotheses import NO_END, BeamState, chain, commit, shared_end
from auricle.models.decoding.ngram import END, START, UNKNOWN, NGram, States
from auricle.models.decoding.tree import build_tree
from auricle.models.lexicon import WORD, Lexicon
from auricle.models.phones import INDEX, PHONES, Pronunciation

NEW_WORD_LOG_PROB = float(np.log(1e-5))
"""Of a hot word that the language model does not know, before its boost."""
NOT_SAID = frozenset({START, END, UNKNOWN})


class Confidence(NamedTuple):
    """Weights of a logistic regression that tells how likely a word is right, fitted on dev.

    `python -m auricle.pipelines.word_scores` fits them.
    """

    bias: float = 1.551
    acoustic: float = 0.850
    """Of the acoustic score against the best labels, per phone."""
    language: float = 0.168
    """Of the language score."""
    behind: float = 0.209
    """Of the distance to the best hypothesis when the word ended, negated."""
    phones: float = 0.182
    """Of the number of phones."""


class Word(NamedTuple):
    """A recognised word; frames count from the first one of the utterance."""

    word: str
    begin_frame: int
    end_frame: int
    score: float


class Evidence(NamedTuple):
    """What speaks for a word; the features of `Confidence`."""

    acoustic: float
    language: float
    behind: float
    phones: int


class Text(NamedTuple):
    """What was said so far."""

    words: tuple[str, ...]
    stable: int
    """So many of the words will not change any more."""
    begin_frame: int
    """First frame of the first word."""


def _ways(word: str, lexicon: Lexicon, *, required: bool) -> tuple[Pronunciation, ...]:
    """How a word may be spoken; not at all, if nobody knows and it is not `required`."""
    try:
        return lexicon.spoken(word)
    except DataError:
        if required:
            raise
        return ()


class Transcriber:
    """Decodes utterances; it holds what does not change."""

    def __init__(
        self,
        model: NGram,
        lexicon: Lexicon,
        settings: BeamSettings,
        *,
        hot_words: Mapping[str, float] | None = None,
        confidence: Confidence | None = None,
    ) -> None:
        """Builds the prefix tree of all words.

        Args:
            model: the language model; its words are the vocabulary.
            lexicon: how they are spoken; what the letters tell where it does not know.
            settings: weights and limits of the search.
            hot_words: words with what is added to their score (a natural logarithm); new ones join the
                vocabulary.
            confidence: how scores are made.

        Raises:
            ModelError: the language model has no word that can be spoken.
            DataError: nobody knows how a hot word is spoken.
        """
        hot = dict(hot_words or {})
        self.model = with_words(model, [word for word in hot if word not in model.index])
        self.confidence = confidence or Confidence()
        boosts = np.zeros(len(self.model.words), np.float32)
        for word, boost in hot.items():
            boosts[self.model.index[word]] = boost
        spoken = [
            (number, [INDEX[phone] for phone in phones])
            for number, word in enumerate(self.model.words)
            if word not in NOT_SAID and WORD.fullmatch(word)
            for phones in _ways(word, lexicon, required=word in hot)
        ]
        if not spoken:
            raise ModelError(
                "the language model has no word of lower-case letters: write its words as people speak them "
                "and in lower case, all but <s>, </s> and <unk>"
            )
        scores = settings.lm_weight * self.model.unigram + settings.word_bonus + boosts
        tree = build_tree(spoken, scores.astype(np.float32), len(PHONES) + 1)
        self.search = BeamSearch(tree, self.model, settings, boosts)
        self._phones = np.zeros(len(self.model.words), np.int64)
        for number, phones in spoken:
            self._phones[number] = len(phones)

    def narrowed(self, beam: float) -> "Transcriber":
        """The same words, searched with another beam; states go from one to the other."""
        other = copy(self)
        other.search = self.search.narrowed(beam)
        return other

    def begin(self) -> BeamState:
        """The state before the first frame of an utterance."""
        return self.search.begin()

    def step(self, posterior: NDArray[np.floating], state: BeamState) -> BeamState:
        """Takes one frame of posteriors `(V,)`."""
        return self.search.step(posterior, state)

    def commit(self, state: BeamState, frames: int) -> BeamState:
        """Settles the words of the best hypothesis that ended so many frames ago, or earlier."""
        return commit(state, frames)

    def text(self, state: BeamState) -> Text:
        """The whole words of the best hypothesis so far."""
        best = int(state.trace[int(np.argmax(state.score))])
        ends = chain(state, best)
        words = tuple(self.model.words[int(state.ends.word[end])] for end in ends)
        begin = int(state.ends.begin[ends[0]]) if ends else 0
        return Text(words, len(chain(state, shared_end(state))), begin)

    def has_words(self, state: BeamState) -> bool:
        """Whether the best hypothesis has a whole word."""
        return bool(state.trace[int(np.argmax(state.score))] != NO_END)

    def finish(self, state: BeamState) -> list[Word]:
        """The best hypothesis of a whole utterance; a word that was broken off is left out."""
        return [self._word(state, end) for end in chain(state, self.final_end(state))]

    def may_end(self, state: BeamState, cost: float) -> bool:
        """Whether the best hypothesis is at the end of a word after which a sentence may end.

        Args:
            state: after some frames.
            cost: the end must be at least as likely as exp(-cost).
        """
        best = int(np.argmax(state.score))
        if state.node[best] >= self.search.tree.children.shape[1] or state.trace[best] == NO_END:
            return False
        return bool(self._end_log_prob(state.context[best : best + 1])[0] >= -cost)

    def _end_log_prob(self, context: NDArray[np.int64]) -> NDArray[np.float32]:
        ends = np.full(len(context), self.model.index[END])
        return self.model.score(context, ends)[0]

    def final_end(self, state: BeamState) -> int:
        """The last word end of the best hypothesis of a whole utterance."""
        whole = np.flatnonzero(state.node < self.search.tree.children.shape[1])
        if not len(whole):
            return int(state.trace[int(np.argmax(state.score))])
        weight = np.float32(self.search.settings.lm_weight)
        score = state.score[whole] + weight * self._end_log_prob(state.context[whole])
        return int(state.trace[whole[int(np.argmax(score))]])

    def evidence(self, state: BeamState, end: int) -> Evidence:
        """What speaks for the word that ends at a word end."""
        ends = state.ends
        before = int(ends.before[end])
        frames = slice(int(ends.end[before]), int(ends.end[end]))
        best = float(state.free[frames.stop] - state.free[frames.start])
        phones = int(self._phones[ends.word[end]])
        return Evidence(
            (float(ends.acoustic[end] - ends.acoustic[before]) - best) / phones,
            float(ends.language[end] - ends.language[before]),
            -float(ends.behind[end]),
            phones,
        )

    def _word(self, state: BeamState, end: int) -> Word:
        ends, seen = state.ends, self.evidence(state, end)
        weights = self.confidence
        logit = weights.bias + sum(weight * value for weight, value in zip(weights[1:], seen, strict=True))
        word = self.model.words[int(ends.word[end])]
        return Word(word, int(ends.begin[end]), int(ends.end[end]), float(1 / (1 + np.exp(-logit))))


def with_words(model: NGram, words: Sequence[str]) -> NGram:
    """A model with more words, each as likely as `NEW_WORD_LOG_PROB` says, whatever comes before."""
    added, count = len(words), len(model.words)
    if not added:
        return model
    history, last = model.keys // count, model.keys % count

    def insert(states: States) -> States:
        moved = np.where(states > count, states + np.int32(added), states)
        return np.insert(moved, 1 + count, np.zeros(added, np.int32))

    return replace(
        model,
        words=(*model.words, *words),
        unigram=np.append(model.unigram, np.full(added, NEW_WORD_LOG_PROB, np.float32)),
        keys=(history + added * (history > count)) * (count + added) + last,
        backoff=np.insert(model.backoff, 1 + count, np.zeros(added, np.float32)),
        shorter=insert(model.shorter),
        following=insert(model.following),
        orders=(count + added, *model.orders[1:]),
    )
