"""The path of a frame: from the samples of one source to its events.

    Span -> [gap] -> Resampler -> gain -> HighPass -> front end -> models -> detectors -> events -> sink
                                            `-> level, spectrum

Everything that belongs to one stream lives in its `StreamPipeline`; the engine and the sink are shared and
keep nothing of it. Live streams and recordings run through the same code.

Shape letters: N samples, T frames.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import lcm
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from auricle.configs.section import samples as samples_of
from auricle.configs.settings import Settings, StreamSettings
from auricle.daemon import event_data
from auricle.daemon.clips import NEAR, ClipTaker, ClipWriter
from auricle.daemon.detectors import Detector, Draft
from auricle.daemon.dsp import HighPass, LevelMeter, SpectrumMeter, bounded
from auricle.daemon.events import RANK, SAMPLE_RATE, Event, Sequencer
from auricle.daemon.lane import build_lanes
from auricle.daemon.latency import Stamps
from auricle.daemon.resample import Resampler
from auricle.daemon.ring import Span
from auricle.daemon.timeline import StreamClock

if TYPE_CHECKING:
    from auricle.daemon.bus import EventSink
    from auricle.models.engine import Engine

Array = NDArray[np.float32]
HOP_SAMPLES = SAMPLE_RATE // 100
"""One frame of features; latency is counted in these."""
WAKES_REMEMBERED = 16
"""So many wake events back an event may refer to one."""
_NOTHING: Array = np.empty(0, dtype=np.float32)


@dataclass(frozen=True)
class Shared:
    """What all streams of a daemon share; nothing in it remembers a stream's audio."""

    settings: Settings
    engine: "Engine"
    detectors: tuple[Detector, ...]
    sink: "EventSink"
    sequencer: Sequencer
    clips: ClipWriter | None = None
    """Keeps wake phrases that were heard, or nearly; None for none."""

    def publish(self, event: Event) -> None:
        """Publishes an event that carries its stream's next number."""
        self.sink.publish(event)
        self.sequencer.published(event)


@dataclass(frozen=True)
class ChunkRecord:
    """When one chunk passed each stage, for latency histograms and traces."""

    sample: int
    """End of the chunk on the stream's timeline."""
    frames: int
    stamps: Stamps


