"""Beam search for words: CTC posteriors, a lexicon tree and an n-gram model, frame by frame.

A hypothesis is a place in the tree with a language model state; the word that is under way counts with the
best word that it may become. The best words before it are kept (Viterbi), as a chain of `Ends`. States are
values: a step makes a new one and leaves the old one as it was.

Shape letters: V labels, H hypotheses, C candidates, Z word ends.
"""

from collections.abc import Iterable, Iterator
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auricle.models.decoding.hypotheses import BeamState, Ends, Hypotheses, compact
from auricle.models.decoding.ngram import KnownScores, NGram
from auricle.models.decoding.tree import NO_CHILD, PrefixTree

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

BLANK = 0
SMALLEST = 1e-8
"""Posteriors are taken to be at least this."""
IMPOSSIBLE = np.float32(-1e30)
COMPACT_ABOVE = 4000
"""So many word ends may wait before those that no hypothesis has any more are dropped."""


@dataclass(frozen=True)
class BeamSettings:
    """Weights and limits; scores are natural logarithms."""

    blank_shift: float = -2.0
    """Added to the blank's log-probability: models trained with CTC say blank too often."""
    lm_weight: float = 0.8
    word_bonus: float = 1.0
    """Added for every word."""
    beam: float = 16.0
    """Hypotheses so much worse than the best one are dropped."""
    hypotheses: int = 500
    """At most so many are kept."""
    label_beam: float = 5.0
    """Labels so much less likely than the most likely one (but blank) are not tried in a frame."""


