"""Figures of merit and the decisions they count."""

import json
from pathlib import Path

import numpy as np
import pytest

from auricle.configs.detector_settings import KeywordSettings
from auricle.daemon.decision import KeywordTrigger
from auricle.pipelines.corpus import Corpus
from auricle.pipelines.decide import events, smooth, word_scores
from auricle.pipelines.dev import lay_out, to_twelve
from auricle.pipelines.evaluate_keyword import (
    LEVEL_NAMES,
    Heard,
    by_group,
    confusions,
    event_accuracy,
    false_alarms,
    level_group,
    operating_points,
)
from auricle.pipelines.evaluate_vad import Streams, judge, listen
from auricle.pipelines.keyword_report import draw_keyword, keyword_text
from auricle.pipelines.metrics import (
    Estimate,
    Interval,
    bootstrap,
    mean_of,
    proportion,
    rate_per_hour,
    ratio,
    roc_auc,
    share_by_block,
)
from auricle.pipelines.report import percent, plain
from auricle.pipelines.sounds import noise_clips
from auricle.pipelines.streams import Piece, Placed
from auricle.pipelines.vocabulary import LABELS, SILENCE_INDEX, UNKNOWN_INDEX

FRAME = 640
YES, NO = LABELS.index("yes"), LABELS.index("no")


def posterior(frames: int, *words: tuple[int, int, int]) -> np.ndarray:
    """Silence with words (label, first frame, last frame)."""
    result = np.zeros((frames, len(LABELS)), np.float32)
    result[:, SILENCE_INDEX] = 1
    for label, first, last in words:
        result[first:last] = np.eye(len(LABELS), dtype=np.float32)[label]
    return result


def test_auc_counts_ties_half() -> None:
    rng = np.random.default_rng(0)
    scores, truth = rng.integers(0, 6, 300).astype(np.float32), rng.random(300) < 0.4
    pairs = scores[truth][:, None] - scores[~truth][None, :]
    assert roc_auc(scores, truth) == pytest.approx(((pairs > 0) + 0.5 * (pairs == 0)).mean())
    assert roc_auc(truth.astype(np.float32), truth) == 1.0
    assert np.isnan(roc_auc(scores, np.ones(300, bool)))


def test_intervals_hold_the_value_and_narrow_with_data() -> None:
    few, many = proportion(9, 10), proportion(900, 1000)
    assert few.low < few.value == 0.9 < few.high <= 1
    assert many.high - many.low < few.high - few.low
    none = rate_per_hour(0, 2.0)
    assert (none.value, none.low) == (0, 0)
    assert none.high == pytest.approx(3.689 / 2, abs=1e-3)
    values = np.random.default_rng(1).normal(5, 1, 100)
    mean = bootstrap(lambda rows: float(values[rows].mean()), 100)
    assert mean.low < values.mean() < mean.high
    assert mean.high - mean.low == pytest.approx(4 * values.std() / 10, rel=0.3)


@pytest.mark.parametrize("speakers", [3, 8, 30])
def test_intervals_hold_what_is_true_of_all_speakers_as_often_as_they_say(speakers: int) -> None:
    """Of errors by words, and of shares, where speakers differ and few are heard."""
    rng = np.random.default_rng(speakers)
    inside, tries = np.zeros(2), 300
    for _ in range(tries):
        skill = rng.beta(6, 14, speakers)  # 0.3 on average
        wrong = rng.binomial(40, skill)
        found = ratio(wrong.astype(float), np.full(speakers, 40.0)).interval()
        names = np.repeat(np.arange(speakers), 40).astype(str)
        right = (np.arange(40) < wrong[:, None]).reshape(-1)
        share = share_by_block(right, names.tolist())
        inside += [found.low <= 0.3 <= found.high, share.low <= 0.3 <= share.high]
    assert (inside / tries > 0.92).all(), inside / tries


def test_trials_of_speakers_that_do_not_differ_count_in_full() -> None:
    alone = share_by_block([True] * 45 + [False] * 5, [str(number) for number in range(50)])
    known = proportion(45, 50)
    assert (alone.low, alone.high) == pytest.approx((known.low, known.high), abs=0.01)
    never = share_by_block([False] * 50, ["ann", "bob"] * 25)
    assert never.value == never.low == 0 and never.high > 0.05


def test_trials_of_different_weights_count_as_what_they_tell() -> None:
    """Few misses too: a mean of shares of which none, or one in two hundred, was missed is not known well."""
    weights = np.repeat([1 / 50, 1 / 10], [50, 10])
    names = [str(number) for number in range(60)]
    never = share_by_block([False] * 60, names, weights)
    assert never.value == never.low == 0 and never.high > 0.08  # as of 33 trials; 60 would say 0.06
    rng, inside = np.random.default_rng(5), 0
    for _ in range(300):
        found = share_by_block(rng.random(60) < 0.03, names, weights)
        inside += found.low <= 0.03 <= found.high
    assert inside / 300 > 0.92


