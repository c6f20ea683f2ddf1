"""From posteriors to words: search, stability, hot words, events."""

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import numpy as np
import pytest
from pydantic import ValidationError

from auricle.configs.errors import ModelError
from auricle.configs.settings import Settings, TranscriptSettings, VadSettings
from auricle.daemon.detectors import Draft
from auricle.daemon.endpoint import EndpointRules
from auricle.daemon.transcripts import TranscriptDecoder
from auricle.daemon.utterance import Utterance, UtteranceDetector
from auricle.models.decoding.beam import BeamSettings
from auricle.models.decoding.hypotheses import BeamState, compact
from auricle.models.decoding.ngram import NGram
from auricle.models.decoding.transcriber import Transcriber
from auricle.models.lexicon import Lexicon
from auricle.models.phones import BLANK, INDEX, PHONES, phone_labels
from auricle.pipelines.corpus import Clip
from auricle.pipelines.evaluate_transcripts import Laid, collect, word_error_rate
from auricle.pipelines.metrics import Interval
from auricle.pipelines.ngram_counts import Size, estimate, number_words, vocabulary_of
from auricle.pipelines.transcript_report import draw_transcripts, transcript_text
from auricle.pipelines.tune_transcripts import tune
from auricle.pipelines.word_scores import fit, right_words
from auricle.pipelines.word_scores import report as score_report

SCHEMA = json.loads((Path(__file__).parent.parent / "daemon/schema/event-v1.json").read_text("utf-8"))
FRAME = 640
MODEL: Any = SimpleNamespace(
    name="acoustic@0",
    kind="acoustic",
    second="acoustic.second@1",
    labels=phone_labels(BLANK),
    outputs=len(phone_labels(BLANK)),
    frame_samples=FRAME,
    lookahead_frames=2,
    stride_frames=4,
)
TEXT = [
    line.split()
    for line in (
        "turn on the light",
        "turn off the light",
        "turn on the red light in the kitchen",
        "it was read to me",
        "she had a light dinner",
        "all light is good",
    )
    * 4
]
LEXICON = Lexicon()
SETTINGS = BeamSettings(blank_shift=0.0, lm_weight=0.6, beam=18)


def learn() -> NGram:
    words = vocabulary_of({word: 1 for line in TEXT for word in line}, 100)
    return estimate(number_words(TEXT, words), words, Size(100, 100, 1))


@pytest.fixture(name="transcriber", scope="module")
def _transcriber() -> Transcriber:
    return Transcriber(learn(), LEXICON, SETTINGS)


