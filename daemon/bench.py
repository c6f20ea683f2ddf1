"""What listening costs, part by part, in processor time as a share of the time that the audio lasts.

Recordings go through the very pipeline of a live stream; the clock is that of the processor time of this
thread, so that other programs cost little truth. What each round finds varies with what else the machine
does: the median of some rounds is told, and a model that others know, run in turn with them, beside it.
"""

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, TypeVar, cast

from auricle.configs.errors import ModelError
from auricle.configs.settings import Settings
from auricle.daemon.bus import NullPublisher
from auricle.daemon.detectors import Detector
from auricle.daemon.events import Sequencer
from auricle.daemon.offline import offline_shared, stream_file
from auricle.daemon.stream import Shared
from auricle.daemon.wake import WakeDetector

if TYPE_CHECKING:
    from auricle.models.engine import Engine

T = TypeVar("T")
Costs = dict[str, float]
"""Percent of a core, by part."""
WHOLE, REST, TOTAL = "all that is asked for", "all else", "total"


class _Clock:
    """Adds up the processor time of each part."""

    def __init__(self) -> None:
        self.spent_ns: dict[str, int] = defaultdict(int)

    def timed(self, part: str, call: Callable[..., T]) -> Callable[..., T]:
        """The same function, its time added to a part."""

        def run(*args: Any) -> T:
            before_ns = time.thread_time_ns()
            result = call(*args)
            self.spent_ns[part] += time.thread_time_ns() - before_ns
            return result

        return run


class _Timed:
    """Stands in for an engine or a detector and times some of its methods; the rest is passed on."""

    def __init__(self, inner: Any, **timed: Callable[..., Any]) -> None:
        self._inner = inner
        self.__dict__ |= timed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def _engine(engine: "Engine", clock: _Clock) -> "Engine":
    def infer(model: Any, *args: Any) -> Any:
        return clock.timed(f"{model.kind} model", engine.infer)(model, *args)

    return cast("Engine", _Timed(engine, features=clock.timed("features", engine.features), infer=infer))


def _detector(detector: Detector, clock: _Clock) -> Detector:
    part = part_of(detector)
    decide, finish = clock.timed(part, detector.decide), clock.timed(part, detector.finish)
    return cast("Detector", _Timed(detector, decide=decide, finish=finish))


def part_of(detector: Detector) -> str:
    """What a detector's work is called."""
    if isinstance(detector, WakeDetector):
        count = len(detector.phrases)
        return f"wake search, {count} phrase{'s' * (count > 1)}"
    decoder = getattr(detector, "decoder", None)
    name = type(detector if decoder is None else decoder).__name__
    part = name.removesuffix("Detector").removesuffix("Decoder").lower()
    return f"{part} {'decisions' if decoder is None else 'search'}"


def measure(files: Sequence[Path], shared: Shared) -> Costs:
    """Runs recordings once; the parts add up to the total.

    Raises:
        FormatError: a file cannot be read.
    """
    clock = _Clock()
    timed = [_detector(one, clock) for one in shared.detectors]
    watched = replace(
        shared,
        engine=_engine(shared.engine, clock),
        detectors=tuple(timed),
        sink=NullPublisher(),
        sequencer=Sequencer(),
    )
    before_ns = time.thread_time_ns()
    seconds = sum(stream_file(file, watched) for file in files)
    total_ns = time.thread_time_ns() - before_ns
    spent_ns = {**clock.spent_ns, REST: total_ns - sum(clock.spent_ns.values()), TOTAL: total_ns}
    return {part: ns / seconds / 1e7 for part, ns in spent_ns.items()}


def variants(settings: Settings, engine: "Engine") -> dict[str, Shared]:
    """What is run: the configuration; one of its wake phrases alone; Silero VAD alone, where installed.

    Raises:
        AuricleError: what the configuration asks for cannot be loaded.
    """
    alone = {
        name: getattr(settings, name).model_copy(update={"enabled": False})
        for name in ("vad", "keyword", "level", "spectrum", "commands", "transcript")
    }
    wanted = {WHOLE: settings}
    if len(settings.wake) > 1:
        wanted["one wake phrase alone"] = settings.replace(**alone, wake=settings.wake[:1])
    silero = settings.vad.model_copy(update={"enabled": True, "model": "silero"})
    with contextlib.suppress(ModelError):
        engine.load("silero")
        wanted["Silero VAD alone"] = settings.replace(**{**alone, "vad": silero}, wake=())
    return {name: offline_shared(wish, engine, NullPublisher()) for name, wish in wanted.items()}


def table(found: dict[str, Costs]) -> str:
    """The figures for people: parts in the order of the path, as percent of a core."""
    lines = []
    for name, costs in found.items():
        lines.append(f"{name}:")
        lines += [f"  {part:<24}{cost:7.2f} %" for part, cost in costs.items()]
    return "\n".join(lines)


def benchmark(files: Sequence[Path], runs: dict[str, Shared], rounds: int) -> dict[str, Costs]:
    """Runs each of some configurations in turn, so often; gives the median of each part.

    The first round only warms up, and does not count.
    """
    found: dict[str, list[Costs]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, shared in runs.items():
            costs = measure(files, shared)
            if number:
                found[name].append(costs)
    return {
        name: {part: median(costs.get(part, 0.0) for costs in every) for part in every[0]}
        for name, every in found.items()
    }
