"""Configuration files, `--set`, and what is said about mistakes in them."""

import argparse
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from auricle.configs import loader
from auricle.configs.errors import ConfigError
from auricle.configs.explain import explain, show
from auricle.configs.grammars import find_grammar
from auricle.configs.section import Section, Strings
from auricle.configs.settings import Settings
from auricle.configs.toml_text import find_line, parse_key, parse_value, toml_value
from auricle.models.engine import TorchEngine


class Wake(Section):
    """A section of a kind that a later version has."""

    phrase: str = Field(description="What to listen for.")
    boost: float = Field(default=1.0, description="Weight.")


class Later(Section):
    """Settings with a list of tables."""

    wake: tuple[Wake, ...] = Field(default=(), strict=False, description="Phrases.")
    words: dict[str, Wake] = Field(default_factory=dict, description="Phrases by name.")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "my.toml"


def refusal(config: Path | str | None, *overrides: str) -> str:
    """Returns the message with which a configuration is refused."""
    with pytest.raises(ConfigError) as caught:
        loader.load(config, overrides)
    return str(caught.value)


def test_the_shipped_configurations_load() -> None:
    assert set(loader.shipped_configs()) == {"assistant", "default", "keywords", "vad"}
    assert loader.load() == loader.load("default") == loader.load("default.toml") == Settings()
    vad, keywords = loader.load("vad"), loader.load("keywords")
    assert (vad.vad.enabled, vad.keyword.enabled) == (True, False)
    assert (keywords.vad.enabled, keywords.keyword.enabled) == (False, True)
    assert list(vad.streams) == list(keywords.streams) == ["mic"]


def test_what_the_shipped_configurations_write_out_is_the_default() -> None:
    for name in loader.shipped_configs():
        as_before = [f"{section}.enabled=true" for section in ("vad", "keyword")]
        as_before += ["wake=[]", "commands.enabled=false", "transcript.enabled=false"]
        if name == "assistant":  # a chunk is four steps of the acoustic model there
            as_before.append("pipeline.chunk_ms=20")
        assert loader.load(name, as_before) == Settings()


def test_the_assistant_is_all_in_one_file() -> None:
    assistant = loader.load("assistant")
    assert assistant.vad.enabled and assistant.commands.enabled and assistant.transcript.enabled
    assert [entry.phrase for entry in assistant.wake] == ["hey auricle", "computer"]
    assert not assistant.keyword.enabled


def test_explain_loads_as_the_defaults(config: Path) -> None:
    config.write_text(explain(), "utf-8")
    assert loader.load(config) == Settings()


def test_explain_names_every_key() -> None:
    text = explain()
    for section in Settings.model_fields:
        assert f"[{section}]" in text or f"[{section}." in text
    assert '# ("gru" | "lstm" | "rnn" | "attention" |' in text
    assert "# (integer, 10 to 2000)" in text


def test_show_loads_as_the_same_settings(config: Path) -> None:
    settings = loader.load(
        "vad",
        [
            'streams."a.b".source=file',
            'streams."a.b".path="x \\"y\\".wav"',
            "vad.onset=0.75",
            "keyword.labels=[yes]",
        ],
    )
    config.write_text(show(settings), "utf-8")
    assert loader.load(config) == settings
    config.write_text(show(Settings().replace(streams={})), "utf-8")
    assert loader.load(config).streams == {}


def test_a_list_of_tables_is_explained_set_shown_and_refused(config: Path) -> None:
    config.write_text(explain(Later), "utf-8")
    assert loader.load_model(Later, config) == Later()
    assert "# [[wake]]" in explain(Later) and "# [words.NAME]" in explain(Later)
    overrides = ["wake.0.phrase=hey auricle", "wake.0.boost=2", "wake.1.phrase=stop", "words.a.phrase=b"]
    later = loader.load_model(Later, config, overrides)
    assert later.wake == (Wake(phrase="hey auricle", boost=2.0), Wake(phrase="stop"))
    config.write_text(show(later), "utf-8")
    assert loader.load_model(Later, config) == later
    config.write_text('[[wake]]\nphrase = "a"\n[[wake]]\nphrase = 1\n', "utf-8")
    with pytest.raises(ConfigError, match=r"my\.toml:4: wake\.1\.phrase: expected string, got 1"):
        loader.load_model(Later, config)
    config.write_text("[[wake]]\nphrases = 'a'\n", "utf-8")
    with pytest.raises(ConfigError, match=r"got nothing(.|\n)*did you mean wake\.0\.phrase\?"):
        loader.load_model(Later, config)