def posteriors(text: str, sharpness: float = 6.0, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """Peaky posteriors of a text: a frame or two for each phone, blanks between."""
    rng = np.random.default_rng(seed)
    rows = [0, 0]
    for word in text.split():
        for phone in LEXICON.spoken(word)[0]:
            rows += [INDEX[phone]] * int(rng.integers(1, 3)) + [0] * int(rng.integers(1, 3))
    rows.append(0)
    scores = sharpness * np.eye(1 + len(PHONES))[rows] + noise * rng.standard_normal((len(rows), 40))
    return (np.exp(scores) / np.exp(scores).sum(1, keepdims=True)).astype(np.float32)


def decode(rows: np.ndarray, transcriber: Transcriber) -> BeamState:
    state = transcriber.begin()
    for row in rows:
        state = transcriber.step(row, state)
    return state


def heard(rows: np.ndarray, transcriber: Transcriber) -> str:
    return " ".join(word.word for word in transcriber.finish(decode(rows, transcriber)))


@pytest.mark.parametrize("text", [" ".join(line) for line in TEXT[:6]])
def test_words_come_out(transcriber: Transcriber, text: str) -> None:
    assert heard(posteriors(text), transcriber) == text


def test_homophones_are_told_apart_by_their_neighbours(transcriber: Transcriber) -> None:
    assert "red light" in heard(posteriors("turn on the read light in the kitchen"), transcriber) or (
        LEXICON.spoken("read")[0] != LEXICON.spoken("red")[0]
    )
    assert heard(posteriors("it was red to me"), transcriber) == "it was read to me"


def test_equal_phones_at_a_word_boundary_stay_two(transcriber: Transcriber) -> None:
    # "all light": L and L meet; there is a blank between them, as CTC demands.
    assert heard(posteriors("all light is good"), transcriber) == "all light is good"


def test_the_language_model_helps_in_noise() -> None:
    said = "turn off the light"
    rows = [posteriors(said, sharpness=3.5, noise=1.0, seed=seed) for seed in range(12)]
    right = {
        weight: sum(
            heard(row, Transcriber(learn(), LEXICON, BeamSettings(0.0, weight, 0.0, 18))) == said
            for row in rows
        )
        for weight in (0.0, 0.8)
    }
    assert right[0.8] > right[0.0]


def test_stable_words_never_change(transcriber: Transcriber) -> None:
    rows = posteriors("turn on the red light in the kitchen", sharpness=3.0, noise=0.8, seed=3)
    state, stable = transcriber.begin(), ()
    for row in rows:
        state = transcriber.step(row, state)
        text = transcriber.text(state)
        assert text.words[: len(stable)] == stable
        assert text.stable >= len(stable)
        stable = text.words[: text.stable]
    final = tuple(word.word for word in transcriber.finish(state))
    assert final[: len(stable)] == stable and stable


def test_a_step_leaves_the_old_state_as_it_was(transcriber: Transcriber) -> None:
    rows = posteriors("turn on the light")
    state = decode(rows[:12], transcriber)
    before = [
        np.copy(column) for column in (state.node, state.after_blank, state.after_label, state.ends.word)
    ]
    once, again = (decode_from(state, rows[12:], transcriber) for _ in range(2))
    np.testing.assert_array_equal(once.score, again.score)
    for old, now in zip(before, parts(state), strict=True):
        np.testing.assert_array_equal(old, now)


def parts(state: BeamState) -> tuple[np.ndarray, ...]:
    return state.node, state.after_blank, state.after_label, state.ends.word


def decode_from(state: BeamState, rows: np.ndarray, transcriber: Transcriber) -> BeamState:
    for row in rows:
        state = transcriber.step(row, state)
    return state


def test_forgetting_dead_word_ends_changes_no_word(transcriber: Transcriber) -> None:
    rows = posteriors("turn on the red light in the kitchen", sharpness=3.0, noise=0.5)
    state = decode(rows, transcriber)
    small = compact(state)
    assert len(small.ends.word) < len(state.ends.word)
    assert transcriber.finish(small) == transcriber.finish(state)


def test_settled_words_are_those_of_the_best_hypothesis(transcriber: Transcriber) -> None:
    rows = posteriors("turn on the red light in the kitchen", sharpness=3.0, noise=0.8, seed=3)
    state = decode(rows[:40], transcriber)
    best = transcriber.text(state)
    settled = transcriber.commit(state, 10)
    text = transcriber.text(settled)
    assert text.words == best.words and best.stable < text.stable
    assert 0 < len(settled.node) < len(state.node)
    unchanged = transcriber.commit(state, 1000)
    assert len(unchanged.node) == len(state.node)


def test_word_times_follow_the_posteriors(transcriber: Transcriber) -> None:
    rows = np.concatenate([posteriors("turn on"), posteriors("the light")])
    words = transcriber.finish(decode(rows, transcriber))
    turn, on, the, light = words
    assert 2 <= turn.begin_frame < turn.end_frame <= on.begin_frame < on.end_frame
    assert the.begin_frame >= len(posteriors("turn on")) - 1 and light.end_frame <= len(rows)
    assert all(0 <= word.score <= 1 for word in words)


def test_doubtful_words_score_lower(transcriber: Transcriber) -> None:
    said = "turn on the light"
    sure = transcriber.finish(decode(posteriors(said), transcriber))
    doubtful = transcriber.finish(decode(posteriors(said, sharpness=3.0, noise=1.0, seed=1), transcriber))
    assert np.mean([word.score for word in doubtful]) < np.mean([word.score for word in sure])


def test_hot_words_join_the_vocabulary_and_win() -> None:
    model = learn()
    rows = posteriors("turn on the zigbee")
    assert "zigbee" not in heard(rows, Transcriber(model, LEXICON, SETTINGS))
    hot = Transcriber(model, LEXICON, SETTINGS, hot_words={"zigbee": 3.0})
    assert heard(rows, hot) == "turn on the zigbee"
    assert heard(posteriors("turn on the light"), hot) == "turn on the light"
    # "read" and "red" sound the same: the boost decides.
    said = posteriors("turn on the red light")
    assert "red" in heard(said, Transcriber(model, LEXICON, SETTINGS, hot_words={"red": 8.0}))
    assert "read" in heard(said, Transcriber(model, LEXICON, SETTINGS, hot_words={"read": 12.0}))


def test_a_pronunciation_of_the_user_is_used() -> None:
    lexicon = Lexicon({"zigbee": (("L", "AY", "T"),)})
    hot = Transcriber(learn(), lexicon, SETTINGS, hot_words={"zigbee": 15.0})
    assert heard(posteriors("turn on the light"), hot) == "turn on the zigbee"


def test_a_model_without_speakable_words_is_refused() -> None:
    words = vocabulary_of({"123": 1, "@": 1}, 10)
    model = estimate(number_words([["123", "@"]] * 5, words), words, Size(10, 10, 1))
    with pytest.raises(ModelError, match="lower-case"):
        Transcriber(model, LEXICON, SETTINGS)


def run(
    rows: np.ndarray,
    chunk: int,
    transcriber: Transcriber,
    look_again: Callable[[np.ndarray], np.ndarray] | None = None,
    **settings: Any,
) -> list[Draft]:
    """The drafts of one utterance in the middle of a stream, in chunks of frames."""
    decoder = TranscriptDecoder(MODEL, TranscriptSettings(**settings), transcriber)
    rules = EndpointRules(100 * FRAME, 12 * FRAME, 6 * FRAME, 500 * FRAME)
    detector = UtteranceDetector(MODEL, decoder, rules, 50 * FRAME, look_again=look_again)
    silence = np.eye(1, 40, dtype=np.float32)
    rows = np.concatenate([np.repeat(silence, 10, 0), rows, np.repeat(silence, 30, 0)])
    spoken = 10 + len(rows) - 40
    cues = [
        Draft("speech.start", 14 * FRAME, {"start_sample": 9 * FRAME}),
        Draft("speech.stop", (spoken + 5) * FRAME, {"end_sample": spoken * FRAME}),
    ]
    state, drafts = detector.initial_state(), []
    for start in range(0, len(rows), chunk):
        block = rows[start : start + chunk]
        ends = [(start + number + 1) * FRAME for number in range(len(block))]
        due = [cue for cue in cues if start * FRAME < cue.sample <= ends[-1]]
        found, state = detector.decide(block, ends, state, due)
        drafts += found
    return drafts + detector.finish(len(rows) * FRAME, len(rows) * FRAME, state)[0]


@pytest.mark.parametrize("chunk", [2, 7, 1000])
def test_events_do_not_depend_on_the_chunk_size(transcriber: Transcriber, chunk: int) -> None:
    rows = posteriors("turn on the red light in the kitchen", sharpness=4, noise=0.5)
    assert run(rows, chunk, transcriber) == run(rows, 1, transcriber)


def test_events_fit_the_schema_and_grow_to_the_final_text(transcriber: Transcriber) -> None:
    drafts = run(posteriors("turn on the red light in the kitchen"), 1, transcriber, partial_ms=0)
    definitions = {**SCHEMA["$defs"]}
    for draft in drafts:
        jsonschema.validate(draft.data, {**definitions[draft.type], "$defs": definitions})
    *partials, final = drafts
    assert {draft.type for draft in partials} == {"transcript.partial"} and final.type == "transcript.final"
    assert final.data["text"] == "turn on the red light in the kitchen"
    assert final.data["endpoint"] == "silence"
    for draft in partials:
        assert final.data["text"].startswith(draft.data["text"][: draft.data["stable_chars"]])
    texts = [draft.data["text"] for draft in partials]
    assert all(one != other for one, other in pairwise(texts))
    starts = [word["start"] for word in final.data["words"]]
    assert starts == sorted(starts)
    # The first phone is heard 2 blanks after frame 10; the model speaks of audio 2 frames earlier.
    assert final.data["start_sample"] == pytest.approx(10 * FRAME, abs=FRAME)


def test_a_second_pass_has_the_last_word_and_leaves_partials_as_they_are(transcriber: Transcriber) -> None:
    rows = posteriors("turn on the red light in the kitchen")
    other = posteriors("turn off the red light in the kitchen")

    def again(hidden: np.ndarray) -> np.ndarray:
        assert len(hidden) > len(other)
        return np.concatenate([other, np.eye(1, 40, dtype=np.float32).repeat(len(hidden) - len(other), 0)])

    once = run(rows, 1, transcriber, partial_ms=0)
    *partials, final = run(rows, 1, transcriber, again, partial_ms=0)
    assert final.data["text"] == "turn off the red light in the kitchen"
    assert partials == once[:-1]
    assert any(draft.data["stable_chars"] for draft in partials)


def test_where_a_second_pass_has_the_last_word_the_first_search_may_be_narrower(
    transcriber: Transcriber,
) -> None:
    rows = posteriors("turn on the red light in the kitchen", sharpness=3, noise=0.8, seed=2)
    decoder = TranscriptDecoder(MODEL, TranscriptSettings(), transcriber, transcriber.narrowed(3.0))
    state = decoder.begin()
    for row in rows:
        state = decoder.step(row, state)
    assert len(state.search.score) < len(decode(rows, transcriber).score)
    state = decoder.again(state)
    assert state is not None
    for row in rows:
        state = decoder.step(row, state)
    utterance = Utterance(0, len(rows) * FRAME, None, len(rows) * FRAME)
    (final,) = decoder.finish(utterance, "end", state)
    assert final.data["text"] == heard(rows, transcriber)
    assert len(state.search.score) == len(decode(rows, transcriber).score)


def test_partials_keep_their_distance(transcriber: Transcriber) -> None:
    rows = posteriors("turn on the red light in the kitchen")
    seldom = [draft.sample for draft in run(rows, 1, transcriber, partial_ms=400)[:-1]]
    assert len(seldom) > 1 and min(np.diff(seldom)) >= 6400
    assert len(run(rows, 1, transcriber, partial_ms=0)) > len(seldom) + 1


def test_silence_alone_is_no_transcript(transcriber: Transcriber) -> None:
    assert run(np.eye(1, 40, dtype=np.float32).repeat(40, 0), 1, transcriber) == []


def test_broken_settings_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"vad\.enabled"):
        Settings(vad=VadSettings(enabled=False), transcript=TranscriptSettings(enabled=True))
    for entry in ("two words", "Big", "a=b", "a=99", "=4", "route66"):
        with pytest.raises(ValidationError, match=r"hot word|boost"):
            TranscriptSettings(hot_words=(entry,))
    with pytest.raises(ValidationError, match="twice"):
        TranscriptSettings(hot_words=("zigbee", "zigbee=4"))
    assert TranscriptSettings(hot_words=("zigbee", "auricle = 5")).boosts() == {"zigbee": 3.0, "auricle": 5.0}


