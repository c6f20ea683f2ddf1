"""Utterances on the sample clock: where they begin and end, and what a decoder is given."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auricle.daemon.detectors import Draft
from auricle.daemon.endpoint import Endpoint, EndpointRules, Progress, UtteranceState
from auricle.daemon.utterance import Utterance, UtteranceDetector

FRAME = 640
MODEL: Any = SimpleNamespace(frame_samples=FRAME, lookahead_frames=2, outputs=1)
RULES = EndpointRules(
    no_speech_samples=20 * FRAME,
    after_partial_samples=10 * FRAME,
    after_final_samples=5 * FRAME,
    longest_samples=100 * FRAME,
)


class Heard(NamedTuple):
    """What the decoder below remembers."""

    frames: tuple[int, ...] = ()


class Recorder:
    """A decoder that reports which frames it was given; a frame's posterior is its number.

    Frames from `word_from` on are words; those from `sentence_from` on end a sentence.
    """

    tail_samples = 0

    def __init__(self, word_from: int = 0, sentence_from: int = 10_000, over_at: int = -1) -> None:
        self.word_from, self.sentence_from, self.over_at = word_from, sentence_from, over_at

    def begin(self) -> Heard:
        return Heard()

    def step(self, posterior: np.ndarray, state: Heard) -> Heard:
        return Heard((*state.frames, int(posterior[0])))

    def progress(self, state: Heard) -> Progress:
        newest = state.frames[-1]
        return (
            "final" if newest >= self.sentence_from else "partial" if newest >= self.word_from else "nothing"
        )

    def may_be_over(self, state: Heard) -> Heard | None:
        return state if state.frames[-1] == self.over_at else None

    def partial(self, utterance: Utterance, state: Heard) -> tuple[list[Draft], Heard]:
        return [], state

    def again(self, state: Heard) -> Heard | None:
        return Heard()

    def finish(self, utterance: Utterance, why: Endpoint, state: Heard) -> list[Draft]:
        data = {"frames": state.frames, "why": why, "utterance": utterance._replace(wake=None)}
        return [Draft("command", utterance.end_sample, data, wake=utterance.wake)]


class Rejecting(Recorder):
    """The same, which rejects utterances that begin before a frame."""

    def __init__(self, least_frame: int, word_from: int = 0) -> None:
        super().__init__(word_from)
        self.least_frame = least_frame

    def finish(self, utterance: Utterance, why: Endpoint, state: Heard) -> list[Draft]:
        return super().finish(utterance, why, state) if state.frames[0] >= self.least_frame else []


class Unsure(Recorder):
    """The same, which makes nothing of utterances of fewer frames."""

    def __init__(self, least_frames: int, over_at: int) -> None:
        super().__init__(over_at=over_at)
        self.least_frames = least_frames

    def finish(self, utterance: Utterance, why: Endpoint, state: Heard) -> list[Draft]:
        return super().finish(utterance, why, state) if len(state.frames) >= self.least_frames else []


def detector(decoder: Recorder, window: int | None = None, history: int = 20) -> UtteranceDetector[Heard]:
    return UtteranceDetector(MODEL, decoder, RULES, history * FRAME, window_samples=window)


def start(frame: int, begin: int) -> Draft:
    return Draft("speech.start", frame * FRAME, {"start_sample": begin * FRAME})


def stop(frame: int, end: int) -> Draft:
    return Draft("speech.stop", frame * FRAME, {"end_sample": end * FRAME})


def wake(frame: int, end: int) -> Draft:
    return Draft("wake", frame * FRAME, {"phrase": "hey", "end_sample": end * FRAME})


def run(
    one: UtteranceDetector[Heard], frames: int, cues: list[Draft], sizes: tuple[int, ...] = (1,)
) -> list[Draft]:
    """Streams frames 0, 1, ... in chunks; frame i ends at (i + 1) * FRAME. Cues come with their chunk."""
    state, drafts, place, turn = one.initial_state(), [], 0, 0
    while place < frames:
        count = min(sizes[turn % len(sizes)], frames - place)
        rows = np.arange(place, place + count, dtype=np.float32)[:, None]
        ends = [(number + 1) * FRAME for number in range(place, place + count)]
        own = [cue for cue in cues if place * FRAME < cue.sample <= (place + count) * FRAME]
        found, state = one.decide(rows, ends, state, own)
        drafts += found
        place, turn = place + count, turn + 1
    found, _ = one.finish(frames * FRAME, frames * FRAME - 100, state)
    return drafts + found


def test_no_first_phone_is_lost() -> None:
    (draft,) = run(detector(Recorder()), 60, [start(20, 12), stop(35, 30)])
    assert draft.data["frames"] == tuple(range(12, 40))  # from the pre-roll on, without a hole
    assert draft.data["why"] == "silence"
    assert draft.data["utterance"] == Utterance(12 * FRAME, 40 * FRAME, None, 40 * FRAME)
    assert draft.sample == 40 * FRAME


@pytest.mark.parametrize(
    ("decoder", "silence"), [(Recorder(word_from=999), 20), (Recorder(), 10), (Recorder(0, 25), 5)]
)
def test_silence_ends_it_by_what_was_recognised(decoder: Recorder, silence: int) -> None:
    (draft,) = run(detector(decoder), 80, [start(20, 15), stop(34, 32)])
    assert draft.sample == max(32 + silence, 34) * FRAME


def test_speech_that_comes_back_belongs_to_it() -> None:
    cues = [start(20, 15), stop(34, 30), start(38, 33), stop(50, 48)]
    (draft,) = run(detector(Recorder()), 80, cues)
    assert draft.data["frames"] == tuple(range(15, 58))


def test_speech_after_the_endpoint_is_another() -> None:
    first, second = run(detector(Recorder()), 90, [start(20, 15), stop(32, 30), start(45, 42), stop(60, 58)])
    assert (first.data["frames"][0], first.data["frames"][-1]) == (15, 39)
    assert (second.data["frames"][0], second.data["frames"][-1]) == (42, 67)


def test_the_longest_is_cut_without_losing_a_frame() -> None:
    first, second, third = run(detector(Recorder()), 230, [start(5, 0)])
    assert [draft.data["why"] for draft in (first, second, third)] == ["length", "length", "end"]
    assert first.data["frames"] + second.data["frames"] + third.data["frames"] == tuple(range(230))


def test_a_sentence_ends_it_though_sound_goes_on() -> None:
    first, second = run(detector(Recorder(over_at=30)), 80, [start(20, 15), stop(50, 48)])
    assert (first.data["why"], second.data["why"]) == ("sentence", "silence")
    assert first.data["frames"] + second.data["frames"] == tuple(range(15, 58))  # none is lost
    (only,) = run(detector(Recorder(over_at=36)), 80, [start(20, 15), stop(35, 33)])
    assert (only.data["why"], only.data["frames"][-1]) == ("sentence", 36)  # nobody speaks: nothing follows


def test_what_is_rejected_too_early_goes_on() -> None:
    (only,) = run(detector(Unsure(20, over_at=30)), 80, [start(20, 15), stop(50, 48)])
    assert (only.data["why"], only.data["frames"]) == ("silence", tuple(range(15, 58)))


def test_the_streams_end_ends_it() -> None:
    (draft,) = run(detector(Recorder()), 30, [start(20, 15)])
    assert (draft.data["why"], draft.data["frames"][-1]) == ("end", 29)
    assert draft.data["utterance"] == Utterance(15 * FRAME, 30 * FRAME - 100, None, 30 * FRAME)
    assert run(detector(Recorder()), 30, []) == []


CUES = [
    start(8, 3),
    wake(14, 11),
    stop(22, 20),
    start(41, 38),
    wake(47, 44),
    stop(60, 57),
    start(70, 66),
    stop(90, 88),
    start(120, 117),
]


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 50), min_size=1, max_size=4),
    window=st.sampled_from([None, 20 * FRAME, 60 * FRAME]),
)
def test_chunks_change_nothing(sizes: list[int], window: int | None) -> None:
    expected = run(detector(Recorder(), window), 150, CUES)
    assert len(expected) >= 2
    assert run(detector(Recorder(), window), 150, CUES, tuple(sizes)) == expected


def test_a_state_is_not_changed_by_those_that_follow() -> None:
    one = detector(Recorder())
    rows, ends = np.arange(10, dtype=np.float32)[:, None], [FRAME * number for number in range(1, 11)]
    _, state = one.decide(rows, ends, one.initial_state(), [start(8, 3)])
    again = [one.decide(rows + 10, [end + 10 * FRAME for end in ends], state, []) for _ in range(2)]
    assert again[0][1].decoding == again[1][1].decoding == Heard(tuple(range(3, 20)))


def test_without_the_wake_phrase_nothing_is_decoded() -> None:
    assert run(detector(Recorder(), 50 * FRAME), 90, [start(20, 15), stop(40, 38)]) == []


def test_phrase_and_command_in_one_breath() -> None:
    phrase = wake(33, 28)
    (draft,) = run(detector(Recorder(), 50 * FRAME), 90, [start(20, 15), phrase, stop(52, 50)])
    assert draft.data["frames"] == tuple(range(28, 60))
    assert draft.wake == phrase


def test_a_command_after_a_pause() -> None:
    cues = [start(20, 15), wake(30, 27), stop(32, 28), start(64, 60), stop(80, 78)]
    (draft,) = run(detector(Rejecting(60, word_from=60), 50 * FRAME), 120, cues)
    assert draft.data["frames"] == tuple(range(60, 88))
    assert run(detector(Rejecting(60, word_from=60), 20 * FRAME), 120, cues) == []


def test_the_preroll_does_not_reach_into_the_phrase() -> None:
    cues = [start(10, 5), wake(30, 27), stop(28, 26), start(52, 25), stop(70, 68)]
    found = run(detector(Recorder(word_from=50), 50 * FRAME, history=40), 120, cues)
    assert all(draft.data["frames"][0] >= 27 for draft in found)


def test_a_window_closes_with_its_command_but_not_with_a_rejection() -> None:
    cues = [wake(10, 8), start(15, 12), stop(30, 28), start(45, 43), stop(60, 58)]
    assert len(run(detector(Recorder(), 60 * FRAME), 100, cues)) == 1
    (draft,) = run(detector(Rejecting(40), 60 * FRAME), 100, cues)
    assert draft.data["frames"][0] == 43


def test_rules_hold_their_state_in_a_value() -> None:
    before = UtteranceState()
    started = RULES.speech_started(5 * FRAME, before)
    assert before == UtteranceState()
    assert started == UtteranceState(5 * FRAME, True, 0)
    assert RULES.step(10 * FRAME, "nothing", before) == (None, before)
    assert RULES.step(104 * FRAME, "final", started) == (None, started)
    assert RULES.step(105 * FRAME, "final", started)[0] == "length"


@pytest.mark.parametrize("sizes", [(1,), (7, 2), (90,)])
def test_a_second_pass_is_given_each_utterance_whole_and_searched_instead(sizes: tuple[int, ...]) -> None:
    model: Any = SimpleNamespace(frame_samples=FRAME, lookahead_frames=2, outputs=1, second="s@1")
    seen: list[np.ndarray] = []

    def look_again(hidden: np.ndarray) -> np.ndarray:
        seen.append(hidden)
        return 1000 + hidden[:, :1]

    one = UtteranceDetector[Heard](model, Recorder(), RULES, 20 * FRAME, look_again=look_again)
    numbers = np.arange(90, dtype=np.float32)
    rows = np.column_stack([numbers, numbers, -numbers])
    cues = [start(20, 12), stop(35, 30), start(50, 45)]
    state, drafts, place = one.initial_state(), list[Draft](), 0
    while place < 90:
        ends = [(number + 1) * FRAME for number in range(place, min(90, place + sizes[place % len(sizes)]))]
        own = [cue for cue in cues if place * FRAME < cue.sample <= ends[-1]]
        found, state = one.decide(rows[place : place + len(ends)], ends, state, own)
        drafts, place = drafts + found, place + len(ends)
    drafts += one.finish(90 * FRAME, 90 * FRAME, state)[0]
    assert [draft.data["frames"] for draft in drafts] == [tuple(range(1012, 1040)), tuple(range(1045, 1090))]
    assert {draft.model for draft in drafts} == {"s@1"}
    assert [hidden[:, 1].tolist() for hidden in seen] == [
        list(range(-12, -40, -1)),
        list(range(-45, -90, -1)),
    ]


def test_very_long_utterances_are_searched_once() -> None:
    model: Any = SimpleNamespace(frame_samples=FRAME, lookahead_frames=2, outputs=1, second="s@1")
    rules = replace(RULES, longest_samples=1000 * FRAME)
    looked: list[int] = []

    def look_again(hidden: np.ndarray) -> np.ndarray:
        looked.append(len(hidden))
        return hidden

    one = UtteranceDetector[Heard](model, Recorder(), rules, 20 * FRAME, look_again=look_again)
    for frames in (750, 751):
        rows, ends = np.ones((frames, 2), np.float32), [(number + 1) * FRAME for number in range(frames)]
        _, state = one.decide(rows, ends, one.initial_state(), [start(1, 0)])
        (draft,), _ = one.finish(ends[-1], ends[-1], state)
        assert len(draft.data["frames"]) == frames
    assert looked == [750]