def test_overrides_win_over_the_file_and_later_ones_over_earlier(config: Path) -> None:
    config.write_text("[vad]\nonset = 0.6\nhangover_ms = 100\n", "utf-8")
    vad = loader.load(config, ["vad.onset=0.7", "vad.onset=0.8"]).vad
    assert (vad.onset, vad.hangover_ms) == (0.8, 100)


def test_an_override_creates_a_stream() -> None:
    streams = loader.load(None, ["streams.kitchen.source=file", "streams.kitchen.path=a.wav"]).streams
    assert list(streams) == ["mic", "kitchen"]
    assert (streams["kitchen"].source, streams["kitchen"].path) == ("file", "a.wav")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.5", 0.5),
        ("10", 10),
        ("1_000", 1000),
        ("true", True),
        ('"10"', "10"),
        ("kitchen mic", "kitchen mic"),
        ("", ""),
        ("a=b", "a=b"),
        ('["yes", "no"]', ["yes", "no"]),
        ("[yes, no]", ["yes", "no"]),
        ("[]", []),
        ("2024-01-31", "2024-01-31"),
        ("1\nb = 2", "1\nb = 2"),
        ("tcp://127.0.0.1:1", "tcp://127.0.0.1:1"),
    ],
)
def test_the_value_of_an_override_is_toml_or_else_a_string(text: str, value: object) -> None:
    parsed = parse_value(text)
    assert parsed == value and type(parsed) is type(value)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("vad.onset", ("vad", "onset")),
        ('streams."desk.mic".rate', ("streams", "desk.mic", "rate")),
        ("streams.küche.rate", ("streams", "küche", "rate")),
        ("wake.0.phrase", ("wake", "0", "phrase")),
    ],
)
def test_dotted_keys(text: str, path: tuple[str, ...]) -> None:
    assert parse_key(text) == path


@pytest.mark.parametrize("text", ["", ".", "a..b", "a\n.b", '"a', "[a]"])
def test_what_is_no_key(text: str) -> None:
    with pytest.raises(ValueError, match="expected a dotted key"):
        parse_key(text)


@given(st.recursive(st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False), st.lists))
def test_values_survive_being_written(value: Any) -> None:
    assert parse_value(toml_value(value)) == value


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("vad.onsett=1", ("unknown key vad.onsett", "did you mean vad.onset?")),
        ("vda.onset=1", ("unknown key vda", "did you mean vad?")),
        ("hangover_ms=1", ("did you mean vad.hangover_ms?",)),
        ("streams.a.foo=1", ("[streams.a] has source, device",)),
        ("streams.a.devise=1", ("did you mean streams.a.device?",)),
        ("vad.onset.x=1", ("vad.onset is a value, not a table",)),
        ("vad.onset=high", ("vad.onset: expected number, 0 to 1", 'got "high" (a string)')),
        ('vad.onset="0.5"', ("write it without quotes",)),
        ("vad.cell=grru", ('expected "gru" | "lstm" | "rnn"', 'did you mean "gru"?')),
        ("keyword.labels=yes", ('write ["yes"]',)),
        ("streams.a.path=2024", ("got 2024 (an integer)", "put it in quotes")),
        ("vad=3", ("vad: expected a table of settings, got 3",)),
        ("pipeline.chunk_ms=5", ("integer, 10 to 2000", "got 5")),
        ("vad.onset=0.2", ("vad: expected offset <= onset", "got offset = 0.35 and onset = 0.2")),
        ("streams.a.device=true", ("streams.a.device: expected string | integer, got true",)),
        ("vad", ("expected KEY=VALUE",)),
        ("=1", ("expected a dotted key",)),
    ],
)
def test_a_wrong_override_is_named_with_the_remedy(override: str, words: tuple[str, ...]) -> None:
    message = refusal(None, override)
    assert message.startswith(f"--set {override}: ")
    for word in words:
        assert word in message
    assert "pydantic" not in message