def test_another_kind_of_model_is_refused(transcriber: Transcriber) -> None:
    with pytest.raises(ModelError, match="acoustic"):
        TranscriptDecoder(
            SimpleNamespace(**{**vars(MODEL), "kind": "vad"}), TranscriptSettings(), transcriber
        )


def test_an_utterance_that_is_cut_off_has_a_transcript(transcriber: Transcriber) -> None:
    decoder = TranscriptDecoder(MODEL, TranscriptSettings(), transcriber)
    state = decoder.begin()
    rows = posteriors("turn on the light")
    for row in rows:
        state = decoder.step(row, state)
    utterance = Utterance(0, len(rows) * FRAME, None, len(rows) * FRAME)
    (final,) = decoder.finish(utterance, "end", state)
    assert final.data["endpoint"] == "end" and final.data["end_sample"] <= len(rows) * FRAME


def event(kind: str, text: str, sample: int, **data: Any) -> dict[str, Any]:
    return {"type": f"transcript.{kind}", "sample": sample, "data": {"text": text, **data}}


def clip(identity: str, text: str) -> Clip:
    return Clip(identity, "talk", "dev", "a.flac", 0, 16_000, "someone", text, "", {})


def test_figures_come_from_events() -> None:
    laid = [
        Laid(clip("a", "turn on the light"), 1000, 20_000),
        Laid(clip("b", "all is good"), 60_000, 80_000),
        Laid(clip("c", "nothing heard"), 120_000, 130_000),
    ]
    events = [
        event("partial", "turn", 9000, stable_chars=4),
        event("partial", "turn off", 12_000, stable_chars=4),
        event("partial", "torn on", 15_000, stable_chars=0),
        event("final", "turn on", 24_000, end_sample=18_000),
        event("final", "the light", 36_000, end_sample=33_000),
        event("partial", "tall is", 70_000, stable_chars=7),
        event("final", "all is good", 96_000, end_sample=79_000),
    ]
    heard_all = collect(laid, events)
    assert [one.words for one in heard_all] == [["turn", "on", "the", "light"], ["all", "is", "good"], []]
    assert [one.shown for one in heard_all] == [4, 2, 0]
    assert [one.changed for one in heard_all] == [2, 1, 0]
    assert [one.retracted for one in heard_all] == [2, 0, 0]
    assert [one.revised for one in heard_all] == [0, 1, 0]
    assert heard_all[0].delay_s == pytest.approx(1.0) and np.isnan(heard_all[2].delay_s)
    rate, said = word_error_rate([one.clip for one in laid], [one.words for one in heard_all])
    assert said == 9 and rate.value == pytest.approx(2 / 9)