def test_one_speaker_tells_nothing_of_others() -> None:
    one = share_by_block([True, False, True], ["ann"] * 3)
    assert str(one) == "0.6667" and percent(one) == "66.7" and np.isnan(one.high)
    assert plain({"share": one}) == {"share": {"value": one.value, "low": None, "high": None}}
    assert percent(ratio(np.array([1.0]), np.array([4.0])).interval()) == "25.0"


def test_a_mean_of_sets_is_as_uncertain_as_its_sets() -> None:
    sure, doubtful = Estimate(0.2, 1e-6, 30), Estimate(0.4, 1e-2, 1)
    assert mean_of([sure, sure]).variance == pytest.approx(5e-7)
    mixed = mean_of([sure, doubtful])
    assert mixed.value == pytest.approx(0.3) and mixed.freedom == pytest.approx(1.0, abs=0.01)
    for variance in (0.0, 1e-300):  # of a single speaker, as rounding has it
        assert np.isnan(mean_of([sure, Estimate(0.1, variance, 0)]).interval().low)


def test_noise_to_judge_by_was_never_learnt(tmp_path: Path) -> None:
    """Not even another piece of the same recording."""
    (tmp_path / "noise").mkdir()
    splits = {"train": ["esc10-1-777-A", "fan"], "eval": ["esc10-1-777-B", "esc10-1-888-A"]}
    for split, names in splits.items():
        lines = [json.dumps({"id": name, "file": "a", "start": 0, "duration": 1}) for name in names]
        (tmp_path / "noise" / f"{split}.jsonl").write_text("\n".join(lines))
    corpus = Corpus(tmp_path, tmp_path, allow_eval=True)
    assert [clip.id for clip in noise_clips(corpus, ["noise"], "eval")] == ["esc10-1-888-A"]


@pytest.mark.parametrize("count", [1, 2, 6, 40])
def test_few_noises_are_shared_between_train_and_dev(tmp_path: Path, count: int) -> None:
    (tmp_path / "noise").mkdir()
    for take in range(8):
        names = [f"fan {take} {number}" for number in range(count)]
        lines = [json.dumps({"id": name, "file": "a", "start": 0, "duration": 1}) for name in names]
        (tmp_path / "noise" / "train.jsonl").write_text("\n".join(lines))
        corpus = Corpus(tmp_path, tmp_path)
        train, dev = ({clip.id for clip in noise_clips(corpus, ["noise"], part)} for part in ("train", "dev"))
        assert train and dev and train | dev == set(names)
        assert count == 1 or not train & dev


def test_smoothing_is_causal() -> None:
    row = posterior(6, (YES, 3, 4))
    assert smooth(row, 3)[:, YES] == pytest.approx([0, 0, 0, 1 / 3, 1 / 3, 1 / 3])


def test_events_are_counted_once() -> None:
    row = posterior(100, (YES, 10, 20), (NO, 60, 70), (UNKNOWN_INDEX, 80, 90))
    assert [(frame, label) for frame, label, _ in events(row, FRAME, 0.9)] == [(13, YES), (63, NO)]


@pytest.mark.parametrize("threshold", [0.5, 0.8])
def test_events_are_those_of_the_daemon(threshold: float) -> None:
    rng, settings = np.random.default_rng(3), KeywordSettings()
    logits = np.repeat(rng.normal(0, 4, (500, len(LABELS))), 8, axis=0)  # words that come, stay and waver
    logits += rng.normal(0, 1.5, logits.shape)
    row = np.exp(logits - logits.max(1, keepdims=True)).astype(np.float32)
    row /= row.sum(1, keepdims=True)
    words = tuple(index for index in range(len(LABELS)) if index not in (SILENCE_INDEX, UNKNOWN_INDEX))
    trigger = KeywordTrigger(
        words, threshold, settings.smooth_ms * 16 // FRAME, refractory_samples=settings.refractory_ms * 16
    )
    state, expected = trigger.initial_state(len(LABELS)), []
    for frame in range(len(row)):
        hit, state = trigger.step(row[frame], (frame + 1) * FRAME, state)
        if hit:
            expected.append((frame, hit.label))
    assert len(expected) > 50
    assert len({label for _, label in expected}) > 5
    assert [(frame, label) for frame, label, _ in events(row, FRAME, threshold)] == expected


