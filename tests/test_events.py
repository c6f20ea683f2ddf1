"""Events hold to their JSON Schema, survive the wire, and cost next to nothing."""

import inspect
import json
import logging
import re
import timeit
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auricle.configs.errors import BusError
from auricle.daemon import event_data, events
from auricle.daemon.events import TYPES, Event, SequenceLedger, Sequencer, from_json, topic
from auricle.daemon.latency import STAGES

ROOT = Path(__file__).parents[1]
_log = logging.getLogger(__name__)
SCHEMA = json.loads((ROOT / "daemon/schema/event-v1.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

COUNT = st.integers(0, 2**62)
SCORE = st.floats(0, 1)
POSITIVE = st.floats(0, 1e9)
DECIBELS = st.floats(-400, 100) | st.just(float("-inf"))
TEXT = st.text(max_size=20)
TIMES = st.fixed_dictionaries(dict.fromkeys(("p50", "p95", "p99", "max"), POSITIVE))

MAKERS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "status": st.builds(
        event_data.status,
        st.sampled_from(["starting", "running", "stopping"]),
        TEXT,
        st.lists(TEXT),
        st.lists(TEXT),
    ),
    "device": st.builds(
        event_data.device,
        st.sampled_from(["opened", "lost", "stalled", "resumed", "ended"]),
        TEXT,
        COUNT,
        COUNT,
        TEXT,
    ),
    "gap": st.builds(
        event_data.gap,
        COUNT,
        st.sampled_from(["overflow", "stall", "sequence", "device"]),
        st.sampled_from(["fill", "reset"]),
        COUNT,
        COUNT,
    ),
    "error": st.builds(event_data.error, TEXT, TEXT, TEXT),
    "speech.start": st.builds(event_data.speech_start, COUNT, SCORE),
    "speech.stop": st.tuples(COUNT, COUNT, SCORE).map(
        lambda drawn: event_data.speech_stop(min(drawn[:2]), max(drawn[:2]), drawn[2])
    ),
    "keyword": st.builds(event_data.keyword, TEXT, SCORE, st.none() | COUNT),
    "level": st.builds(event_data.level, DECIBELS, DECIBELS, COUNT),
    "spectrum": st.builds(
        event_data.spectrum, st.lists(POSITIVE, max_size=8), st.lists(DECIBELS, max_size=8)
    ),
    "latency": st.builds(
        event_data.latency,
        st.fixed_dictionaries(dict.fromkeys(STAGES, TIMES)),
        frames=COUNT,
        rtf=POSITIVE,
        deadline_misses=COUNT,
        budget_ms=st.floats(1, 1000),
        queue_samples=COUNT,
        queue_max=COUNT,
        lost_samples=COUNT,
    ),
    "heartbeat": st.builds(event_data.heartbeat, POSITIVE, COUNT, COUNT, POSITIVE),
}

WORDS = [{"word": "lights", "start": 1.0, "end": 1.4, "score": 0.9}]
SPAN = {"start": 1.0, "end": 2.0, "start_sample": 16000, "end_sample": 32000}
LATER: dict[str, dict[str, Any]] = {
    "wake": {"phrase": "hey auricle", "score": 0.9, **SPAN},
    "command": {
        "text": "lights on",
        "intent": "HassTurnOn",
        "slots": {"area": "kitchen", "brightness": 50},
        "score": 0.8,
        "words": WORDS,
        **SPAN,
    },
    "transcript.partial": {"text": "lights o", "stable_chars": 6, "start": 1.0, "start_sample": 16000},
    "transcript.final": {"text": "lights on", "score": 0.8, "words": WORDS, "endpoint": "silence", **SPAN},
}


def make(event_type: str, data: dict[str, Any], **fields: Any) -> Event:
    common: dict[str, Any] = {"stream": "kitchen", "seq": 41, "sample": 19680, "mono_ns": 1, "wall_ns": 2}
    return Event(type=event_type, data=data, **{**common, **fields})


EVENTS = st.sampled_from(sorted(MAKERS)).flatmap(
    lambda event_type: st.builds(
        Event,
        type=st.just(event_type),
        stream=st.text(min_size=1, max_size=20),
        seq=COUNT,
        sample=COUNT,
        mono_ns=COUNT,
        wall_ns=COUNT,
        data=MAKERS[event_type],
        model=st.none() | st.just("keyword@0123abcd"),
    )
)


def test_schema_is_a_schema_and_knows_every_type_in_order() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["properties"]["type"]["enum"] == list(TYPES)
    assert set(MAKERS) | set(LATER) == set(TYPES)


@given(EVENTS)
def test_every_event_fits_the_schema_and_survives_the_wire(event: Event) -> None:
    message = event.to_json()
    VALIDATOR.validate(json.loads(message))
    assert from_json(message) == event
    assert from_json(message).to_json() == message
    assert json.loads(message) == event.raw


@pytest.mark.parametrize("event_type", sorted(LATER))
def test_types_of_later_issues_fit_the_schema(event_type: str) -> None:
    VALIDATOR.validate(make(event_type, LATER[event_type]).raw)
    for missing in set(LATER[event_type]) - {"endpoint"}:
        data = {name: value for name, value in LATER[event_type].items() if name != missing}
        assert not VALIDATOR.is_valid(make(event_type, data).raw), missing


@pytest.mark.parametrize("event_type", sorted(MAKERS))
def test_data_functions_and_schema_name_the_same_fields(event_type: str) -> None:
    definition = SCHEMA["$defs"][event_type]
    parameters = inspect.signature(getattr(event_data, event_type.replace(".", "_"))).parameters
    optional = {name for name, parameter in parameters.items() if parameter.default is None}
    derived = {"start", "end", "duration"} if event_type.startswith("speech") else set()
    assert set(definition["properties"]) - derived == set(parameters)
    assert set(definition["required"]) == set(definition["properties"]) - optional


def test_the_schema_refuses_what_does_not_belong() -> None:
    good = make("keyword", event_data.keyword("yes", 0.97), model="keyword@0123abcd").raw
    VALIDATOR.validate(good)
    for change in (
        {"extra": 1},
        {"v": 2},
        {"seq": -1},
        {"type": "keywrd"},
        {"data": {"label": "yes"}},
        {"model": "x"},
    ):
        assert not VALIDATOR.is_valid({**good, **change}), change


def test_the_envelope_is_as_documented() -> None:
    event = make("keyword", event_data.keyword("yes", 0.97), model="keyword@0123abcd")
    assert event.to_json() == (
        b'{"v":1,"type":"keyword","stream":"kitchen","seq":41,"sample":19680,"t":1.23,"mono_ns":1,"wall_ns":2,'
        b'"model":"keyword@0123abcd","data":{"label":"yes","score":0.97}}'
    )
    assert topic(event.stream, event.type) == b"kitchen/keyword"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"v": 2}, "expected version v=1, got v=2"),
        ({"seq": None}, "expected seq to be int, got None"),
        ({"seq": True}, "expected seq to be int, got True"),
        ({"seq": -1}, "expected seq to be 0 or more, got -1"),
        ({"sample": 1.5}, "expected sample to be int"),
        ({"t": "now"}, "expected t to be float or int"),
        ({"model": 3}, "expected model to be str or NoneType"),
        ({"data": []}, "expected data to be dict"),
        ({"stream": ""}, "expected a type and a stream"),
        ({"extra": 1}, "unknown: extra"),
    ],
)
def test_malformed_envelopes_are_refused_by_name(change: dict[str, Any], expected: str) -> None:
    fields = {**make("keyword", {}).raw, **change}
    with pytest.raises(BusError, match=re.escape(expected)):
        from_json(json.dumps(fields))