def test_a_report_names_both_systems(tmp_path: Path) -> None:
    row = {"set": "talk", "condition": "clean", "utterances": 2, "words": 9, "changed_share": 0.1}
    row |= {"stable_retracted": 0, "stable_revised": 2, "delay_p50_s": 0.5, "delay_p95_s": None, "cost": 0.03}
    row |= {"wer": Interval(0.4, 0.3, 0.5), "pocketsphinx_wer": Interval(0.6, 0.5, 0.7)}
    figures = {"split": "dev", "options": [], "rows": [row]}
    assert "40.0 [30.0, 50.0] | 60.0 [50.0, 70.0]" in transcript_text(figures)
    draw_transcripts(figures, tmp_path / "t.png")
    assert (tmp_path / "t.png").stat().st_size > 5000


def test_tuning_ends_with_the_best_try(monkeypatch: pytest.MonkeyPatch) -> None:
    def rate(judged: Any, model: Any, lexicon: Any, search: BeamSettings) -> float:
        return abs(search.blank_shift + 4) + abs(search.lm_weight - 1) + abs(search.word_bonus)

    monkeypatch.setattr("auricle.pipelines.tune_transcripts.error_rate", rate)
    tries = list(tune([], learn(), BeamSettings(-2, 0.6, 1)))
    best, lowest = tries[-1]
    assert (best.blank_shift, best.lm_weight, best.word_bonus) == (-4, 1.0, 0)
    assert lowest == min(rate for _, rate in tries)
    assert len({search for search, _ in tries}) == len(tries) - 1


def test_scores_that_are_fitted_are_shares_right() -> None:
    rng = np.random.default_rng(0)
    evidence = rng.standard_normal((4000, 2))
    right = rng.random(4000) < 1 / (1 + np.exp(-(0.5 + 1.5 * evidence[:, 0])))
    weights = fit(evidence, right)
    assert weights == pytest.approx([0.5, 1.5, 0.0], abs=0.15)
    assert "right" in score_report(evidence, right, weights)
    assert right_words("turn on the light", ["turn", "off", "light"]) == [True, False, True]
