"""What is asked for on the command line becomes settings, and the rest is switched off."""

import argparse
from pathlib import Path

import pytest

from auricle.configs.errors import ConfigError
from auricle.configs.loader import load
from auricle.configs.settings import Settings
from auricle.daemon.commands.listening import (
    add_listening_arguments,
    listening_overrides,
    load_from_arguments,
)


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_listening_arguments(parser)
    return parser.parse_args(list(words))


def test_without_flags_the_configuration_stands() -> None:
    assert load_from_arguments(parse()).replace(bus=Settings().bus) == Settings()


def test_a_wake_phrase_switches_everything_else_off() -> None:
    settings = load_from_arguments(parse("--wake", "hey auricle", "--wake", 'say "when"'))
    assert [entry.phrase for entry in settings.wake] == ["hey auricle", 'say "when"']
    assert {entry.false_accepts_per_hour for entry in settings.wake} == {0.5}
    sections = (settings.vad, settings.keyword, settings.level, settings.spectrum)
    assert not any(section.enabled for section in sections)


def test_the_operating_point_holds_for_every_phrase() -> None:
    settings = load_from_arguments(
        parse("--wake", "one two", "--wake", "three four", "--false-accepts-per-hour", "0.1")
    )
    assert [entry.false_accepts_per_hour for entry in settings.wake] == [0.1, 0.1]


def test_the_operating_point_holds_for_commands_too(tmp_path: Path) -> None:
    (file := tmp_path / "mine.toml").write_text("[commands]\nthreshold = 0.9\n")
    asked = ("--config", str(file), "--grammar", "commands", "--false-accepts-per-hour", "2")
    both = load_from_arguments(parse(*asked, "--wake", "hey auricle"))
    for settings in (load_from_arguments(parse(*asked)), both):
        assert (settings.commands.threshold, settings.commands.false_accepts_per_hour) == (0, 2)
    assert both.wake[0].false_accepts_per_hour == 2
    kept = load_from_arguments(parse(*asked[:4])).commands
    assert (kept.threshold, kept.false_accepts_per_hour) == (0.9, 0.5)


def test_set_comes_after_the_flags() -> None:
    settings = load_from_arguments(
        parse("--set", "keyword.enabled=true", "--wake", "hey auricle", "--set", "wake.0.refractory_ms=5")
    )
    assert settings.keyword.enabled and not settings.vad.enabled
    assert settings.wake[0].refractory_ms == 5


def test_a_file_keeps_what_it_switches_on() -> None:
    settings = load_from_arguments(parse("--config", "vad", "--wake", "hey auricle"))
    assert settings.vad.enabled and settings.wake[0].phrase == "hey auricle"


def test_phones_are_heard_in_chunks_as_long_as_the_assistants(tmp_path: Path) -> None:
    asked = load_from_arguments(parse("--wake", "hey auricle")).pipeline.chunk_ms
    assert asked == load("assistant").pipeline.chunk_ms > Settings().pipeline.chunk_ms
    own = load_from_arguments(parse("--wake", "hey auricle", "--set", "pipeline.chunk_ms=40"))
    assert own.pipeline.chunk_ms == 40
    (file := tmp_path / "mine.toml").write_text("[pipeline]\nchunk_ms = 80\n")
    assert load_from_arguments(parse("--config", str(file), "--transcribe")).pipeline.chunk_ms == 80


def test_an_operating_point_needs_a_phrase_or_a_grammar() -> None:
    with pytest.raises(ConfigError, match=r"--wake and the sentences of --grammar"):
        load_from_arguments(parse("--false-accepts-per-hour", "1"))


@pytest.mark.parametrize("rate", ["0", "-1", "nan", "often"])
def test_an_operating_point_is_a_rate(rate: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("--wake", "hey auricle", "--false-accepts-per-hour", rate)
    assert "above 0" in capsys.readouterr().err


def test_commands_and_transcripts_need_to_know_when_someone_speaks() -> None:
    for words in (("--grammar", "home.yaml"), ("--transcribe",)):
        overrides = listening_overrides(parse(*words))
        assert "keyword.enabled=false" in overrides and "vad.enabled=false" not in overrides