@pytest.mark.parametrize(
    "message", [b"", b"{", b"[]", b"17", b"\xff\xfe", b"[" * 100_000, b'{"v":1,"data":{"x":NaN}}', b'{"v":1}']
)
def test_other_messages_are_refused(message: bytes) -> None:
    with pytest.raises(BusError, match="malformed event: expected"):
        from_json(message)


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_no_message_does_worse_than_be_refused(message: bytes | str) -> None:
    with pytest.raises(BusError):
        from_json(message)


def test_a_type_of_a_later_release_is_let_through() -> None:
    assert from_json(make("applause", {"hands": 2}).to_json()).data == {"hands": 2}


def test_what_json_cannot_express_is_refused() -> None:
    for value in (float("nan"), float("inf"), b"bytes"):
        with pytest.raises(BusError, match="keyword event of stream 'kitchen'"):
            make("keyword", {"label": value}).to_json()


def test_an_undecodable_file_name_survives() -> None:
    name = b"caf\xe9.wav".decode("utf-8", "surrogateescape")
    assert from_json(make("keyword", {}, stream=name).to_json()).stream == name
    assert topic(name, "keyword") == b"caf\\udce9.wav/keyword"


def test_silence_is_a_finite_level() -> None:
    assert event_data.level(float("-inf"), float("-inf"), 0) == {
        "rms_dbfs": -120,
        "peak_dbfs": -120,
        "clipped": 0,
    }


