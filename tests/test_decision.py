from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auricle.daemon.decision import (
    KeywordTrigger,
    SpeechSegmenter,
    SpeechStart,
    SpeechState,
    SpeechStop,
)

FRAME = 320
SEGMENTER = SpeechSegmenter(
    onset=0.6,
    offset=0.4,
    min_speech_samples=3 * FRAME,
    hangover_samples=5 * FRAME,
    preroll_samples=4 * FRAME,
    frame_samples=FRAME,
)
TRIGGER = KeywordTrigger(labels=(1, 2), threshold=0.6, smooth_frames=2, refractory_samples=5 * FRAME)


def segment(
    posteriors: list[float], segmenter: SpeechSegmenter = SEGMENTER
) -> list[tuple[int, SpeechStart | SpeechStop]]:
    """Decisions with the number of the frame that made them."""
    state, decisions = SpeechState(), []
    for index, posterior in enumerate(posteriors):
        decision, state = segmenter.step(posterior, (index + 1) * FRAME, state)
        if decision is not None:
            decisions.append((index, decision))
    return decisions


def spot(rows: list[list[float]], trigger: KeywordTrigger = TRIGGER) -> list[tuple[int, int]]:
    state, hits = trigger.initial_state(3), []
    for index, row in enumerate(rows):
        hit, state = trigger.step(np.array(row, dtype=np.float32), (index + 1) * FRAME, state)
        if hit is not None:
            hits.append((index, hit.label))
    return hits


def test_speech_starts_after_its_shortest_length_and_stops_after_the_hangover() -> None:
    (first, start), (last, stop) = segment([0.1] * 10 + [0.9] * 6 + [0.1] * 10)
    assert (first, last) == (12, 20)
    assert start == SpeechStart(start_sample=6 * FRAME, score=pytest.approx(0.9))
    assert isinstance(stop, SpeechStop)
    assert (stop.start_sample, stop.end_sample) == (6 * FRAME, 16 * FRAME)


def test_a_click_is_no_speech() -> None:
    assert segment([0.1] * 5 + [0.9] * 2 + [0.1] * 20) == []


def test_onset_is_needed_to_start_and_offset_keeps_it_up() -> None:
    assert segment([0.5] * 20) == []
    assert len(segment([0.7] + [0.5] * 20)) == 1


def test_a_pause_shorter_than_the_hangover_is_bridged() -> None:
    assert len(segment([0.9] * 5 + [0.1] * 4 + [0.9] * 5)) == 1
    assert len(segment([0.9] * 5 + [0.1] * 5 + [0.9] * 5)) == 3


def test_preroll_reaches_neither_before_the_stream_nor_into_the_last_segment() -> None:
    decisions = segment([0.9] * 4 + [0.1] * 5 + [0.9] * 4, replace(SEGMENTER, preroll_samples=50 * FRAME))
    starts = [decision.start_sample for _, decision in decisions if isinstance(decision, SpeechStart)]
    assert starts == [0, 4 * FRAME]


def test_the_end_of_a_stream_closes_what_is_open() -> None:
    state = SpeechState()
    for index in range(4):
        _, state = SEGMENTER.step(0.9, (index + 1) * FRAME, state)
    stop, state = SEGMENTER.finish(state)
    assert stop == SpeechStop(0, 4 * FRAME, pytest.approx(0.9))
    assert SEGMENTER.finish(state)[0] is None


@given(st.lists(st.floats(0, 1), max_size=200))
def test_starts_and_stops_alternate_in_order(posteriors: list[float]) -> None:
    decisions = [decision for _, decision in segment(posteriors)]
    assert all(isinstance(d, SpeechStop) == bool(i % 2) for i, d in enumerate(decisions))
    edges = [d.start_sample if isinstance(d, SpeechStart) else d.end_sample for d in decisions]
    assert edges == sorted(edges)


def test_a_keyword_is_heard_once_while_it_lasts() -> None:
    assert spot([[1, 0, 0]] * 3 + [[0, 1, 0]] * 30 + [[1, 0, 0]] * 3) == [(4, 1)]


def test_a_keyword_said_again_is_heard_again() -> None:
    once = [[0.0, 1.0, 0.0]] * 3 + [[1.0, 0.0, 0.0]] * 4
    assert spot(once * 3) == [(1, 1), (8, 1), (15, 1)]


def test_the_refractory_time_counts_samples_and_then_ends() -> None:
    word, pause = [[0.0, 1.0, 0.0]], [[1.0, 0.0, 0.0]]
    assert spot(word * 2 + pause * 2 + word * 1 + pause * 2 + word * 2) == [(1, 1), (8, 1)]


def test_another_word_may_follow_at_once() -> None:
    assert spot([[0.0, 1.0, 0.0]] * 2 + [[0.0, 0.0, 1.0]] * 2) == [(1, 1), (3, 2)]


def test_labels_that_are_not_wanted_never_hit() -> None:
    assert spot([[0.0, 0.0, 1.0]] * 5, replace(TRIGGER, labels=(1,))) == []


def test_the_score_is_the_highest_posterior_in_the_window() -> None:
    state = TRIGGER.initial_state(3)
    _, state = TRIGGER.step(np.array([0.1, 0.5, 0.4], dtype=np.float32), FRAME, state)
    hit, _ = TRIGGER.step(np.array([0.1, 0.8, 0.1], dtype=np.float32), 2 * FRAME, state)
    assert hit is not None
    assert hit.score == pytest.approx(0.8)


def test_the_state_given_is_not_changed() -> None:
    state = TRIGGER.initial_state(3)
    TRIGGER.step(np.array([0, 1, 0], dtype=np.float32), FRAME, state)
    TRIGGER.step(np.array([0, 1, 0], dtype=np.float32), FRAME, state)
    assert not state.recent.any()
    assert state.armed.all()