def test_words_are_sought_in_their_own_time() -> None:
    placed = [
        Placed(0, 0, 16_000, YES),
        Placed(0, 16_000, 32_000, NO),
        Placed(0, 32_000, 48_000, SILENCE_INDEX),
    ]
    row = posterior(80, (YES, 18, 28), (NO, 40, 48))
    truth, found = word_scores(row[None], placed, FRAME)
    assert truth.tolist() == [YES, NO, SILENCE_INDEX]
    assert found.tolist() == [YES, NO, SILENCE_INDEX]
    figures = event_accuracy(Heard(row[None], placed), FRAME)
    assert figures["keywords"].value == 1.0
    assert figures["others"].value == 1.0


def test_digits_are_unknown_among_twelve() -> None:
    labels = np.array([SILENCE_INDEX, UNKNOWN_INDEX, YES, LABELS.index("zero"), LABELS.index("nine")])
    assert to_twelve(labels).tolist() == [0, 1, YES, 1, 1]


def test_confusions_are_sorted() -> None:
    table = np.zeros((len(LABELS), len(LABELS)), int)
    table[YES, YES], table[YES, NO], table[NO, YES] = 9, 2, 3
    assert confusions(table) == [("no", "yes", 3), ("yes", "no", 2)]


def test_groups_and_thresholds_share_out_the_same_stream() -> None:
    placed = [Placed(0, 16_000 * n, 16_000 * (n + 1), YES) for n in range(4)]
    row = posterior(100, (YES, 15, 22), (NO, 40, 48), (YES, 65, 72))
    row[90:97] = 0.75 * row[66] + 0.25 * row[0]
    heard = Heard(row[None], placed, ("a", "a", "b", "b"), (-60.0, -45.0, -45.0, -10.0))
    groups = by_group(heard, heard.sets, FRAME)
    assert {name: value.value for name, value in groups.items()} == {"a": 0.5, "b": 1.0}
    assert [level_group(level) for level in heard.levels_db] == [LEVEL_NAMES[n] for n in (0, 1, 1, 4)]
    alarms = false_alarms(row[None], 2.0, FRAME)
    points = {point.threshold: point for point in operating_points(heard, alarms, FRAME)}
    assert points[0.7].right.value == 0.75
    assert points[0.9].right.value == 0.5
    assert points[0.9].alarms == rate_per_hour(3, 2.0)
    assert points[0.7].alarms == rate_per_hour(4, 2.0)


def test_keyword_figures_are_written_and_drawn(tmp_path: Path) -> None:
    share, rate = Interval(0.5, 0.4, 0.6), Interval(3.0, 1.0, 9.0)
    table = np.eye(len(LABELS), dtype=int).tolist()
    figures = {
        "clips": 22,
        "all 22 labels": share,
        "sentence hours": 1.0,
        "noise hours": 0.5,
        "false alarms per hour of noise": {0.7: rate},
        "by threshold": [{"threshold": 0.7, "right": share, "alarms": rate}],
        "by source": {"fsdd": share},
        "by level": {LEVEL_NAMES[0]: share},
        "by class": {"yes": share},
        "confusions": [("six", "seven", 3)],
    }
    text = keyword_text("some-model", "dev", figures)
    assert "| 0.70 | 0.5000 [0.4000, 0.6000] | 3 [1, 9] | 3 [1, 9] |" in text
    assert "six as seven (3)" in text
    point = {"threshold": 0.7, "right": {"value": 0.5}, "alarms": {"value": 3.0}}
    paths = draw_keyword({"m": {"by threshold": [point], "confusion table": table}}, tmp_path, "dev")
    assert [path.name for path in paths] == ["keyword-dev-det.png", "m-dev-confusion.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


def test_streams_are_laid_end_to_end() -> None:
    pieces = [Piece(np.full(160 * (3 + n), n, np.float32), np.zeros(0, np.int16), n) for n in range(5)]
    samples, placed = lay_out(pieces, 2)
    for place in placed:
        assert (samples[place.stream, place.start_sample : place.end_sample] == place.note).all()
    assert samples.shape[1] % 320 == 0


def test_detectors_are_judged_on_the_same_frames() -> None:
    targets = np.tile(np.array([0, 1, 1, 0, -1], np.int64), (3, 8))
    speech = np.repeat((targets == 1) * 0.5, 480, axis=1).astype(np.float32)
    streams = Streams(speech, 0.001 * np.ones_like(speech), targets)
    scores = listen(streams, {"loud": lambda row: row.reshape(-1, 480).mean(1)})
    loudness = judge(streams, scores)["loud"]
    assert loudness["0 dB"].value == 1.0
    assert set(loudness) == {"0 dB", "5 dB", "10 dB", "0-10 dB"}