def test_events_sort_by_sample_then_rank() -> None:
    drafts = [make("level", {}), make("speech.stop", {}), make("keyword", {}), make("level", {}, sample=1)]
    ordered = sorted(drafts, key=lambda event: event.order)
    assert [(event.sample, event.type) for event in ordered] == [
        (1, "level"),
        (19680, "keyword"),
        (19680, "speech.stop"),
        (19680, "level"),
    ]


def test_sequencer_counts_each_stream_without_holes() -> None:
    sequencer = Sequencer()
    numbers = []
    for name in "aabaab":
        numbers.append(sequencer.number(name))
        sequencer.published(Event("level", name, numbers[-1], 0, 0, 0, {}))
    assert numbers == [0, 1, 0, 2, 3, 1]
    assert sequencer.number("a") == 4  # asking takes nothing: an event that was not published leaves no hole


def test_ledger_tells_loss_from_restart() -> None:
    ledger = SequenceLedger()

    def note(seq: int, sample: int, stream: str = "kitchen", endpoint: str = "here") -> int:
        return ledger.note(endpoint, make("keyword", {}, stream=stream, seq=seq, sample=sample))

    assert [note(7, 100), note(8, 200), note(11, 300)] == [
        0,
        0,
        2,
    ]  # a late joiner lost nothing before its first
    assert note(3, 0, stream="desk") == 0
    assert note(500, 0, endpoint="elsewhere") == 0  # another daemon's stream of the same name
    assert ledger.restarts == 0
    assert [note(0, 10), note(1, 20)] == [0, 0]
    assert note(9, 5) == 0  # restarted, and more events since than before: the sample index tells
    assert ledger.restarts == 2
    assert ledger.lost == {"kitchen": 2, "desk": 0}


def test_an_event_costs_less_than_15_microseconds() -> None:
    def publish() -> bytes:
        return make_fast().to_json()

    def make_fast() -> Event:
        return Event(
            "keyword", "kitchen", 41, 19680, 1, 2, event_data.keyword("yes", 0.97), "keyword@0123abcd"
        )

    microseconds = min(timeit.repeat(publish, number=500, repeat=20)) / 500 * 1e6
    _log.info("an event is made and encoded in %.1f us", microseconds)
    assert microseconds < 15


def test_only_the_standard_library_is_imported() -> None:
    for module in (events, event_data):
        names = re.findall(r"^(?:from|import) (\w+)", Path(module.__file__ or "").read_text(), re.MULTILINE)
        assert set(names) <= {"json", "dataclasses", "typing", "collections", "auricle"}


def test_examples_of_the_documentation_fit_the_schema() -> None:
    text = (ROOT / "docs/bus.md").read_text(encoding="utf-8")
    examples = [json.loads(line) for line in text.splitlines() if line.startswith('{"v":1')]
    for example in examples:
        VALIDATOR.validate(example)
    assert {example["type"] for example in examples} == set(TYPES)
