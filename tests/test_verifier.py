"""The second look at wake phrases: its file, its numbers, its fit, and what the daemon makes of it."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from babble import LABELS, babble

from auricle.configs import cli
from auricle.configs.errors import DataError, ModelError
from auricle.configs.settings import WakeSettings
from auricle.daemon.wake import WakeDetector
from auricle.models.decoding.background import Background, BackgroundInfo, Codes, Tail, encode
from auricle.models.decoding.listening import Wanted
from auricle.models.decoding.phrases import Array, PhraseSearch, PhraseSearchSettings
from auricle.models.decoding.spotting import Hit, Spotter
from auricle.models.decoding.verifier import (
    MOST_FRAMES,
    RAW_MIDDLE,
    Candidate,
    Verifier,
    VerifierInfo,
    Weights,
    candidates,
    cut,
    inputs,
    load_verifier,
    scaled,
)
from auricle.models.decoding.ways import ways_of
from auricle.models.engine import ModelInfo
from auricle.models.frontend import FrontendConfig
from auricle.models.lexicon import Lexicon
from auricle.models.phones import BLANK, INDEX, phone_labels
from auricle.pipelines import fit_verifier as fitting
from auricle.pipelines import verifier_data
from auricle.pipelines.evaluate_verifier import verified_scores
from auricle.pipelines.verifier_data import Example, Take
from auricle.pipelines.wake_streams import scan

FRAME = 640
SEARCH = PhraseSearchSettings()
MODEL = ModelInfo("acoustic-test@cafe0123", "acoustic", phone_labels(BLANK), 4, 2, FrontendConfig(), 1)
LEXICON = Lexicon({"marvin": (tuple("M AA R V IH N".split()),)})  # noqa: SIM905
WAYS = ((tuple(INDEX[phone] for phone in "M AA R V IH N".split()),),)  # noqa: SIM905
TAIL = Tail(np.array([1.0, 0.0], np.float32), 1.0, 0.0, 1.0, 1.0, 1)
INFO = VerifierInfo("marvin", WAYS, "cafe0123", SEARCH, -50.0)


def spoken(phones: str, rng: np.random.Generator) -> Array:
    """Log-probabilities of phones, each in a frame or two, somewhat unclear, with silence around."""
    rows = [0] * 12
    for phone in phones.split():
        rows += [INDEX[phone]] * int(rng.integers(1, 3)) + [0] * int(rng.integers(0, 2))
    rows += [0] * 8
    logits = rng.gumbel(0, 1, (len(rows), LABELS)).astype(np.float32)
    logits[np.arange(len(rows)), rows] += 7
    return np.asarray(logits - np.log(np.exp(logits).sum(1, keepdims=True)), np.float32)


def background(pieces: int) -> Background:
    codes = np.concatenate([encode(babble(seed, 1500), 1500) for seed in range(pieces)])
    hours = pieces * 1500 * 0.04 / 3600
    return Background(codes, BackgroundInfo("cafe0123", hours, 0.04, SEARCH, sources=("talk dev: 0.33 h",)))


def random_weights(seed: int = 0, networks: int = 2, hidden: int = 5) -> tuple[Weights, list[fitting.Net]]:
    torch.manual_seed(seed)
    fitting_nets = [fitting.Net(LABELS).eval() for _ in range(networks)]
    return fitting.join(fitting_nets), fitting_nets


@dataclass(frozen=True)
class Recorder(Verifier):
    """Keeps what it is shown, and gives one score to all of it."""

    shown: list[tuple[Codes, float]] = field(default_factory=list)
    answer: float = -100.0

    def score(self, segment: Codes, raw: float) -> float:
        self.shown.append((segment, raw))
        return self.answer


def hear(verifier: Verifier | None, rows: Array, rate: float = 1.0) -> list[Hit]:
    spotter = Spotter([Wanted(WAYS, rate, 16_000, verifier=verifier)], background(4), FRAME)
    state, hits = spotter.initial_state(), []
    for number, row in enumerate(rows, start=1):
        found, state = spotter.step(row, number * FRAME, state)
        hits += found
    return hits


def test_numpy_says_what_torch_says_whatever_lies_beside() -> None:
    weights, nets = random_weights()
    verifier = Verifier(INFO, weights, TAIL)
    segments = [encode(babble(seed, frames), frames)[0] for seed, frames in enumerate((9, 30, 17))]
    raws = [-3.0, -9.0, -20.0]
    found = verifier.scores(segments, raws)
    counts = torch.tensor([len(segment) for segment in segments])
    with torch.inference_mode():
        read, raw = torch.from_numpy(inputs(segments)), torch.from_numpy(scaled(np.array(raws, np.float32)))
        expected = np.stack([net(read, counts, raw).numpy() for net in nets])
    assert np.allclose(found, expected, atol=1e-5)
    alone = [verifier.score(segment, raw) for segment, raw in zip(segments, raws, strict=True)]
    assert np.allclose(alone, expected.mean(0), atol=1e-5)


def test_a_stream_shows_what_is_searched_for_in_the_background() -> None:
    rng = np.random.default_rng(1)
    rows = np.concatenate([babble(1, 200), spoken("M AA R V IH N", rng), babble(2, 300)])
    recorder = Recorder(INFO, random_weights()[0], TAIL)
    assert hear(recorder, rows) == []
    scores, starts = scan(rows[None], PhraseSearch([WAYS], SEARCH))
    expected = candidates(scores[0, :, 0], starts[0, :, 0], INFO.least_raw)
    expected = [one for one in expected if one.frame + 2 < len(rows)]  # the stream ends before it settles
    codes = encode(rows, len(rows))[0]
    assert len(expected) > 5
    assert [raw for _, raw in recorder.shown] == pytest.approx([one.raw for one in expected])
    for (segment, _), one in zip(recorder.shown, expected, strict=True):
        assert len(segment) <= MOST_FRAMES
        assert np.array_equal(segment, cut(codes, one))


def test_only_what_is_agreed_to_is_heard_and_what_is_refused_uses_nothing_up() -> None:
    rows = np.concatenate([babble(1, 60), spoken("M AA R V IH N", np.random.default_rng(1))])
    weights = random_weights()[0]
    assert hear(Recorder(INFO, weights, TAIL, answer=-0.1), rows) == []
    agreed = hear(Recorder(INFO, weights, TAIL, answer=0.5), rows)
    assert len(agreed) >= 1
    assert agreed[0].score == pytest.approx(1 / (1 + np.exp(-0.5)))  # its rate is that of its own tail
    assert hear(Recorder(INFO, weights, TAIL, answer=0.5), rows, rate=0.1) == []


def test_a_file_comes_back_as_it_was_and_damage_is_told(tmp_path: Path) -> None:
    verifier = Verifier(replace(INFO, record={"recordings": 9}), random_weights()[0], TAIL)
    path = tmp_path / "marvin.safetensors"
    checksum = verifier.save(path)
    found = load_verifier(path)
    assert found.info == verifier.info and found.tail.rate(2.0) == TAIL.rate(2.0)
    segment = encode(babble(3, 20), 20)[0]
    assert found.score(segment, -5.0) == verifier.score(segment, -5.0)
    assert found.save(tmp_path / "again.safetensors") == checksum
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match="checksum"):
        load_verifier(path)
    with pytest.raises(ModelError, match="auricle train wake"):
        load_verifier(tmp_path / "none.safetensors")


def test_a_verifier_of_another_model_or_phrase_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "marvin.safetensors"
    entry = WakeSettings(phrase="marvin", verifier=str(path))
    other = WakeSettings(phrase="marvin", verifier=str(path), pronunciations=("M AA V IH N",))
    Verifier(INFO, random_weights()[0], TAIL).save(path)
    detector = WakeDetector(MODEL, [entry], background(4), LEXICON)
    with pytest.raises(ModelError, match="pronunciations"):
        detector.change([other])
    assert detector.phrases == (entry,)
    Verifier(replace(INFO, model="beef0123"), random_weights()[0], TAIL).save(path)
    with pytest.raises(ModelError, match=r"beef0123.*auricle train wake \"marvin\""):
        WakeDetector(MODEL, [entry], background(4), LEXICON)


def heard_as(phones: str, count: int, seed: int) -> list[Example]:
    """Candidates in which something was heard, all with the same doubtful score in the search."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(count):
        rows = spoken(phones, rng)
        found.append(Example(encode(rows, len(rows))[0], Candidate(len(rows) - 3, RAW_MIDDLE, 12)))
    return found