class StreamPipeline:
    """One stream's whole processing state, from native samples to published events."""

    def __init__(
        self,
        name: str,
        native_rate: int,
        source: StreamSettings,
        shared: Shared,
        clock: StreamClock,
        *,
        record: Callable[[ChunkRecord], None] | None = None,
    ) -> None:
        """Starts at sample 0 with fresh states.

        Args:
            name: the stream's name, as in its events.
            native_rate: samples per second of the spans to come.
            source: the stream's own section of the configuration.
            shared: configuration, models and where events go.
            clock: turns positions into times.
            record: learns when each chunk passed each stage; None for recordings: they have no lateness.
        """
        self.name = name
        self.frames = 0
        """Frames processed since the start."""
        self.lost_samples = 0
        """16 kHz samples that never came, since the start."""
        self._shared, self._settings, self._clock, self._record = shared, shared.settings, clock, record
        self._gain = np.float32(10 ** (source.gain_db / 20))
        self._resampler = Resampler(native_rate)
        self._highpass = HighPass(self._settings.pipeline.highpass_hz)
        self._level = LevelMeter(self._settings.level.interval_ms, self._settings.level.clip_dbfs)
        self._spectrum = SpectrumMeter(self._settings.spectrum.interval_ms, self._settings.spectrum.bins)
        self._lanes = build_lanes(shared.detectors, shared.engine)
        self._quantum = lcm(1, *(lane.model.frame_samples for lane in self._lanes))
        self._tail_samples = max((detector.tail_samples for detector in shared.detectors), default=0)
        self._waiting: Array = _NOTHING  # 16 kHz samples short of a chunk
        self._position = self._origin = 0
        self._wakes: deque[tuple[Draft, int]] = deque(maxlen=WAKES_REMEMBERED)
        self._clips = ClipTaker(name, shared.clips, clock.wall_ns) if shared.clips else None
        self._pending: list[Draft] = []  # decided beside the models, at or after the present position
        self._restart(0)

    @property
    def position(self) -> int:
        """Sample up to which the stream has been processed."""
        return self._position

    def feed(self, span: Span) -> None:
        """Takes what one read of the ring gave, publishes what it decides."""
        dequeued_ns = time.monotonic_ns()
        if span.lost_before:
            self._gap(span, dequeued_ns)
        if len(span.samples):
            captured = self._resampler.to_16k(span.start_index + len(span.samples))
            self._clock.anchor(captured, span.captured_ns)
            self._take(self._resampler.process(span.samples), dequeued_ns)

    def finish(self) -> None:
        """Processes what is left and closes what is open: no sample will follow."""
        self._drain()
        self._restart(self._position)

    def announce(self, event_type: str, data: dict[str, Any]) -> None:
        """Publishes an event that no model decided (a device state, an error) at the present position."""
        self._publish([Draft(event_type, self._position, data)], self._position)

    def _gap(self, span: Span, dequeued_ns: int) -> None:
        """Accounts for samples lost before `span`: silence in their place, or a fresh start after them."""
        settings, resampler = self._settings.pipeline, self._resampler
        lost = resampler.to_16k(span.start_index) - resampler.to_16k(span.start_index - span.lost_before)
        fill = settings.gap == "fill" and lost <= samples_of(settings.max_fill_ms)
        begin = resampler.to_16k(span.start_index - span.lost_before)
        assert span.reason is not None, "a span that lost samples says why"
        self.lost_samples += lost
        data = event_data.gap(
            lost, span.reason, "fill" if fill else "reset", span.lost_before, resampler.native_rate
        )
        if fill:
            self._pending.append(Draft("gap", begin, data))
            self._take(resampler.process(np.zeros(span.lost_before, dtype=np.float32)), dequeued_ns)
            return
        self._drain()
        resampler.skip(span.lost_before)
        self._restart(resampler.position)
        self._publish([Draft("gap", begin, data)], self._position)

    def _take(self, samples: Array, dequeued_ns: int) -> None:
        """Processes all whole chunks of what waits and of new 16 kHz samples."""
        waiting = np.concatenate([self._waiting, bounded(samples * self._gain)])
        chunk = self._settings.pipeline.chunk_samples
        whole = len(waiting) - len(waiting) % chunk
        self._waiting = waiting[whole:]
        for start in range(0, whole, chunk):
            self._step(waiting[start : start + chunk], dequeued_ns)

    def _step(self, samples: Array, dequeued_ns: int) -> None:
        """Processes one chunk `(N,)` of whole hops."""
        resampled_ns = time.monotonic_ns()
        end = self._position + len(samples)
        drafts = self._meter(samples)
        frames = self._features(samples)
        featured_ns = time.monotonic_ns()
        posteriors = [lane.infer(frames[lane.model.frontend]) for lane in self._lanes]
        inferred_ns = time.monotonic_ns()
        decided: list[Draft] = []
        for lane, posterior in zip(self._lanes, posteriors, strict=True):
            decided += lane.decide(posterior, decided)
        decided = self._keep_clips(samples, decided)
        self._position = end
        decided_ns = time.monotonic_ns()
        self._publish(drafts + decided, end)
        count = len(samples) // HOP_SAMPLES
        self.frames += count
        if self._record is not None:
            captured_ns, published_ns = self._clock.mono_ns(end), time.monotonic_ns()
            stamps = Stamps(
                captured_ns, dequeued_ns, resampled_ns, featured_ns, inferred_ns, decided_ns, published_ns
            )
            self._record(ChunkRecord(end, count, stamps))

    def _meter(self, samples: Array) -> list[Draft]:
        """Level and spectrum of 16 kHz samples `(N,)`, as the configuration asks."""
        drafts: list[Draft] = []
        if self._settings.level.enabled:
            for level in self._level.process(samples):
                data = event_data.level(level.rms_dbfs, level.peak_dbfs, level.clipped)
                drafts.append(Draft("level", level.sample, data))
        if self._settings.spectrum.enabled:
            for bands in self._spectrum.process(samples):
                data = event_data.spectrum(bands.bins_hz, bands.db)
                drafts.append(Draft("spectrum", bands.sample, data))
        return drafts

    def _features(self, samples: Array) -> dict[Any, Array]:
        """Frames `(T, F)` of samples `(N,)` for each kind of front end that a model wants."""
        if not len(samples):
            return {frontend: np.empty((0, frontend.width), np.float32) for frontend in self._frontends}
        filtered = self._highpass.process(samples)
        frames: dict[Any, Array] = {}
        for frontend, state in self._frontends.items():
            features, self._frontends[frontend] = self._shared.engine.features(
                frontend, filtered[None], state
            )
            frames[frontend] = features[0]
        return frames

    def _keep_clips(self, samples: Array, decided: list[Draft]) -> list[Draft]:
        """Takes note of wake phrases for clips, if they are kept; returns what is to be published."""
        if self._clips is None:
            return [draft for draft in decided if draft.type != NEAR]
        self._clips.hear(samples)
        return self._clips.follow(decided)

    def _drain(self) -> None:
        """Processes what waits, with silence behind it until all of it is decided, and closes what is open.

        The silence has no place on the timeline: what is decided during it is dated to the last real sample.
        """
        tail = bounded(self._resampler.process(_NOTHING, last=True) * self._gain)
        waiting = np.concatenate([self._waiting, tail])
        self._waiting = _NOTHING
        end = self._position + len(waiting)
        drafts = self._meter(waiting)
        heard = end - self._origin
        padding = self._tail_samples + -(heard + self._tail_samples) % self._quantum
        frames = self._features(np.concatenate([waiting, np.zeros(padding, dtype=np.float32)]))
        decided: list[Draft] = []
        for lane in self._lanes:
            found = lane.decide(lane.infer(frames[lane.model.frontend]), decided)
            decided += _within(found + lane.finish(end), end)
        decided = self._keep_clips(waiting, decided)
        self.frames += -(-len(waiting) // HOP_SAMPLES)
        self._position = end
        self._publish(drafts + decided, end)

    def _restart(self, position: int) -> None:
        """Forgets all that was heard; the next sample is number `position`."""
        if self._clips is not None:
            self._clips.restart(position)
        self._position = self._origin = position
        self._highpass.reset()
        self._level.reset(position)
        self._spectrum.reset(position)
        for lane in self._lanes:
            lane.reset(position)
        self._frontends: dict[Any, Any] = {
            lane.model.frontend: self._shared.engine.frontend_state(lane.model.frontend)
            for lane in self._lanes
        }

    def _publish(self, drafts: list[Draft], end: int) -> None:
        """Publishes drafts, and pending ones up to `end`, in an order that chunking does not change."""
        due = [draft for draft in self._pending if draft.sample <= end]
        if due:
            self._pending = [draft for draft in self._pending if draft.sample > end]
        for draft in sorted(drafts + due, key=lambda draft: (draft.sample, RANK[draft.type])):
            sample = min(draft.sample, end)
            seq = self._shared.sequencer.number(self.name)
            event = Event(
                type=draft.type,
                stream=self.name,
                seq=seq,
                sample=sample,
                mono_ns=self._clock.mono_ns(sample),
                wall_ns=self._clock.wall_ns(sample),
                data=draft.data if draft.wake is None else {**draft.data, **self._wake_seq(draft.wake)},
                model=draft.model,
            )
            if draft.type == "wake":
                self._wakes.append((draft, seq))
            self._shared.publish(event)

    def _wake_seq(self, wake: Draft) -> dict[str, int]:
        """The number that a wake event got when it was published."""
        numbers = [seq for draft, seq in self._wakes if draft == wake]
        return {"wake_seq": numbers[-1]} if numbers else {}


def _within(drafts: list[Draft], end: int) -> list[Draft]:
    """Cuts speech and phrases off at the end of the audio; what lies wholly in the silence behind it goes."""
    kept = []
    for draft in drafts:
        data: dict[str, Any] | None = draft.data
        if draft.type in ("speech.start", "speech.stop", "wake"):
            data = event_data.within(draft.data, end)
        if data is not None:
            kept.append(draft._replace(data=data))
    return kept
