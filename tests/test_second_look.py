"""The second pass on wake phrases: what it refuses is not heard, and nothing else changes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import spoken
import torch
from test_wake_search import FRAME, ONE_TWO, OTHER, SETTINGS, background, silence
from test_wake_search import spoken as said

from auricle.configs.errors import DataError, ModelError
from auricle.configs.settings import CommandSettings, Settings, WakeSettings
from auricle.daemon.grammar import find_scale
from auricle.daemon.wake import WakeDetector, build_wake_detector
from auricle.models.decoding import listening, second_look, talk
from auricle.models.decoding.background import (
    SUFFIX,
    SUFFIX_OF_SECOND,
    Background,
    load_background,
)
from auricle.models.decoding.listening import Wanted, fires_at
from auricle.models.decoding.phrases import Array, PhraseSearch
from auricle.models.decoding.rivals import RivalSearch, common_words
from auricle.models.decoding.search import SearchConfig
from auricle.models.decoding.second_look import (
    AROUND_FRAMES,
    MOST_LOOKED_AT,
    MOST_RATE,
    SEARCHED_PART,
    FirstPass,
    SecondLook,
    candidates_per_hour,
    said_by_both,
    window_frames,
)
from auricle.models.decoding.spotting import SETTLE_FRAMES, Hit, Spotter, SpotterState
from auricle.models.engine import TorchEngine
from auricle.models.lexicon import Lexicon
from auricle.models.zoo import WEIGHTS, find_model
from auricle.pipelines import calibrate as calibration
from auricle.pipelines import command_promise
from auricle.pipelines import hear_talk as hearing
from auricle.pipelines.calibrate import calibrate
from auricle.pipelines.corpus import Corpus
from auricle.pipelines.hear_talk import hear_talk, hear_utterances, shipped_intents
from auricle.pipelines.wake_streams import NEVER, Ear, Heard, scan_again

DOUBT = 1.0
"""The hidden value of frames of which the second pass will say that nobody spoke."""


def look(said_again: Array, windows: list[int] | None = None) -> SecondLook:
    """A second pass that agrees with `said_again`, whose newest frames it is shown, but where it doubts."""

    def look_again(hidden: Array) -> Array:
        if windows is not None:
            windows.append(len(hidden))
        log_probs = said_again[hidden[:, 0].astype(int)].copy()
        log_probs[hidden[:, 1] == DOUBT] = silence(1)[0]
        return np.exp(log_probs)

    return SecondLook(background(), look_again)


def plain() -> Spotter:
    return Spotter([Wanted(ONE_TWO, 0.5, 0)], background(), FRAME)


def numbered(frames: int, doubted: slice) -> Array:
    """Hidden values that are the number of their frame, and whether it is doubted."""
    values = np.stack([np.arange(frames), np.zeros(frames)], 1).astype(np.float32)
    values[doubted, 1] = DOUBT
    return values


def hear(
    spotter: Spotter, log_probs: Array, hidden: Array, state: SpotterState | None = None
) -> tuple[list[Hit], SpotterState]:
    hits, state = [], state or spotter.initial_state()
    for number, (row, values) in enumerate(zip(log_probs, hidden, strict=True), start=state.paths.frame + 1):
        found, state = spotter.step(row, number * FRAME, state, values)
        hits += found
    return hits, state


PHRASE = said(5, 6, 7, 8, 8)
TWICE = np.concatenate([silence(40), PHRASE, silence(60), PHRASE, silence(40)])
SECOND_TIME = slice(40 + len(PHRASE) + 50, 40 + len(PHRASE) + 60 + len(PHRASE) + 20)


def test_what_the_second_pass_does_not_hear_is_not_reported() -> None:
    windows: list[int] = []
    spotter = Spotter([Wanted(ONE_TWO, 0.5, 0)], background(), FRAME, look(TWICE, windows))
    doubted, _ = hear(spotter, TWICE, numbered(len(TWICE), SECOND_TIME))
    agreed, _ = hear(spotter, TWICE, numbered(len(TWICE), slice(0)))
    alone, _ = hear(plain(), TWICE, numbered(len(TWICE), slice(0)))
    assert spotter.looks_at(0)
    assert [(hit.start_sample, hit.end_sample) for hit in doubted] == [
        (hit.start_sample, hit.end_sample) for hit in alone[:1]
    ]
    assert len(agreed) == len(alone) == 2
    assert window_frames(len(PHRASE) - 1, SETTLE_FRAMES) in windows and max(windows) <= MOST_LOOKED_AT


def test_a_phrase_may_do_without() -> None:
    wanted = [Wanted(ONE_TWO, 0.5, 0, second_look=False), Wanted(OTHER, 0.5, 0)]
    spotter = Spotter(wanted, background(), FRAME, look(TWICE))
    hits, _ = hear(spotter, TWICE, numbered(len(TWICE), SECOND_TIME))
    assert [hit.phrase for hit in hits] == [0, 0]
    assert [spotter.looks_at(number) for number in range(2)] == [False, True]


def test_what_was_refused_may_be_a_near_miss() -> None:
    spotter = Spotter([Wanted(ONE_TWO, 0.5, 0, 1e9)], background(), FRAME, look(TWICE))
    begin = 40 + len(PHRASE) + 60
    hits, _ = hear(spotter, TWICE, numbered(len(TWICE), slice(begin + 1, begin + 6)))
    found = [hit.near for hit in hits if begin * FRAME <= hit.start_sample < (begin + len(PHRASE)) * FRAME]
    assert found == [True]


def test_phrases_change_while_a_candidate_is_under_way() -> None:
    spotter = Spotter([Wanted(ONE_TWO, 0.5, 0)], background(), FRAME, look(TWICE))
    middle = 40 + len(PHRASE) // 2
    hidden = numbered(len(TWICE), slice(0))
    _, state = hear(spotter, TWICE[:middle], hidden[:middle])
    before = spotter.tails
    spotter.change([Wanted(OTHER, 0.5, 0), Wanted(ONE_TWO, 0.5, 0)])
    assert spotter.tails[1] is before[0]  # not searched for again
    hits, _ = hear(spotter, TWICE[middle:80], hidden[middle:80], state)
    assert [hit.phrase for hit in hits] == [1]


def test_a_candidate_under_way_is_judged_as_the_phrase_is_wanted_now() -> None:
    """It was let in for the second pass; when that no longer looks, the search's own threshold holds."""
    unsure, begin = TWICE.copy(), 40
    end = begin + len(PHRASE) + 1
    unsure[begin : end - 1] = np.log(0.6 * np.exp(unsure[begin : end - 1]) + 0.4 / unsure.shape[1])
    spotter = Spotter([Wanted(ONE_TWO, MOST_RATE, 0)], background(), FRAME, look(TWICE))
    hits, state = hear(spotter, unsure[:end], numbered(end, slice(0)))
    (pending,) = state.pending.values()
    spotter.change([Wanted(ONE_TWO, 0.5, 0, second_look=False)])
    later, _ = hear(spotter, unsure[end : end + 5], numbered(end + 5, slice(0))[end:], state)
    assert pending.raw < spotter.tails[0].score_at(0.5) and hits == later == []