def test_a_network_learns_how_its_user_says_it() -> None:
    own, other = "M AO R V IY N", "M AA R T IH N"
    net = fitting._fit_one(heard_as(own, 12, 1), heard_as(other, 30, 2), 0)
    verifier = Verifier(INFO, fitting.join([net]), TAIL)
    right, wrong = (
        [verifier.score(one.segment, one.candidate.raw) for one in heard_as(phones, 10, 3)]
        for phones in (own, other)
    )
    assert np.median(right) > 1
    assert np.median(wrong) < -1


def test_events_are_the_same_at_every_chunking_and_as_searched_offline(tmp_path: Path) -> None:
    path = tmp_path / "marvin.safetensors"
    easy = TAIL._replace(pivot=-2.0)  # half of what random networks say is agreed to, or so
    Verifier(INFO, random_weights()[0], easy).save(path)
    entry = WakeSettings(phrase="marvin", verifier=str(path), false_accepts_per_hour=1.0)
    detector, drafts = WakeDetector(MODEL, [entry], background(2), LEXICON), []
    rng = np.random.default_rng(9)
    rows = np.concatenate([spoken("M AA R V IH N", rng) for _ in range(8)])
    for frames in (1, 7, len(rows)):
        state = detector.initial_state()
        drafts.append([])
        for begin in range(0, len(rows), frames):
            part = np.exp(rows[begin : begin + frames])
            ends = [(begin + number) * FRAME for number in range(1, len(part) + 1)]
            decided, state = detector.decide(part, ends, state)
            drafts[-1] += decided
    assert drafts[0] == drafts[1] == drafts[2]
    assert len(drafts[0]) >= 4
    assert all(0 < draft.data["score"] <= 1 for draft in drafts[0])
    offline = verified_scores(rows[None], {"marvin": load_verifier(path)}, ["marvin"])[0, :, 0]
    agreed = np.flatnonzero(offline >= easy.score_at(1.0)).tolist()
    assert {draft.data["end_sample"] // FRAME - 1 for draft in drafts[0]} <= set(agreed)


def test_recordings_of_something_else_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "STEPS", 1)
    monkeypatch.setattr(
        fitting, "FIT_RATE", 1e-3
    )  # the made-up background is short: most rates are easily met
    quiet = [spoken("", np.random.default_rng(0)) for _ in range(9)]
    take = Take([encode(rows, len(rows))[0] for rows in quiet])
    names = [f"take-{number}.wav" for number in range(9)]
    with pytest.raises(DataError, match=r"found in 0 of 9.*take-0\.wav"):
        fitting.fit_verifier(
            fitting.new_info("marvin", WAYS, background(4)), background(4), [take], (), names
        )


