"""Wake phrases in the daemon: settings to events, at any chunking, changed while streams run."""

import json
import logging
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from auricle.configs import cli
from auricle.configs.errors import ConfigError, ModelError
from auricle.configs.settings import WakeSettings
from auricle.daemon.detectors import Draft
from auricle.daemon.wake import WakeDetector
from auricle.models.decoding.background import Background, BackgroundInfo, encode
from auricle.models.decoding.phrases import PhraseSearchSettings
from auricle.models.engine import ModelInfo
from auricle.models.frontend import FrontendConfig
from auricle.models.lexicon import Lexicon
from auricle.models.phones import BLANK, INDEX, phone_labels

FRAME = 640
SCHEMA = json.loads(
    (Path(__file__).parents[1] / "daemon" / "schema" / "event-v1.json").read_text(encoding="utf-8")
)
MODEL = ModelInfo("acoustic-test@cafe0123", "acoustic", phone_labels(BLANK), 4, 2, FrontendConfig(), 1)
LEXICON = Lexicon({"marvin": (tuple("M AA R V IH N".split()),), "sheila": (tuple("SH IY L AH".split()),)})  # noqa: SIM905


def posterior(phones: str, sure: float = 0.9) -> np.ndarray:
    """Phones one after another, `_` for blank, one frame each."""
    labels = [0 if phone == "_" else INDEX[phone] for phone in phones.split()]
    rows = np.full((len(labels), 40), (1 - sure) / 39, np.float32)
    rows[np.arange(len(labels)), labels] = sure
    return rows


def background() -> Background:
    rng = np.random.default_rng(0)
    logits = 2 * rng.gumbel(0, 1, (20_000, 40)).astype(np.float32)
    logits[np.arange(20_000), rng.integers(0, 40, 20_000)] += 6
    info = BackgroundInfo("cafe0123", 0.22, 0.04, PhraseSearchSettings(), start_shift_samples=-320)
    return Background(encode(logits, 500), info)


def detector(*phrases: WakeSettings) -> WakeDetector:
    return WakeDetector(MODEL, phrases, background(), LEXICON)


def run(found: WakeDetector, rows: np.ndarray, chunks: int) -> list[Draft]:
    state, drafts, position = found.initial_state(), [], 0
    for begin in range(0, len(rows), chunks):
        part = rows[begin : begin + chunks]
        ends = range(position + FRAME, position + FRAME * len(part) + 1, FRAME)
        decided, state = found.decide(part, ends, state)
        drafts += decided
        position += FRAME * len(part)
    return drafts


SAID = posterior("_ " * 20 + "M _ AA R _ V IH _ N " + "_ " * 40 + "SH IY _ L _ AH " + "_ " * 40)
BOTH = (WakeSettings(phrase="Marvin"), WakeSettings(phrase="sheila", refractory_ms=500))


def test_events_are_as_the_schema_says_at_every_chunking() -> None:
    whole = run(detector(*BOTH), SAID, len(SAID))
    assert [draft.data["phrase"] for draft in whole] == ["Marvin", "sheila"]
    for chunks in (1, 2, 7):
        assert run(detector(*BOTH), SAID, chunks) == whole
    schema = {**SCHEMA["$defs"]["wake"], "$defs": SCHEMA["$defs"]}
    for draft in whole:
        jsonschema.validate(draft.data, schema)
        assert draft.type == "wake" and draft.model == MODEL.name
    first = whole[0]
    assert first.data["end_sample"] == 29 * FRAME
    assert first.sample == 31 * FRAME  # once it is certain that no better end follows
    assert first.data["start_sample"] == 20 * FRAME - 320


def test_a_phrase_at_the_very_end_is_heard() -> None:
    found, rows = detector(BOTH[0]), SAID[:29]
    state = found.initial_state()
    drafts, state = found.decide(rows, range(FRAME, FRAME * 29 + 1, FRAME), state)
    assert not drafts
    drafts, state = found.finish(29 * FRAME, 29 * FRAME, state)
    assert [draft.data["end_sample"] for draft in drafts] == [29 * FRAME]
    assert found.finish(29 * FRAME, 29 * FRAME, state)[0] == []


def test_phrases_change_between_chunks() -> None:
    found = detector(BOTH[0])
    state = found.initial_state()
    middle = 25
    ends = [FRAME * number for number in range(1, len(SAID) + 1)]
    drafts, state = found.decide(SAID[:middle], ends[:middle], state)
    assert not drafts
    found.change([*reversed(BOTH)])
    drafts, state = found.decide(SAID[middle:], ends[middle:], state)
    assert [draft.data["phrase"] for draft in drafts] == ["Marvin", "sheila"]
    with pytest.raises(ConfigError):
        found.change([WakeSettings(phrase="$1.5")])
    assert len(found.phrases) == 2


def test_a_higher_threshold_hears_less() -> None:
    unclear = np.concatenate([posterior("_ " * 20), posterior("M _ AA R _ V IH _ K _ _", sure=0.7)])
    heard = [
        len(run(detector(WakeSettings(phrase="marvin", threshold=threshold)), unclear, 5))
        for threshold in (0.01, 0.9999)
    ]
    assert heard == [1, 0]


def test_a_weak_phrase_is_told(caplog: pytest.LogCaptureFixture) -> None:
    rows = np.log(np.tile(posterior("_ " * 15 + "AH AH HH _ _ _"), (500, 1)))
    weak = Background(encode(rows, 500), background().info)
    with caplog.at_level(logging.WARNING):
        found = WakeDetector(MODEL, [WakeSettings(phrase="x", pronunciations=("AH",))], weak, LEXICON)
    assert "too easily mistaken" in caplog.text
    assert len(run(found, posterior("_ " * 15 + "AH AH _ _ _ _"), 4)) == 1  # what fits perfectly is heard


def test_another_kind_of_model_is_refused() -> None:
    model = MODEL.__class__("vad@00000000", "vad", ("speech",), 3, 0, FrontendConfig(), 1)
    with pytest.raises(ModelError, match="expected 'acoustic'"):
        WakeDetector(model, BOTH, background(), LEXICON)


def test_say_it_shows_and_adds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert cli.main(["say-it", "zorblat", "zebra's"]) == 0
    out = capsys.readouterr().out
    assert "guessed from the letters" in out and "zebra (dictionary) and 's" in out
    assert cli.main(["say-it", "--add", "Zorblat Z AO1 R B L AA T", "zorblat"]) == 0
    assert "Z AO R B L AA T" in capsys.readouterr().out
    assert (tmp_path / "auricle" / "lexicon.txt").read_text() == "zorblat Z AO R B L AA T\n"
    assert Lexicon.of_user().spoken("zorblat") == (("Z", "AO", "R", "B", "L", "AA", "T"),)
    assert cli.main(["say-it", "--add", "zorblat Q"]) == 1
    assert cli.main(["say-it"]) == cli.main(["say-it", ""]) == 2