def test_what_clips_keep_changes_nothing_that_is_heard() -> None:
    listened = [
        Spotter([Wanted(ONE_TWO, 0.5, 0, near)], background(), FRAME, look(TWICE)) for near in (0.0, 99.0)
    ]
    assert (
        listened[0].prepare(listened[0].wanted).thresholds
        == listened[1].prepare(listened[1].wanted).thresholds
    )


def test_who_wants_everything_is_not_looked_at() -> None:
    spotter = Spotter([Wanted(ONE_TWO, MOST_RATE + 1, 0)], background(), FRAME, look(TWICE))
    assert not spotter.looks_at(0)


def test_nothing_old_is_judged_with_the_first_phrase_of_a_while() -> None:
    windows: list[int] = []
    spotter = Spotter([Wanted(ONE_TWO, 0.5, 0)], background(), FRAME, look(TWICE, windows))
    _, state = hear(spotter, TWICE[:30], numbered(30, slice(0)))
    spotter.change([])
    _, state = spotter.step(TWICE[30], 31 * FRAME, state, np.zeros(2, np.float32))
    spotter.change([Wanted(ONE_TWO, 0.5, 0)])
    _, state = spotter.step(TWICE[40], 41 * FRAME, state, np.zeros(2, np.float32))
    assert len(state.hidden) == len(state.heard) == 1