def test_the_split_that_is_judged_is_neither_fitted_to_nor_calibrated_on() -> None:
    codes = np.arange(5, dtype=np.uint8)[:, None, None] * np.ones((1, 1500, LABELS), np.uint8)
    sources = ("talk dev: 0.03 h", "talk train: 0.05 h")
    both = Background(codes, BackgroundInfo("cafe0123", 0.08, 0.04, SEARCH, sources=sources))
    assert np.unique(both.without("dev").codes).tolist() == [2, 3, 4]
    assert both.without("eval").codes.shape == codes.shape
    assert both.without("dev").info.hours == pytest.approx(0.05, rel=0.1)


def test_the_command_refuses_too_few(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(2):
        soundfile.write(tmp_path / f"{number}.wav", np.full(16_000, 0.1), 16_000)
    assert cli.main(["train", "wake", "marvin", "--recordings", str(tmp_path)]) == 1
    assert "expected 8 or more, found 2" in capsys.readouterr().err
    assert cli.main(["train", "wake", "--recordings", str(tmp_path)]) != 0
    assert "expected a phrase" in capsys.readouterr().err


def test_the_command_fits_to_real_recordings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fitting, "STEPS", 30)
    monkeypatch.setattr(verifier_data, "MOST_TAKES", 4)
    kitchen = Path(__file__).parents[1] / "daemon" / "recordings" / "kitchen.flac"
    samples, rate = soundfile.read(kitchen)
    folder = tmp_path / "happy"
    folder.mkdir()
    for number, faster in enumerate(np.linspace(0.94, 1.06, 8)):
        soundfile.write(
            folder / f"{number}.wav", samples[round(1.9 * rate) : round(3.1 * rate)], round(rate * faster)
        )
    talk = tmp_path / "talk"
    talk.mkdir()
    soundfile.write(talk / "kitchen.wav", samples[round(3.4 * rate) :], rate)
    out = tmp_path / "happy.safetensors"
    folders = ["--recordings", str(folder), "--talk", str(talk)]
    assert cli.main(["train", "wake", "happy", *folders, "--out", str(out)]) == 0
    assert "8 recordings" in capsys.readouterr().out
    info = load_verifier(out).info
    assert info.phrase == "happy" and info.record["recordings"] == 8
    config = tmp_path / "my.toml"
    config.write_text('[[wake]]\nphrase = "happy"\npronunciations = ["HH AE P AH"]\n')
    own = ["--out", str(out), "--config", str(config)]
    assert cli.main(["train", "wake", "happy", *folders, *own]) == 0
    assert load_verifier(out).info.ways == ways_of("happy", Lexicon(), ["HH AE P AH"])


def test_frames_are_kept_only_for_verifiers_and_a_new_one_starts_with_silence() -> None:
    spotter = Spotter([Wanted(WAYS, 1e9, 16_000)], background(2), FRAME)
    rows = spoken("M AA R V IH N", np.random.default_rng(4))
    heard, state = [], spotter.initial_state()
    for number, row in enumerate(rows, start=1):
        if number == 20:  # in the midst of the phrase
            assert len(state.heard) == 0
            verifier = Verifier(INFO, random_weights()[0], TAIL._replace(pivot=-50.0))  # agrees to all
            spotter.change([Wanted(WAYS, 1e9, 16_000, verifier=verifier)])
        found, state = spotter.step(row, number * FRAME, state)
        heard += found
    heard += spotter.finish(len(rows) * FRAME, state)[0]
    assert len(state.heard) == len(rows) - 19
    assert heard


def test_the_command_names_a_folder_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "wake", "marvin", "--recordings", "nowhere"]) == 1
    assert "no folder nowhere: check --recordings" in capsys.readouterr().err
