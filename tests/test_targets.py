"""Labels by energy, on recordings whose truth is known."""

import numpy as np
import pytest

from auricle.pipelines.targets import (
    IGNORE,
    NOT_YET,
    SpeechRule,
    Word,
    WordRule,
    active_level_db,
    find_word,
    find_words,
    hop_levels_db,
    speech_targets,
    word_targets,
)

RULE = SpeechRule()


def recording(parts: list[tuple[float, float]], floor_db: float = -70.0) -> np.ndarray:
    """Noise in parts of (seconds, level in dB), over a floor."""
    rng = np.random.default_rng(0)
    samples = [10 ** (level / 20) * rng.standard_normal(round(16_000 * length)) for length, level in parts]
    joined = np.concatenate(samples)
    return (joined + 10 ** (floor_db / 20) * rng.standard_normal(len(joined))).astype(np.float32)


def test_levels_are_rms_of_hops() -> None:
    wave = (0.5 * np.sin(np.arange(16_000) * 0.5)).astype(np.float32)
    levels = hop_levels_db(wave)
    assert levels.shape == (100,)
    assert levels[50] == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=0.1)
    assert hop_levels_db((wave * 32767).astype(np.int16)) == pytest.approx(levels, abs=0.05)
    assert hop_levels_db(np.zeros(320, np.float32)) == pytest.approx(-100)
    assert active_level_db(hop_levels_db(recording([(1, -20), (3, -60)]))) == pytest.approx(-20, abs=0.5)


@pytest.mark.parametrize("gain_db", [-30, 0])
def test_speech_is_told_from_long_pauses(gain_db: float) -> None:
    samples = recording([(1.0, -70), (1.0, -20), (0.1, -70), (0.5, -25), (1.0, -70), (0.01, -20), (1.0, -70)])
    targets = speech_targets(hop_levels_db(samples * 10 ** (gain_db / 20)), RULE)
    assert (targets[:95] == 0).all()
    assert (targets[105:250] == 1).all()  # the pause of 100 ms belongs to the speech around it
    assert (targets[270:] == 0).all()  # the click of 10 ms does not count
    assert set(targets[97:101]) == {IGNORE}


def test_noisy_recordings_are_not_labelled() -> None:
    targets = speech_targets(hop_levels_db(recording([(1, -30), (1, -20)], floor_db=-30)), RULE)
    assert (targets == IGNORE).all()
    assert len(speech_targets(np.zeros(0, np.float32), RULE)) == 0


def test_digital_silence_around_speech() -> None:
    samples = np.concatenate([np.zeros(8000, np.float32), recording([(1, -20)]), np.zeros(8000, np.float32)])
    targets = speech_targets(hop_levels_db(samples), RULE)
    assert (targets[:45] == 0).all()
    assert (targets[55:145] == 1).all()
    assert (targets[155:] == 0).all()


def test_word_with_a_closure_is_one_word() -> None:
    word = find_word(hop_levels_db(recording([(0.3, -70), (0.2, -20), (0.1, -70), (0.1, -30), (0.3, -70)])))
    assert word.start == pytest.approx(30, abs=4)
    assert word.end == pytest.approx(70, abs=5)


def test_words_of_a_string_are_found_only_if_they_can_be_counted() -> None:
    levels = hop_levels_db(recording([(0.3, -70), (0.4, -20), (0.3, -70), (0.4, -22), (0.3, -70)]))
    words = find_words(levels, 2)
    assert [word.start for word in words] == pytest.approx([30, 100], abs=5)
    assert find_words(levels, 3) == []


def test_word_targets_spare_the_ambiguous_part_and_reach_over_the_end() -> None:
    rule = WordRule(known_part=0.5, tail_hops=10)
    targets = word_targets(50, Word(10, 50), label=7, rule=rule)
    assert targets[:10].tolist() == [0] * 10
    assert set(targets[10:30]) == {NOT_YET + 7}
    assert targets[30:].tolist() == [7] * 30
    early = word_targets(50, Word(0, 20), label=7, rule=rule)
    assert early[10:30].tolist() == [7] * 20
    assert early[30:50].tolist() == [0] * 20
    assert set(early[50:]) == {IGNORE}
