"""How wake phrases are judged and tuned, on scores made up for it."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import spoken
import torch

from auricle.configs.cli import main
from auricle.configs.errors import DataError
from auricle.models.decoding.background import Background, BackgroundInfo, encode, fit_tail
from auricle.models.decoding.phrases import PhraseSearch, PhraseSearchSettings
from auricle.models.decoding.ways import ways_of
from auricle.models.lexicon import Lexicon
from auricle.pipelines import wake_trials, wake_tune
from auricle.pipelines.calibrate import spoken_as
from auricle.pipelines.corpus import Clip, Corpus
from auricle.pipelines.evaluate_wake import grouped, times_learnt
from auricle.pipelines.streams import Placed
from auricle.pipelines.wake_outcomes import (
    Outcome,
    by_phrase,
    det_points,
    mean_misses,
    outcome_table,
    outcomes,
)
from auricle.pipelines.wake_promise import Accept, _judged, heard_in_noise, keep_promise
from auricle.pipelines.wake_report import draw_wake, wake_text
from auricle.pipelines.wake_streams import GAP_SAMPLES, NEVER, Heard, scan
from auricle.pipelines.wake_trials import Trials, is_other_speech, lay_openings, parts_of, text_of
from auricle.pipelines.wake_tune import (
    Judged,
    Recording,
    closeness,
    doubts,
    draw,
    ideal,
    keep,
    recommend,
    table,
    warnings,
)

FRAME = 640
LEXICON = Lexicon()
WAYS = {text: ways_of(text, LEXICON) for text in ("alpha", "beta")}
INFO = BackgroundInfo("cafe0123", 1.0, 0.04, PhraseSearchSettings())


def clip(number: int, text: str) -> Clip:
    return Clip(f"clip-{number}", "wakewords", "dev", "shard", 0, 16_000, label=text)


def trials(hours_frames: int = 9000) -> Trials:
    """Two streams: "alpha" at frames 100 and 500 of the first, "beta" at 300 of the second, talk from 600."""
    places = [(0, 100, "alpha"), (0, 500, "alpha"), (1, 300, "beta")]
    placed = [
        Placed(stream, begin * FRAME, (begin + 25) * FRAME + GAP_SAMPLES, clip(number, text))
        for number, (stream, begin, text) in enumerate(places)
    ]
    talk = Clip("talk", "librispeech", "dev", "shard", 0, 16_000, text="what others say")
    placed += [Placed(stream, 600 * FRAME, hours_frames * FRAME, talk) for stream in range(2)]
    samples = torch.zeros(2, hours_frames * FRAME)
    return Trials(("alpha", "beta"), placed, samples, samples.numel() / 16_000 / 3600)


def test_scores_are_sorted_into_own_recordings_and_all_else() -> None:
    scores = np.full((2, 9000, 2), -30.0, np.float32)
    scores[0, 110, 0], scores[0, 530, 0] = -1.0, -9.0  # within, and just after the second
    scores[1, 310, 0] = -2.0  # "alpha" heard in "beta": not counted
    scores[1, 8000, 0], scores[0, 4000, 0] = -7.0, -5.0
    alpha, beta = outcomes(by_phrase(scores, ("alpha", "beta")), trials(), FRAME).values()
    assert alpha.own.tolist() == [-1.0, -9.0] and beta.own.tolist() == [-30.0]
    assert alpha.others[:3].tolist() == [-5.0, -7.0, -30.0]
    assert beta.others[0] == -30.0
    assert alpha.hours == pytest.approx(2 * (8400 * 0.04 - 0.4) / 3600)  # no silence between recordings


def test_what_began_in_a_recording_of_a_phrase_is_no_false_accept_behind_it() -> None:
    """A phrase, drawn out over the recording behind it: a daemon has used up what was said before."""
    few = trials(1000)
    parts = parts_of(few, 1000, FRAME)
    assert parts[0, 100] == 1 and parts[0, 500] == 2 and parts[1, 300] == 3
    assert parts[0, [0, 300, 700]].tolist() == [0, 0, 0]
    assert parts[0, 534:536].tolist() == [2, 0]  # what begins right behind it counts
    rows = ideal(WAYS["alpha"][0])[12:]
    log_probs = heard_phrases(1000).log_probs
    log_probs[0, 530 : 530 + len(rows) // 2] = rows[: len(rows) // 2]  # half of it late in the second ...
    log_probs[0, 640 : 640 + len(rows)] = rows
    log_probs[0, 548 : 548 + len(rows) - len(rows) // 2] = rows[len(rows) // 2 :]  # ... and half behind it
    search = PhraseSearch([WAYS["alpha"]], PhraseSearchSettings())
    (free, _), (apart, starts) = scan(log_probs, search), scan(log_probs, search, parts)
    across = (parts[0][starts[0, :, 0]] == 2) & (parts[0] == 0)
    assert across.any() and (apart[0, across, 0] == NEVER).all() and free[0, across, 0].max() > -60
    assert apart[0, 640:700, 0].max() == free[0, 640:700, 0].max() > -20


def test_misses_fall_as_more_false_accepts_are_allowed() -> None:
    own, others = np.array([-1, -4, -6, -20], np.float32), np.array([-3, -5, -8, -30], np.float32)
    outcome = Outcome(own, ("ann", "bob", "cid", "dan"), others, 2.0)
    shares = [outcome.missed(rate).mean() for rate in (0.1, 0.5, 1.0)]
    assert shares == [0.75, 0.5, 0.25]
    assert det_points([outcome])[0] == (0.0, 0.75)
    misses = mean_misses([outcome, outcome], 0.5)
    assert misses.low <= misses.value == 0.5 <= misses.high


def busy_background() -> Background:
    """Labels at random, as of people who speak all the time."""
    rng = np.random.default_rng(0)
    logits = 2 * rng.gumbel(0, 1, (20_000, 40)).astype(np.float32)
    logits[np.arange(20_000), rng.integers(0, 40, 20_000)] += 6
    return Background(encode(logits, 500), INFO)


def heard_phrases(frames: int, *said: tuple[int, int, str]) -> Heard:
    """Two streams of silence in which phrases are said: stream, first frame, phrase."""
    heard = np.full((2, frames, 40), -9.0, np.float32)
    heard[..., 0] = -0.01
    for stream, begin, text in said:
        rows = ideal(ways_of(text, LEXICON)[0])[12:]
        heard[stream, begin : begin + len(rows)] = rows
    return Heard(heard, None)


def test_the_promise_counts_hits_once_and_where_they_belong() -> None:
    heard = heard_phrases(1000, (0, 100, "alpha"), (1, 300, "beta"), (1, 700, "beta"))
    promise = keep_promise(heard, trials(1000), WAYS, busy_background(), FRAME)
    assert [missed.value for missed in promise.misses] == [0.5, 0.0]
    assert promise.false_accepts == [0, 1]


def test_a_hit_long_after_a_recording_is_a_miss_and_no_false_accept() -> None:
    laid = trials(1000)
    end = laid.placed[0].end_sample - GAP_SAMPLES
    found = {}
    for late_s in (0.3, 0.5):
        accepts = [Accept(0, 0, end + round(late_s * 16_000)), Accept(1, 0, 900 * FRAME)]
        promise = _judged(accepts, laid)
        found[late_s] = (promise.misses[0].value, promise.false_accepts[0])
        assert promise.hours[0] == laid.other_hours == pytest.approx(2 * (400 * 0.04 - 0.4) / 3600)
    assert found == {0.3: (0.5, 1), 0.5: (1.0, 1)}


def test_what_is_heard_in_noise_alone_is_counted() -> None:
    heard = heard_phrases(900, (1, 300, "beta"))
    found = heard_in_noise(heard, ("alpha", "beta"), WAYS, busy_background(), FRAME)
    assert found["false_accepts"] == {"alpha": 0, "beta": 1}
    assert found["hours"] == pytest.approx(0.02)
    assert found["false_accepts_per_hour"]["value"] == pytest.approx(25.0)


def test_a_report_names_every_figure(tmp_path: Path) -> None:
    share = {"value": 0.25, "low": 0.1, "high": 0.4}
    table = {
        "phrases": {"alpha": {"recordings": 8, "misses": {"0.5": share}, "det": [(0.0, 0.5), (1.0, 0.25)]}},
        "means": {"all": {"0.5": share}, "never in training": {"0.5": share}, "in training": {"0.5": share}},
    }
    promise = {
        "asked_for_per_hour": 0.5,
        "false_accepts_per_hour": share,
        "mean_misses": 0.25,
        "delay_s": {"p50": 0.12, "p95": 0.3, "count": 5},
    }
    new = {"0.5": {**share, "value": 0.75}}
    other = {
        "phrases": {"beta": table["phrases"]["alpha"]},
        "means": {"all": new, "never in training": new},
    }
    table["phrases"]["beta"] = table["phrases"]["alpha"]
    figures = {
        "model": "acoustic@cafe0123",
        "split": "dev",
        "hours": 3.0,
        "phrases": ["alpha", "beta"],
        "cost": 0.001,
        "learnt": {"alpha": 7, "beta": 0},
        "groups": {"all": ["alpha", "beta"], "never in training": ["beta"], "in training": ["alpha"]},
        "conditions": {"clean": {"detectors": {"Auricle": table, "peer": other}, "promise": promise}},
    }
    text = wake_text(figures)
    for words in ("25.0 [10.0, 40.0]", "120 ms (p50)", "1.00 ms", "3.00 h"):
        assert words in text
    rows = [line.split("|") for line in text.splitlines() if line.startswith("|")]
    last = [(row[1].strip(), row[-2].strip()) for row in rows[2:]]
    assert last == [
        ("alpha (7)", "-"),
        ("beta (0)", "25.0 [10.0, 40.0]"),
        ("**mean**", "-"),
        ("mean, never in training", "75.0 [10.0, 40.0]"),
        ("mean, in training", "-"),
    ]
    draw_wake(figures, tmp_path / "det.png")
    assert (tmp_path / "det.png").stat().st_size > 5000


def test_phrases_of_the_training_data_are_told_from_new_ones(tmp_path: Path) -> None:
    (tmp_path / "commonvoice").mkdir()
    lines = [
        {"id": str(number), "file": "a", "start": 0, "duration": 1, "text": text}
        for number, text in enumerate(["the operator is here", "operators", "call the operator"])
    ]
    text = "\n".join(map(json.dumps, lines))
    (tmp_path / "commonvoice" / "train.jsonl").write_text(text)
    learnt = times_learnt(Corpus(tmp_path, tmp_path), ["operator", "hey lamp"])
    assert learnt == {"operator": 2, "hey lamp": 0}
    groups = grouped(["operator", "hey lamp"], learnt)
    assert groups["never in training"] == ("hey lamp",) and groups["in training"] == ("operator",)
    assert list(grouped(["hey lamp"], learnt)) == ["all"]


def test_who_says_several_phrases_counts_once_in_their_mean() -> None:
    others, hours = np.linspace(-5, -30, 99).astype(np.float32), 9.0
    heard, missed = np.full(8, 0, np.float32), np.full(8, -40, np.float32)
    half = np.where(np.arange(8) < 4, heard, missed)
    people = tuple("abcdefgh")
    same = mean_misses([Outcome(half, people, others, hours), Outcome(half, people, others, hours)], 0.5)
    apart = mean_misses(
        [Outcome(half, people, others, hours), Outcome(half, tuple("ijklmnop"), others, hours)], 0.5
    )
    assert same.value == apart.value == 0.5
    assert same.high - same.low > 1.3 * (apart.high - apart.low)


def test_wake_words_are_found_in_their_texts() -> None:
    details = {"wake": "thinkengine"}
    said = Clip("a", "wuw2", "dev", "s", 0, 1, text="hello think engine please", details=details)
    assert spoken_as(said) == text_of(said) == "think engine"
    assert text_of(Clip("b", "librispeech", "dev", "s", 0, 1, text="think engine")) == ""


def test_weak_phrases_are_warned_of() -> None:
    rng = np.random.default_rng(0)
    rare = fit_tail(rng.normal(-30, 2, (10, 9000)).astype(np.float32), INFO)
    common = fit_tail(rng.normal(-2, 2, (10, 9000)).astype(np.float32), INFO)
    background = Background(encode(ideal(ways_of("butterfly", LEXICON)[0]), 10), INFO)
    ways = ways_of("hey butterfly", LEXICON)
    far, near = {"zebra": ways_of("zebra", LEXICON)}, {"butterfly": ways_of("butterfly", LEXICON)}
    assert warnings(ways, rare, 0.5, far, background) == []
    assert closeness(ways, near["butterfly"], background) > closeness(ways, far["zebra"], background)
    high = ways_of("hi", LEXICON)
    told = " ".join(warnings(high, common, 0.5, {"hi": high}, background))
    for word in ("short", "common", "close to 'hi'"):
        assert word in told


def test_the_advice_gives_up_few_recordings_for_few_false_accepts() -> None:
    assert recommend([0.0, 0.0, 0.02, 0.04, 0.3, 0.5, 0.6]) == 0.5
    assert recommend([0.1] * 7) == 0.05
    assert recommend([0.5] * 7) == 0.5  # never heard: to be strict would help nobody


def test_recordings_that_tell_little_or_nothing_good_are_named() -> None:
    tail = fit_tail(np.random.default_rng(0).normal(-30, 2, (10, 9000)).astype(np.float32), INFO)
    heard, missed = np.full(20, -1.0, np.float32), np.full(20, -90.0, np.float32)
    people = [Recording(str(number), np.zeros(1, np.float32)) for number in range(20)]
    assert doubts(Judged(people, heard, missed), tail, 0.5) == []
    (doubt,) = doubts(Judged(people, missed, missed), tail, 0.5)
    assert "often missed: 100%" in doubt
    (doubt,) = doubts(Judged(people[:3], heard[:3], heard[:3]), tail, 0.5)
    assert "few recordings: 3" in doubt


def test_a_phrase_that_nobody_says_is_still_looked_at(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(wake_tune, "synthesise", lambda phrase, count: [])
    assert main(["tune", "hey kitchen"]) == 0
    out = capsys.readouterr().out
    assert "Nobody said the phrase" in out and "apt-get install espeak-ng" in out
    assert "Nothing speaks against" in out and "false_accepts_per_hour = 0.5" in out
    assert main(["tune", "up"]) == 0
    assert "warning: short" in capsys.readouterr().out
    assert main(["tune", "hey kitchen", "--recordings", "nowhere"]) == 1
    assert "no folder nowhere" in capsys.readouterr().err


def test_own_recordings_and_synthetic_voices_are_told_apart(tmp_path: Path) -> None:
    tail = fit_tail(np.random.default_rng(0).normal(-30, 2, (10, 9000)).astype(np.float32), INFO)
    said = [Recording(f"{number}.wav", np.zeros(16, np.float32)) for number in range(4)]
    people = Judged(said, np.full(4, -1.0, np.float32), np.full(4, -90.0, np.float32))
    robots = Judged(said, np.array([-90, -90, -90, -1], np.float32), np.full(4, -90.0, np.float32))
    assert [line.split()[1:3] for line in table(people, tail)[1:]] == [["0%", "100%"]] * 7
    assert [line.split()[1:3] for line in table(robots, tail)[1:]] == [["75%", "100%"]] * 7
    assert [one.name for one in robots.missed(-5.0)] == ["0.wav", "1.wav", "2.wav"]
    draw({"recordings": people, "synthetic voices": robots}, tail, "alpha", tmp_path / "alpha.png")
    assert (tmp_path / "alpha.png").stat().st_size > 5000


def test_hits_within_a_second_are_kept_beside_each_other(tmp_path: Path) -> None:
    names = ("talk-1.66s", "talk-1.20s", "radio/talk.wav", "synthetic-1-en-gb-x-rp_Lee")
    keep(tmp_path, [Recording(name, np.zeros(16, np.float32)) for name in names])
    expected = {"talk-1.66s.wav", "talk-1.20s.wav", "radio_talk.wav", "synthetic-1-en-gb-x-rp_Lee.wav"}
    assert {path.name for path in tmp_path.iterdir()} == expected


def sentences(folder: Path, texts: Sequence[str]) -> Corpus:
    rng = np.random.default_rng(0)
    spoken.write_set(
        folder / "data", "talk", "dev", [(text, spoken.speak(text, rng)) for text in texts], "text"
    )
    return Corpus(folder / "data", folder / "work")


def test_sentences_give_phrases_that_no_other_one_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wake_trials, "OPENING_SETS", ("talk", "no such set"))
    monkeypatch.setattr(wake_trials, "LEAST_OTHER_S", 2.0)
    talk = [
        "so may we go see",
        "no one may see me",
        "no one may see us",
        "me",
        "we may go so",
        "see me go so",
    ]
    corpus = sentences(tmp_path, talk)
    laid = lay_openings(corpus, "dev", 2)
    own = [place.note for place in laid.placed if not is_other_speech(place.note)]
    assert sorted(map(text_of, own)) == list(laid.phrases) and len(own) == 2
    assert "no one may see" not in laid.phrases  # which two of them begin with
    for clip in own:
        assert f"{clip.text} ".startswith(f"{text_of(clip)} ")
        assert sum(len(LEXICON.spoken(word)[0]) for word in text_of(clip).split()) in range(7, 14)
    assert 0 < laid.other_hours < laid.hours
    assert lay_openings(corpus, "dev", 2).phrases == laid.phrases
    with pytest.raises(DataError, match="too few for 5 that begin as no other does"):
        lay_openings(corpus, "dev", 5)


def test_many_phrases_are_told_by_their_mean(tmp_path: Path) -> None:
    found = {f"phrase {n}": Outcome(np.array([-1.0 - n]), ("ann",), -np.arange(40.0), 2.0) for n in range(30)}
    table = outcome_table(found, grouped(tuple(found), {}))
    assert table["det"][0] == (0.0, 1.0)
    rates, misses = zip(*table["det"], strict=True)
    assert list(rates) == sorted(rates) and list(misses) == sorted(misses, reverse=True) and misses[-1] == 0
    promise = {
        "asked_for_per_hour": 0.5,
        "false_accepts_per_hour": {"value": 0.4, "low": 0.1, "high": 0.9},
        "mean_misses": 0.2,
    }
    figures = {
        "model": "m@0",
        "split": "dev",
        "hours": 2.0,
        "conditions": {"clean": {"detectors": {"Auricle": table}, "promise": promise}},
        "phrases": list(found),
        "learnt": {},
        "groups": grouped(tuple(found), {}),
        "cost": 0.001,
    }
    text = wake_text(figures)
    assert "| **mean** |" in text and "phrase 3" not in text
    draw_wake(figures, tmp_path / "wake.png")
    assert (tmp_path / "wake.png").stat().st_size > 5000