def test_what_only_one_pass_says_counts_half() -> None:
    first = np.log(np.array([[0.9, 0.05, 0.05], [1.0, 0.0, 0.0]], np.float32) + np.float32(1e-30))
    second = np.log(np.array([[0.05, 0.9, 0.05], [1.0, 1e-8, 1e-8]], np.float32))
    both = np.exp(said_by_both(first, second, 0.5))
    assert both[0] == pytest.approx([0.447, 0.447, 0.105], abs=1e-3) and both[1, 0] > 0.99
    assert both.sum(1) == pytest.approx([1, 1])
    assert np.exp(said_by_both(first, second, 0.0)) == pytest.approx(np.exp(second), abs=1e-5)
    assert said_by_both(first, second, 1.0).min() > -20  # as posteriors are floored in the daemon


def test_a_phrase_that_the_first_pass_hardly_heard_needs_more_of_the_second() -> None:
    """The search lets it in; what it said of the phrase weighs on as much as the second pass does."""
    unsure = np.log(0.5 * np.exp(PHRASE) + 0.5 / PHRASE.shape[1]).astype(np.float32)
    hidden = numbered(len(TWICE), slice(0))
    ends = 40 + len(PHRASE)
    heard = [np.concatenate([TWICE[:40], rows, TWICE[40 + len(rows) :]]) for rows in (PHRASE, unsure)]
    for part, falls in ((0.0, False), (0.5, True)):
        second = look(TWICE)
        info = replace(second.background.info, searched_part=part)
        second.background = Background(second.background.codes, info)
        clear, poor = (
            second.score(ONE_TWO, FirstPass(rows[: ends + 2], hidden[: ends + 2]), len(PHRASE), 2)
            for rows in heard
        )
        assert (poor < clear - 0.5) == falls


def test_what_the_second_pass_takes_for_noise_is_refused_however_sure_the_first_is() -> None:
    sure = look(TWICE)
    info = replace(sure.background.info, searched_part=0.5)
    both = Background(sure.background.codes, info)
    flat = SecondLook(both, lambda hidden: np.full((len(hidden), TWICE.shape[1]), 1 / 40, np.float32))
    ends, hidden = 40 + len(PHRASE), numbered(len(TWICE), slice(0))
    heard = FirstPass(TWICE[: ends + 2], hidden[: ends + 2])
    refused, agreed = (one.score(ONE_TWO, heard, len(PHRASE), 2) for one in (flat, sure))
    assert refused < agreed - 100