def test_a_wrong_file_is_named_with_the_line(config: Path) -> None:
    config.write_text('[vad]\n# a comment\nonset = "high"\n\n[streams.a]\nfoo = 1\nsource = "mic"\n', "utf-8")
    lines = refusal(config).split("\n  ")
    assert len(lines) == 2
    assert any(line.startswith(f"{config}:3: vad.onset: expected number") for line in lines)
    assert any(line.startswith(f"{config}:6: unknown key streams.a.foo") for line in lines)


def test_a_cross_check_points_at_its_table(config: Path) -> None:
    config.write_text("# first\n[vad]\nonset = 0.1\n", "utf-8")
    assert refusal(config).startswith(f"{config}:2: vad: expected offset <= onset")


def test_lines_are_found_under_every_way_of_writing_a_key() -> None:
    text = 'vad.onset = 1\n[streams."a b"]\nrate = 2\n[[wake]]\nx = 1\n[[wake]]\nx = 2\n[bus]\nhwm = 3 # y\n'
    assert find_line(text, ("vad", "onset")) == 1
    assert find_line(text, ("streams", "a b", "rate")) == 3
    assert find_line(text, ("streams", "a b", "channels")) == 2
    assert find_line(text, ("wake", 1, "x")) == 7
    assert find_line(text, ("bus", "hwm")) == 9
    assert find_line(text, ("keyword", "labels")) is None


def test_a_missing_file_names_the_shipped_and_the_nearest(config: Path) -> None:
    message = refusal("keywrds")
    assert "default, keywords, vad" in message and "did you mean keywords?" in message
    config.write_text("", "utf-8")
    assert f"did you mean {config}?" in refusal(config.with_name("mi.toml"))
    assert "got a folder" in refusal(config.parent)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[vad]\nonset = high\n", "not valid TOML: .*line 2"),
        (b"[vad]\n\xff\xfe", "expected UTF-8"),
        (b"[vad]\n[vad]\n", "not valid TOML"),
    ],
)
def test_an_unreadable_file_is_named(config: Path, content: bytes, words: str) -> None:
    config.write_bytes(content)
    with pytest.raises(ConfigError, match=f"{config}: {words}"):
        loader.load(config)


def test_the_environment_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    before = loader.load()
    monkeypatch.setenv("AURICLE_VAD_ONSET", "0.9")
    monkeypatch.setenv("VAD__ONSET", "0.9")
    assert loader.load() == before


def test_the_options_of_a_command() -> None:
    parser = argparse.ArgumentParser()
    loader.add_config_arguments(parser)
    args = parser.parse_args(["--config", "vad", "--set", "vad.onset=0.6", "--set", "level.enabled=false"])
    settings = loader.load_from_arguments(args)
    assert (settings.vad.onset, settings.level.enabled, settings.keyword.enabled) == (0.6, False, False)
    assert loader.load_from_arguments(parser.parse_args([])) == Settings()


def test_a_new_list_of_strings_is_described() -> None:
    class Listed(Section):
        """One list."""

        names: Strings = Field(default=("a",), description="Names.")

    assert "(list of string)" in explain(Settings)
    assert Listed().names == ("a",)


def test_a_pipe_is_read_like_a_file(tmp_path: Path) -> None:
    os.mkfifo(pipe := tmp_path / "pipe")
    threading.Thread(target=lambda: pipe.write_text("vad.onset = 0.6"), daemon=True).start()
    assert loader.load(pipe).vad.onset == 0.6


def test_a_folder_with_the_name_of_a_shipped_configuration_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vad").mkdir()
    assert not loader.load("vad").keyword.enabled


def test_what_lies_in_the_working_directory_is_not_taken_for_what_ships(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("default", "vad", "commands"):
        (tmp_path / name).write_text("no TOML, no YAML")
    monkeypatch.chdir(tmp_path)
    assert loader.load(None) == loader.load("default")
    assert loader.load("vad").keyword.enabled is False
    assert find_grammar("commands").parent == Path(loader.__file__).parent
    (tmp_path / "vad").unlink()
    (tmp_path / "vad").mkdir()
    assert TorchEngine().load("vad").kind == "vad"
