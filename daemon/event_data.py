"""The `data` of every event type, one function each: `event_data.keyword("yes", 0.97)`.

Numbers are rounded to what they mean (scores to 1e-4, levels to 0.1 dB), so that messages stay short and the
same recording gives the same bytes whatever the chunk size. All samples are 16 kHz samples of the stream.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from auricle.daemon.events import SAMPLE_RATE

SILENCE_DBFS: Final = -120.0
"""Levels below it, digital silence included (minus infinity, which JSON hasn't), are given as this."""

GapReason = Literal["overflow", "stall", "sequence", "device"]
GapAction = Literal["fill", "reset"]
DeviceState = Literal["opened", "lost", "stalled", "resumed", "ended"]
DaemonState = Literal["starting", "running", "stopping"]


def speech_start(start_sample: int, score: float) -> dict[str, Any]:
    """Speech began at `start_sample`, pre-roll included."""
    return {"start": start_sample / SAMPLE_RATE, "start_sample": start_sample, "score": round(score, 4)}


def speech_stop(start_sample: int, end_sample: int, score: float) -> dict[str, Any]:
    """Speech from `start_sample` ended at `end_sample`; `score` is its mean posterior."""
    return {
        "start": start_sample / SAMPLE_RATE,
        "end": end_sample / SAMPLE_RATE,
        "start_sample": start_sample,
        "end_sample": end_sample,
        "duration": (end_sample - start_sample) / SAMPLE_RATE,
        "score": round(score, 4),
    }


def within(data: Mapping[str, Any], last_sample: int) -> dict[str, Any] | None:
    """Speech or a phrase as far as there was audio, up to `last_sample`; None if it began no earlier."""
    if data["start_sample"] >= last_sample:
        return None
    kept = dict(data)
    if "end_sample" in data and data["end_sample"] > last_sample:
        kept |= {"end_sample": last_sample, "end": last_sample / SAMPLE_RATE}
        if "duration" in data:
            kept["duration"] = (last_sample - data["start_sample"]) / SAMPLE_RATE
    return kept


def keyword(label: str, score: float, start_sample: int | None = None) -> dict[str, Any]:
    """A word of a keyword model was heard; `start_sample` where the model can tell."""
    data: dict[str, Any] = {"label": label, "score": round(score, 4)}
    if start_sample is not None:
        data["start_sample"] = start_sample
    return data


def wake(phrase: str, score: float, start_sample: int, end_sample: int) -> dict[str, Any]:
    """A wake phrase was heard from `start_sample` to `end_sample`."""
    return {
        "phrase": phrase,
        "score": round(score, 4),
        "start": start_sample / SAMPLE_RATE,
        "end": end_sample / SAMPLE_RATE,
        "start_sample": start_sample,
        "end_sample": end_sample,
    }


def command(
    intent: str, slots: Mapping[str, Any], score: float, words: Sequence[tuple[str, int, int, float]]
) -> dict[str, Any]:
    """A sentence of the grammar was heard; each word with its first sample, its end, and its score."""
    start_sample, end_sample = words[0][1], words[-1][2]
    return {
        "text": " ".join(word for word, *_ in words),
        "intent": intent,
        "slots": dict(slots),
        "score": round(score, 4),
        "start": start_sample / SAMPLE_RATE,
        "end": end_sample / SAMPLE_RATE,
        "start_sample": start_sample,
        "end_sample": end_sample,
        "words": [
            {"word": word, "start": start / SAMPLE_RATE, "end": end / SAMPLE_RATE, "score": round(own, 4)}
            for word, start, end, own in words
        ],
    }


def transcript_partial(words: Sequence[str], stable_words: int, start_sample: int) -> dict[str, Any]:
    """What was said so far; the first `stable_words` words will not change in partial transcripts to come."""
    return {
        "text": " ".join(words),
        "stable_chars": len(" ".join(words[:stable_words])),
        "start": start_sample / SAMPLE_RATE,
        "start_sample": start_sample,
    }


def transcript_final(
    words: Sequence[tuple[str, int, int, float]], endpoint: str, start_sample: int = 0, end_sample: int = 0
) -> dict[str, Any]:
    """What was said; each word with its first sample, its end, and its score. `endpoint` ended it.

    Where there are no words after all, `start_sample` and `end_sample` are those of the utterance.
    """
    if words:
        start_sample, end_sample = words[0][1], words[-1][2]
    return {
        "text": " ".join(word for word, *_ in words),
        "score": round(sum(score for *_, score in words) / max(1, len(words)), 4),
        "start": start_sample / SAMPLE_RATE,
        "end": end_sample / SAMPLE_RATE,
        "start_sample": start_sample,
        "end_sample": end_sample,
        "words": [
            {"word": word, "start": start / SAMPLE_RATE, "end": end / SAMPLE_RATE, "score": round(score, 4)}
            for word, start, end, score in words
        ],
        "endpoint": endpoint,
    }


def level(rms_dbfs: float, peak_dbfs: float, clipped: int) -> dict[str, Any]:
    """How loud the stream was since its last level event; `clipped` counts the samples at full scale."""
    return {"rms_dbfs": _decibels(rms_dbfs), "peak_dbfs": _decibels(peak_dbfs), "clipped": clipped}


def spectrum(bins_hz: Sequence[float], db: Sequence[float]) -> dict[str, Any]:
    """Power per frequency bin: centres in hertz, and dBFS."""
    return {"bins_hz": [round(float(hz), 1) for hz in bins_hz], "db": [_decibels(value) for value in db]}


def gap(
    samples: int, reason: GapReason, action: GapAction, native_samples: int, native_rate: int
) -> dict[str, Any]:
    """`samples` were lost (`native_samples` at the device's rate); the models' state was filled or reset."""
    return {
        "samples": samples,
        "reason": reason,
        "action": action,
        "native_samples": native_samples,
        "native_rate": native_rate,
    }


def device(state: DeviceState, name: str, rate: int, channels: int, detail: str = "") -> dict[str, Any]:
    """The source of a stream changed its state; `rate` in hertz as the device delivers."""
    return {"state": state, "name": name, "rate": rate, "channels": channels, "detail": detail}


def heartbeat(uptime_s: float, streams: int, frames: int, rss_mb: float) -> dict[str, Any]:
    """The daemon lives: number of streams, frames processed since its start, resident memory in MB."""
    return {"uptime_s": round(uptime_s, 3), "streams": streams, "frames": frames, "rss_mb": round(rss_mb, 1)}


def error(code: str, message: str, remedy: str = "") -> dict[str, Any]:
    """Something failed; `code` is that of the exception class in `auricle.configs.errors`."""
    return {"code": code, "message": message, "remedy": remedy}


def status(
    state: DaemonState, version: str, models: Sequence[str], streams: Sequence[str], wake: Sequence[str] = ()
) -> dict[str, Any]:
    """The daemon starts, runs or stops, with these models (`name@hash`), streams and wake phrases."""
    return {
        "state": state,
        "version": version,
        "models": list(models),
        "streams": list(streams),
        "wake": list(wake),
    }


def latency(
    stages: Mapping[str, Mapping[str, float]],
    *,
    frames: int,
    rtf: float,
    deadline_misses: int,
    budget_ms: float,
    queue_samples: int,
    queue_max: int,
    lost_samples: int,
) -> dict[str, Any]:
    """Time per stage over the last interval, as made by `latency.StreamLatency.report`.

    Args:
        stages: for each stage the p50, p95, p99 and max in milliseconds.
        frames: frames processed in the interval.
        rtf: processing time divided by the duration of the audio.
        deadline_misses: chunks published later than `budget_ms` after their last sample was captured.
        budget_ms: see `deadline_misses`.
        queue_samples: samples waiting when the last chunk was taken.
        queue_max: the most that ever waited in the interval.
        lost_samples: samples lost in the interval.
    """
    return {
        "stages": {
            name: {key: round(ms, 3) for key, ms in values.items()} for name, values in stages.items()
        },
        "frames": frames,
        "rtf": round(rtf, 4),
        "deadline_misses": deadline_misses,
        "budget_ms": budget_ms,
        "queue_samples": queue_samples,
        "queue_max": queue_max,
        "lost_samples": lost_samples,
    }


def _decibels(value: float) -> float:
    return round(max(float(value), SILENCE_DBFS), 1)