def test_what_was_said_before_a_candidate_is_not_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_look, "EARLIER_FRAMES", 2)
    second, hidden = look(TWICE), numbered(len(TWICE), slice(0))
    ends = 40 + len(PHRASE)
    heard = FirstPass(TWICE[: ends + 2], hidden[: ends + 2])
    whole, part = (second.score(ONE_TWO, heard, frames, 2) for frames in (len(PHRASE), len(PHRASE) // 2))
    assert whole > part + 10


def test_windows_and_candidates_are_bounded() -> None:
    assert window_frames(20, 2) == AROUND_FRAMES + 22
    assert window_frames(10_000, 2) == MOST_LOOKED_AT
    assert candidates_per_hour(0.01) == candidates_per_hour(0.5) < candidates_per_hour(100.0)


def test_streams_are_scored_as_the_spotter_decides() -> None:
    hidden = numbered(len(TWICE), SECOND_TIME)
    second = look(TWICE)
    fires = fires_at(background().tails(PhraseSearch([ONE_TWO], SETTINGS))[0], 0.5)
    scores = scan_again(Heard(TWICE[None], hidden[None]), [ONE_TWO], SETTINGS, second, [fires])[0, :, 0]
    spotter = Spotter([Wanted(ONE_TWO, 0.5, 0)], background(), FRAME, second)
    (hit,), _ = hear(spotter, TWICE, hidden)
    heard = np.flatnonzero(scores >= spotter.tails[0].score_at(0.5))
    assert heard[0] == hit.end_sample // FRAME - 1 and heard[-1] < SECOND_TIME.start
    assert (scores[SECOND_TIME] > NEVER).any()  # a candidate, refused


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a model with a second pass and both backgrounds, from two short trainings."""
    from test_second_pass import trained

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("calibrated")
    data = spoken.write_data(folder / "data")
    model, _ = trained(data, folder)
    patch = pytest.MonkeyPatch()
    patch.setattr(calibration, "SOURCES", {("talk", "dev"): 1.0, ("talk", "train"): 1.0})
    patch.setattr(calibration, "PIECE_S", 4)
    rng = np.random.default_rng(0)
    patch.setattr(
        calibration,
        "recorded_noise",
        lambda corpus, split, shape: torch.from_numpy(0.01 * rng.standard_normal(shape).astype(np.float32)),
    )
    ear = Ear(model)
    first, second = calibrate(ear, Corpus(data, folder), background().info.search)
    patch.undo()
    assert second is not None
    assert (first.info.model, second.info.model) == (ear.digest, ear.second_digest)
    assert first.codes.shape == second.codes.shape and (first.codes != second.codes).any()
    assert first.info.sources == second.info.sources and second.info.correction >= 1
    assert (first.info.searched_part, second.info.searched_part) == (0, SEARCHED_PART)
    first.save(model.with_suffix(SUFFIX))
    second.save(model.with_suffix(SUFFIX_OF_SECOND))
    return model


def test_speech_too_short_to_calibrate_on_is_refused(
    calibrated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "SOURCES", {("talk", "dev"): 1.0})
    corpus = Corpus(spoken.write_data(tmp_path / "data"), tmp_path)
    assert 0 < sum(clip.seconds for clip in corpus.clips("talk", "dev")) < calibration.PIECE_S
    with pytest.raises(DataError, match="60 s or more"):
        calibrate(Ear(calibrated), corpus, background().info.search)


def test_a_second_pass_gets_a_background_of_its_own(calibrated: Path) -> None:
    ear = Ear(calibrated)
    second = ear.second_look()
    assert second is not None and second.background.info.model == ear.second_digest
    with pytest.raises(ModelError, match="was made with the weights"):
        load_background(calibrated.with_suffix(SUFFIX_OF_SECOND), ear.digest)


def test_talk_is_heard_for_commands_and_found_by_the_daemon(
    calibrated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(calibration, "SOURCES", {("talk", "dev"): 1.0, ("talk", "train"): 1.0})
    monkeypatch.setattr(calibration, "PIECE_S", 4)
    monkeypatch.setattr(hearing, "recorded_noise", lambda corpus, split, shape: 0.01 * torch.randn(*shape))
    ear, corpus = Ear(calibrated), Corpus(calibrated.parent / "data", calibrated.parent)
    first, second = hear_talk(ear, corpus, SearchConfig())
    assert second is not None and (first.info.model, second.info.model) == (ear.digest, ear.second_digest)
    assert first.ends == second.ends and (first.codes != second.codes).any()
    assert second.info.correction >= 1 and first.info.sources[0].startswith("talk dev: 0.0")
    clips = [clip for split in ("dev", "train") for clip in corpus.clips("talk", split)]
    assert len(first.ends) == pytest.approx(len(clips) / 2, abs=1)
    assert 0 < first.info.hours < sum(clip.seconds for clip in clips) / 3600
    second.save(calibrated.with_suffix(talk.SUFFIX_OF_SECOND))
    model = TorchEngine().load(str(calibrated), second_pass=True)
    for looks_again in (True, False):  # of the first pass alone nothing lies there
        scale = find_scale(model, CommandSettings(), looks_again=looks_again)
        assert (scale is not None) == looks_again
    find = find_scale(model, CommandSettings(), looks_again=True)
    assert find is not None and find(shipped_intents()[0]).rate(-1e3) > 1


def test_false_commands_are_counted_against_what_was_asked_for(
    calibrated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ear, corpus = Ear(calibrated), Corpus(calibrated.parent / "data", calibrated.parent)
    clips = corpus.clips("talk", "dev")
    (alone := calibrated.with_name("alone.safetensors")).write_bytes(calibrated.read_bytes())
    with pytest.raises(ModelError, match="auricle calibrate"):
        command_promise.talk_of(Ear(alone))
    heard = [made[-1] for made in hear_utterances(ear, corpus, clips, (), "dev")]
    codes = [talk.coded(log_probs) for log_probs in heard]
    ends = np.cumsum([len(part) for part in codes]).tolist()
    said = talk.Talk(np.concatenate(codes), ends, talk.TalkInfo(ear.second_digest, 0.01))
    said.save(calibrated.with_suffix(talk.SUFFIX_OF_SECOND))
    monkeypatch.setattr(hearing, "recorded_noise", lambda corpus, split, shape: 0.3 * torch.randn(*shape))
    monkeypatch.setattr(command_promise, "shipped_intents", lambda: shipped_intents()[:2])
    monkeypatch.setattr(command_promise, "ASKED", (1e9, 1e-9))
    monkeypatch.setattr(talk, "LOOSEST", -1e9)
    monkeypatch.setattr(talk, "STRICTEST", 1e9)
    found = command_promise.count_promised(ear, corpus, clips, "dev", SearchConfig())
    assert [(one.asked, one.condition) for one in found] == [
        (asked, condition) for condition in ("quiet", "10 dB") for asked in (1e9, 1e-9)
    ]
    assert len(clips) < found[0].events <= 2 * len(clips) and found[1].events == 0  # coarse steps differ
    assert {one.grammars for one in found} == {2}
    text = command_promise.promise_text([one._asdict() for one in found])
    assert f"{found[0].events / (2 * found[0].hours):.2f} [" in text and "| 1e-09, quiet | 0.00 [" in text


def build(model: Path, phrase: WakeSettings, *, reloads: bool = False) -> WakeDetector:
    settings = Settings.model_validate({"acoustic": {"model": str(model)}, "wake": [phrase.model_dump()]})
    return build_wake_detector(settings, TorchEngine(), reloads=reloads)


def test_the_daemon_takes_what_lies_beside_its_model(calibrated: Path, tmp_path: Path) -> None:
    phrase = WakeSettings(phrase="hey lamp")
    assert build(calibrated, phrase).model.second.startswith("toy.second@")
    assert build(calibrated, phrase.model_copy(update={"second_pass": False})).model.second == ""
    alone = tmp_path / calibrated.name
    for suffix in (calibrated.suffix, SUFFIX, ".second"):
        alone.with_suffix(suffix).write_bytes(calibrated.with_suffix(suffix).read_bytes())
    detector = build(alone, phrase)  # its second pass has no background: the search decides
    row = np.full((1, detector.model.width), 1 / detector.model.outputs, np.float32)
    assert detector.decide(row, [FRAME], detector.initial_state())[0] == []
    alone.with_suffix(SUFFIX_OF_SECOND).write_bytes(calibrated.with_suffix(SUFFIX).read_bytes())
    with pytest.raises(ModelError, match="was made with the weights"):
        build(alone, phrase)


def test_a_stream_is_the_same_at_every_chunking_and_names_what_decided(
    calibrated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "MOST_RATE", 1e9)  # of a toy whatever it finds is wanted
    wide = WakeSettings(phrase="one", false_accepts_per_hour=3600.0, refractory_ms=200)
    engine = TorchEngine()
    settings = Settings.model_validate({"acoustic": {"model": str(calibrated)}, "wake": [wide.model_dump()]})
    detector = build_wake_detector(settings, engine)
    rng = np.random.default_rng(1)
    samples = np.concatenate([spoken.speak("go one no one", rng), np.zeros(16_000)]).astype(np.float32)
    samples = samples[: len(samples) // 640 * 640]
    found = []
    for chunk in (640, 3200):
        front, state = engine.frontend_state(detector.model.frontend), engine.model_state(detector.model)
        heard, drafts, end = detector.initial_state(), [], 0
        for begin in range(0, len(samples), chunk):
            frames, front = engine.features(
                detector.model.frontend, samples[None, begin : begin + chunk], front
            )
            rows, state = engine.infer(detector.model, frames, state)
            ends = [end + FRAME * number for number in range(1, rows.shape[1] + 1)]
            end += FRAME * rows.shape[1]
            made, heard = detector.decide(rows[0], ends, heard)
            drafts += made
        found.append([(draft.sample, draft.model, round(draft.data["score"], 3)) for draft in drafts])
    assert found[0] == found[1] and found[0]
    assert {model for _, model, _ in found[0]} == {detector.model.second}


def test_a_damaged_background_stops_only_a_daemon_that_wants_it(
    calibrated: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = tmp_path / calibrated.name
    for suffix in (calibrated.suffix, SUFFIX, ".second"):
        model.with_suffix(suffix).write_bytes(calibrated.with_suffix(suffix).read_bytes())
    model.with_suffix(SUFFIX_OF_SECOND).write_bytes(b"nothing")
    phrase = WakeSettings(phrase="hey lamp")
    with pytest.raises(ModelError, match=r"no calibration .* or set second_pass = false in \[\[wake\]\]"):
        build(model, phrase)
    off = phrase.model_copy(update={"second_pass": False})
    assert build(model, off).phrases == (off,)
    detector = build(model, off, reloads=True)
    assert "that come later will not be looked at again" in caplog.text
    detector.change([phrase])  # by the search alone, as the log said
    model.with_suffix(SUFFIX_OF_SECOND).unlink()
    build(model, phrase)
    assert "`auricle calibrate" in caplog.text


def test_other_words_than_those_of_its_background_stop_only_a_daemon_that_wants_it(
    calibrated: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = RivalSearch(common_words().words, "00000000")
    monkeypatch.setattr(second_look, "common_words", lambda: other)
    phrase = WakeSettings(phrase="hey lamp")
    with pytest.raises(ModelError, match=r"00000000 are .* or set second_pass = false in \[\[wake\]\]"):
        build(calibrated, phrase)
    off = phrase.model_copy(update={"second_pass": False})
    assert build(calibrated, off, reloads=True).phrases == (off,)
    assert "that come later will not be looked at again" in caplog.text


def test_a_phrase_that_comes_later_is_looked_at(calibrated: Path) -> None:
    off = WakeSettings(phrase="hey lamp", second_pass=False)
    detector = build(calibrated, off, reloads=True)
    found = detector.prepare([off, WakeSettings(phrase="no lamp")], Lexicon())
    assert found.listening.looked_at == (False, True)


def test_the_correction_is_none_where_looks_say_what_pieces_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second pass gives its first pass's posteriors again: looks find what lies in the background."""
    first, labels = background(80), background(1).codes.shape[2]
    hidden = np.exp(first.log_probs())
    again = SecondLook(first, lambda rows: rows)
    assert labels == hidden.shape[2]
    probes = ("hey jarvis", "good morning", "telephone", "elephant")
    monkeypatch.setattr(calibration, "PROBES", probes)
    heard = Heard(first.log_probs(), hidden)
    assert calibration._look_correction(first, first, heard, again) == pytest.approx(1.0, abs=0.1)


def test_every_shipped_second_pass_is_calibrated() -> None:
    shipped = sorted(WEIGHTS.glob("*.second"))
    assert shipped
    for path in shipped:
        assert Ear(path.with_suffix(".safetensors")).second_look() is not None, path


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_noise_alone_wakes_nobody(cell: str) -> None:
    """Long phrases, which speech rarely comes near, were heard in noise, above all at first."""
    phrases = [{"phrase": text} for text in ("hey chatterbox", "you better talk", "a cheddar block")]
    settings = Settings.model_validate({"acoustic": {"cell": cell}, "wake": phrases})
    detector = build_wake_detector(settings, TorchEngine())
    model = find_model("acoustic", cell)
    for seed, level_db in ((0, -60), (1, -30)):
        noise = np.random.default_rng(seed).standard_normal(8 * 16_000) * 10 ** (level_db / 20)
        heard = Ear(model).hear_all(torch.from_numpy(noise[None].astype(np.float32)))
        assert heard.hidden is not None
        rows = np.concatenate([np.exp(heard.log_probs[0]), heard.hidden[0]], 1)
        ends = [FRAME * number for number in range(1, len(rows) + 1)]
        assert detector.decide(rows, ends, detector.initial_state())[0] == []