class BeamSearch:
    """The search; it holds what does not change."""

    def __init__(
        self, tree: PrefixTree, model: NGram, settings: BeamSettings, boosts: Floats | None = None
    ) -> None:
        """Takes the vocabulary and the weights.

        Args:
            tree: pronunciations of the model's words; its scores are weighted like the model's, boosts
                included.
            model: the language model.
            settings: weights and limits.
            boosts: added to the score of each word, `(W,)`; none if None.
        """
        self.tree, self.model, self.settings = tree, model, settings
        extra = np.zeros(len(model.words), np.float32) if boosts is None else boosts
        self._bonus = (extra + np.float32(settings.word_bonus)).astype(np.float32)
        self._roots = tree.children.shape[1]
        self._known = KnownScores(model)
        # No word end makes a hypothesis better by more than this, (P,).
        ends = np.repeat(tree.best, np.diff(tree.first_word))
        most = np.float32(settings.lm_weight) * model.most_likely[tree.words]
        self._most_change = (most + self._bonus[tree.words] - ends).astype(np.float32)
        # No label makes a hypothesis better by more than this, beside what it sounds like.
        self._most_guess = max(0.0, float(tree.best[tree.children[0]].max()))

    def narrowed(self, beam: float) -> "BeamSearch":
        """The same search with another beam; states go from one to the other."""
        other = copy(self)
        other.settings = replace(self.settings, beam=beam)
        return other

    def begin(self) -> BeamState:
        """The state before the first frame."""
        zero, score = np.zeros(1, np.int64), np.zeros(1, np.float32)
        none = np.zeros(1, np.int64)
        ends = Ends(none, none - 1, none, none, score, score, score)
        return BeamState(
            0,
            zero,
            np.array([self.model.start_state]),
            score,
            np.full(1, IMPOSSIBLE),
            score,
            zero,
            zero,
            ends,
            score,
        )

    def step(self, posterior: NDArray[np.floating], state: BeamState) -> BeamState:
        """Takes one frame of posteriors `(V,)`."""
        settings, tree = self.settings, self.tree
        state = compact(state) if len(state.ends.word) > COMPACT_ABOVE else state
        frame = np.log(np.maximum(posterior, SMALLEST)).astype(np.float32)
        frame[BLANK] += np.float32(settings.blank_shift)
        free = np.append(state.free, state.free[-1] + frame.max())
        state = state._replace(frames=state.frames + 1, free=free)
        score = state.score
        stay = Hypotheses(
            state.node,
            state.context,
            score + frame[BLANK],
            state.after_label + frame[tree.label[state.node]],
            state.language,
            state.begin,
            state.trace,
        )
        floor = self._floor(np.maximum(stay.after_blank, stay.after_label))
        arrived = self._extend(frame, score, state, floor)
        if arrived is None:
            return self._prune(state, stay)
        ended, ends = self._end_words(arrived, state, floor)
        leads = tree.leads_on[arrived.node]
        inside = Hypotheses._make(column[leads] for column in arrived)
        return self._prune(state._replace(ends=ends), stay, inside, ended)

    def _floor(self, score: Floats) -> float:
        """What a new hypothesis must be better than, to be kept beside those that stay."""
        limit, most = float(score.max()) - self.settings.beam, self.settings.hypotheses
        if len(score) < most:
            return limit
        return max(limit, float(np.partition(score, len(score) - most)[len(score) - most]))

    def _extend(self, frame: Floats, score: Floats, state: BeamState, floor: float) -> Hypotheses | None:
        """Every hypothesis with one more label, as far as it is better than `floor`."""
        settings, tree = self.settings, self.tree
        spoken = frame[BLANK + 1 :]
        most = float(spoken.max())
        labels = 1 + np.flatnonzero(spoken > most - settings.label_beam)
        # Where no label can lead to anything that is kept, as in most frames of blank, none is tried.
        able = np.flatnonzero(score > floor - most - self._most_guess)
        if not len(able):
            return None
        children = tree.children[state.node[able][:, None], labels]
        found = np.flatnonzero(children != NO_CHILD)
        source, column = np.divmod(found, len(labels))
        node = children.ravel()[found].astype(np.int64)
        source, label = able[source], labels[column]
        old = state.node[source]
        # A label that follows itself needs a blank between.
        start = np.where(tree.label[old] == label, state.after_blank[source], score[source])
        guess = tree.best[node] - tree.best[old]
        total = start + frame[label] + guess
        good = total > max(floor, float(total.max(initial=IMPOSSIBLE)) - settings.beam)
        source, node, total = source[good], node[good], total[good]
        if len(total) > 4 * settings.hypotheses:
            top = np.argpartition(-total, 4 * settings.hypotheses)[: 4 * settings.hypotheses]
            source, node, total = source[top], node[top], total[top]
            guess = guess[good][top]
        else:
            guess = guess[good]
        new_word = state.node[source] < self._roots
        return Hypotheses(
            node,
            state.context[source],
            np.full(len(node), IMPOSSIBLE),
            total.astype(np.float32),
            state.language[source] + guess,
            np.where(new_word, state.frames - 1, state.begin[source]),
            state.trace[source],
        )

    def _end_words(self, arrived: Hypotheses, state: BeamState, floor: float) -> tuple[Hypotheses, Ends]:
        """The words that end with the label that was just heard, each with its new word end."""
        tree = self.tree
        first = tree.first_word[arrived.node]
        count = tree.first_word[arrived.node + 1] - first
        source = np.repeat(np.arange(len(count)), count)
        entry = first[source] + np.arange(len(source)) - np.repeat(np.cumsum(count) - count, count)
        able = arrived.after_label[source] + self._most_change[entry] > floor
        source, entry = source[able], entry[able]
        word = tree.words[entry]
        log_prob, context = self._known.score(arrived.context[source], word)
        node = arrived.node[source]
        change = np.float32(self.settings.lm_weight) * log_prob + self._bonus[word] - tree.best[node]
        total = arrived.after_label[source] + change
        best = float(total.max(initial=IMPOSSIBLE))
        best = max(best, float(arrived.after_label.max(initial=IMPOSSIBLE)))
        keep = total > max(floor, best - self.settings.beam)
        source, word, total, context = source[keep], word[keep], total[keep], context[keep]
        language = (arrived.language[source] + change[keep]).astype(np.float32)
        ends = state.ends
        trace = len(ends.word) + np.arange(len(source))
        ended = Hypotheses(
            tree.label[arrived.node[source]],
            context,
            np.full(len(source), IMPOSSIBLE),
            total.astype(np.float32),
            language,
            np.full(len(source), state.frames),
            trace,
        )
        added = Ends(
            arrived.trace[source],
            word,
            arrived.begin[source],
            np.full(len(source), state.frames),
            ended.after_label - language,
            language,
            np.float32(best) - ended.after_label,
        )
        if not len(source):
            return ended, ends
        return ended, Ends._make(_joined(ends, added))

    def _prune(self, state: BeamState, stay: Hypotheses, *new: Hypotheses) -> BeamState:
        """Drops the bad ones, and keeps the better of two that have the same future."""
        every = Hypotheses._make(np.concatenate(columns) for columns in zip(stay, *new, strict=True))
        score = np.maximum(every.after_blank, every.after_label)
        limit = float(score.max()) - self.settings.beam
        kept = np.flatnonzero(score > limit)
        if new:
            kept, every, score = self._merge(kept, every, score)
        if len(kept) > self.settings.hypotheses:
            kept = kept[np.argpartition(-score[kept], self.settings.hypotheses)[: self.settings.hypotheses]]
        columns: list[Any] = [column[kept] for column in every]
        return state._replace(**dict(zip(Hypotheses._fields, columns, strict=True)))

    def _merge(self, kept: Ints, every: Hypotheses, score: Floats) -> tuple[Ints, Hypotheses, Floats]:
        key = every.context[kept] * len(self.tree.label) + every.node[kept]
        order = key.argsort(kind="stable")
        kept, key = kept[order], key[order]
        new = np.ones(len(key), np.bool_)
        np.not_equal(key[1:], key[:-1], out=new[1:])
        first = np.flatnonzero(new)
        if len(first) == len(kept):
            return kept, every, score
        blank = np.maximum.reduceat(every.after_blank[kept], first)
        label = np.maximum.reduceat(every.after_label[kept], first)
        own = np.cumsum(new) - 1
        best = np.flatnonzero(score[kept] == np.maximum(blank, label)[own])  # of each; the first of equals
        kept = kept[best[np.searchsorted(own[best], np.arange(len(first)))]]
        merged_blank, merged_label = every.after_blank.copy(), every.after_label.copy()
        merged_blank[kept], merged_label[kept] = blank, label
        every = every._replace(after_blank=merged_blank, after_label=merged_label)
        return kept, every, np.maximum(merged_blank, merged_label)


def _joined(one: Iterable[Any], other: Iterable[Any]) -> Iterator[Any]:
    """The columns of two tables, one behind the other."""
    return (np.concatenate(pair) for pair in zip(one, other, strict=True))
