"""The programs printed in docs/bus.md run as printed."""

import re
import subprocess
import sys
import time
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from auricle.configs.paths import default_endpoint
from auricle.configs.settings import IngressSettings
from auricle.daemon import event_data
from auricle.daemon.bus import Publisher
from auricle.daemon.events import Event
from auricle.daemon.ingress_server import IngressServer

DOCUMENT = (Path(__file__).parents[1] / "docs/bus.md").read_text(encoding="utf-8")
EXAMPLES: list[str] = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
TIMEOUT_S = 30.0


def example(containing: str) -> str:
    """The one example with this text in it."""
    [found] = [text for text in EXAMPLES if containing in text]
    return found


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, "what the test waits for did not happen"
        time.sleep(0.01)


def run(program: str, folder: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-u", "-c", program]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def speech_start() -> Event:
    data = event_data.speech_start(13_760, 0.9)
    return Event("speech.start", "kitchen", 0, 17_120, time.monotonic_ns(), time.time_ns(), data)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("with Subscriber(types=", "kitchen 1.07 speech.start {"), ("zmq.SUB", "kitchen/speech.start {")],
)
def test_subscribers(name: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with Publisher([default_endpoint()]) as publisher, run(example(name), tmp_path) as process:
        wait_until(lambda: publisher.subscriptions > 0)
        publisher.publish(speech_start())
        assert process.stdout is not None
        assert process.stdout.readline().startswith(expected)
        process.kill()


def test_asyncio_subscriber(tmp_path: Path) -> None:
    body = example("AsyncSubscriber").replace("\n", "\n    ")
    with Publisher(["tcp://127.0.0.1:*"]) as publisher:
        program = (
            "import asyncio\nasync def react_to(event):\n    print(event.type)\n"
            f"async def main():\n    {body}\nasyncio.run(main())\n"
        ).replace("tcp://192.168.1.20:7310", publisher.endpoints[0])
        with run(program, tmp_path) as process:
            wait_until(lambda: publisher.subscriptions > 0)
            publisher.publish(speech_start())
            assert process.stdout is not None
            assert process.stdout.readline() == "speech.start\n"
            process.kill()


def test_sender(tmp_path: Path) -> None:
    tone = (8000 * np.sin(0.05 * np.arange(24_000))).astype("<i2")
    with wave.open(str(tmp_path / "speech.wav"), "wb") as audio:
        audio.setnchannels(1)
        audio.setsampwidth(2)
        audio.setframerate(48_000)
        audio.writeframes(tone.tobytes())
    server = IngressServer(IngressSettings(endpoint="tcp://127.0.0.1:*"))
    source = server.add_stream("kitchen")
    server.start()
    program = example("zmq.DEALER").replace("tcp://127.0.0.1:7311", server.endpoint)
    received: list[np.ndarray] = []
    try:
        with run(program, tmp_path) as process:
            wait_until(lambda: source.finished or process.poll() is not None)
            while (span := source.ring.read(4800)) is not None:
                received.append(np.array(span.samples))
            out, err = process.communicate(timeout=TIMEOUT_S)
    finally:
        server.stop()
    assert (out, err) == ("24000 frames received, 0 lost\n", "")
    np.testing.assert_array_equal(np.concatenate(received), tone.astype(np.float32) / 32_768)
