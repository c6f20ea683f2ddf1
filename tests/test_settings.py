"""The settings models: strict types, and cross-checks that say expected, got and remedy."""

from typing import Any

import pytest
from pydantic import ValidationError

from auricle.configs import settings as module
from auricle.configs.bus_settings import check_endpoint
from auricle.configs.paths import default_endpoint
from auricle.configs.settings import Settings, StreamSettings


def refusal(table: dict[str, Any]) -> str:
    """Returns the message with which `table` is refused."""
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate(table)
    return str(caught.value)


def test_defaults_are_the_microphone_with_speech_and_keywords() -> None:
    settings = Settings()
    assert settings.streams == {"mic": StreamSettings()}
    assert settings.vad.enabled and settings.keyword.enabled and settings.level.enabled
    assert not settings.spectrum.enabled
    assert settings.bus.endpoints == (default_endpoint(),)


def test_the_default_endpoint_follows_the_user_not_the_import(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/4242")
    assert Settings().bus.endpoints == ("ipc:///run/user/4242/auricle/events.ipc",)


def test_an_integer_serves_as_a_number() -> None:
    onset = Settings.model_validate({"vad": {"onset": 1}}).vad.onset
    assert onset == 1.0 and isinstance(onset, float)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("vad", "onset", "0.5"),
        ("vad", "onset", float("nan")),
        ("vad", "onset", 1.5),
        ("vad", "onset", True),
        ("vad", "enabled", 1),
        ("vad", "cell", "transformer"),
        ("vad", "hangover_ms", 10.0),
        ("vad", "hangover_ms", "10"),
        ("vad", "hangover_ms", -1),
        ("vad", "colour", 1),
        ("keyword", "labels", "yes"),
        ("keyword", "labels", ["yes", 1]),
        ("keyword", "labels", ["yes", "yes"]),
        ("pipeline", "chunk_ms", 0),
        ("pipeline", "chunk_ms", 15),
        ("level", "interval_ms", 255),
        ("spectrum", "interval_ms", 33),
        ("latency", "budget_ms", -1.0),
        ("bus", "endpoints", []),
        ("bus", "endpoints", ["http://localhost:1"]),
        ("bus", "endpoints", ["default", "default"]),
        ("bus", "endpoints", ["tcp://127.0.0.1:1", "tcp://127.0.0.1:1"]),
        ("ingress", "endpoint", "default"),
    ],
)
def test_wrong_values_are_refused(section: str, key: str, value: object) -> None:
    assert f"{section}.{key}" in refusal({section: {key: value}})


def test_settings_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValidationError):
        Settings().vad.onset = 0.1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"pipeline": {"chunk_ms": 25}}, ("multiple of 10 ms", "got 25", "20 or 30")),
        (
            {"pipeline": {"chunk_ms": 2000, "ring_seconds": 3.0}},
            ("ring_seconds", "two chunks (4 s)", "got 3"),
        ),
        (
            {"pipeline": {"chunk_ms": 500, "stall_ms": 300}},
            ("stall_ms > chunk_ms (500)", "got 300", "enlarge"),
        ),
        ({"vad": {"offset": 0.6}}, ("offset <= onset", "offset = 0.6 and onset = 0.5", "lower offset")),
        ({"streams": {"a": {"source": "file"}}}, ("needs its path", 'path = "recording.wav"')),
        ({"streams": {"a": {"path": "a.wav"}}}, ('source = "file"', 'got source = "mic"')),
        ({"streams": {"a": {"source": "stdin"}}}, ("rate and format", "rate = 16000", "s16le")),
        ({"streams": {"a": {"source": "stdin", "rate": 8000}}}, ("got no format",)),
        ({"streams": {"a": {"channels": 2, "channel": 2}}}, ("0 to 1", "got 2", "count from 0")),
        ({"streams": {"a": {"channel": -1}}}, ("got -1", "count from 0")),
        ({"streams": {"a": {"device": -1}}}, ("got -1", "auricle devices")),
        ({"streams": {"a": {"source": "zmq"}}}, ("ingress.endpoint is empty", "tcp://127.0.0.1:7311")),
        (
            {"bus": {"endpoints": ["tcp://*:1"]}, "ingress": {"endpoint": "tcp://*:1"}},
            ("of its own", "change one"),
        ),
        ({"bus": {"endpoints": ["ipc:///" + "x" * 120]}}, ("at most 107 bytes", "shorter folder")),
    ],
)
def test_a_refusal_says_what_was_expected_what_came_and_the_remedy(
    table: dict[str, Any], words: tuple[str, ...]
) -> None:
    message = refusal(table)
    for word in words:
        assert word in message


@pytest.mark.parametrize("name", ["", "a/b", "a b", "a\tb", "a\x00", "x" * 65, "daemon"])
def test_stream_names_that_cannot_be_topics_are_refused(name: str) -> None:
    assert "stream name" in refusal({"streams": {name: {}}})


@pytest.mark.parametrize("name", ["mic", "desk-mic", "küche", "a.b", "x" * 64])
def test_stream_names_that_can_be_topics_are_kept(name: str) -> None:
    assert list(Settings.model_validate({"streams": {name: {}}}).streams) == [name]


def test_only_one_stream_reads_standard_input() -> None:
    stdin = {"source": "stdin", "rate": 16000, "format": "s16le"}
    assert "at most one stream on stdin, got a, b" in refusal({"streams": {"a": stdin, "b": stdin}})


@pytest.mark.parametrize(
    "endpoint", ["tcp://*:*", "tcp://127.0.0.1:7310", "tcp://[::1]:7310", "ipc:///tmp/x"]
)
def test_endpoints_that_zeromq_takes_are_kept(endpoint: str) -> None:
    assert check_endpoint(endpoint) == endpoint


def test_two_random_ports_are_two_endpoints() -> None:
    endpoints = ("tcp://127.0.0.1:*", "tcp://127.0.0.1:*")
    assert Settings.model_validate({"bus": {"endpoints": endpoints}}).bus.endpoints == endpoints


def test_derived_counts() -> None:
    pipeline = module.PipelineSettings(chunk_ms=30)
    assert (pipeline.chunk_frames, pipeline.chunk_samples) == (3, 480)
    assert module.LatencySettings().deadline_ms(pipeline) == 30.0
    assert module.LatencySettings(budget_ms=7).deadline_ms(pipeline) == 7.0


def test_replace_checks_the_new_sections() -> None:
    settings = Settings().replace(streams={"a": StreamSettings(source="file", path="a.wav")})
    assert list(settings.streams) == ["a"]
    with pytest.raises(ValidationError):
        settings.replace(streams={"a b": StreamSettings()})


def test_every_field_is_described() -> None:
    for name in module.__all__:
        section = getattr(module, name)
        if isinstance(section, type) and issubclass(section, module.Section) and section is not Settings:
            for key, field in section.model_fields.items():
                assert field.description, f"{name}.{key}"
                if key.endswith("_ms"):
                    assert "(ms" in field.description
                if key.endswith(("_s", "_seconds")):
                    assert "(s)" in field.description
