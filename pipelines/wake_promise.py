"""What comes of `false_accepts_per_hour`: wake phrases through the spotter, as in the daemon.

Shape letters: J output frames, V labels.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from auricle.models.decoding.background import Background
from auricle.models.decoding.listening import Wanted
from auricle.models.decoding.phrases import Array, Way
from auricle.models.decoding.second_look import SecondLook
from auricle.models.decoding.spotting import Spotter
from auricle.models.decoding.verifier import Verifier
from auricle.models.decoding.ways import Ways
from auricle.pipelines.corpus import SAMPLE_RATE
from auricle.pipelines.metrics import Interval, rate_per_hour, share_by_block
from auricle.pipelines.report import plain
from auricle.pipelines.wake_streams import GAP_SAMPLES, Heard
from auricle.pipelines.wake_trials import LATE_SAMPLES, Trials, is_other_speech

PROMISED = 0.5
"""False accepts an hour that are asked for."""
REFRACTORY_S = 1.0
TIMED_FRAMES = 1000


class Accept(NamedTuple):
    """A phrase taken for said."""

    stream: int
    phrase: int
    sample: int  # of the decision


class Promise(NamedTuple):
    """What comes of `false_accepts_per_hour = 0.5`, all streams through the spotter as in the daemon."""

    misses: list[Interval]
    false_accepts: list[int]
    hours: list[float]
    delays_s: list[float]  # from the phrase's end to the decision, where its times are known

    @property
    def rate(self) -> Interval:
        """False accepts per hour and phrase."""
        return rate_per_hour(sum(self.false_accepts), sum(self.hours))


def keep_promise(
    heard: Heard,
    trials: Trials,
    ways: Ways,
    background: Background,
    frame_samples: int,
    *,
    verifiers: Mapping[str, Verifier] | None = None,
    second_look: SecondLook | None = None,
) -> Promise:
    """Runs the spotter over streams, with the verifiers of some phrases, or with the second pass."""
    own = verifiers or {}
    wanted = [_wanted(ways[text], own.get(text)) for text in trials.phrases]
    spotter = Spotter(wanted, background, frame_samples, second_look)
    return _judged(_accepted(spotter, heard, frame_samples), trials)


def _wanted(ways: tuple[Way, ...], verifier: Verifier | None = None) -> Wanted:
    """A phrase, asked for as a user would."""
    return Wanted(ways, PROMISED, round(REFRACTORY_S * SAMPLE_RATE), verifier=verifier)


def heard_in_noise(
    heard: Heard,
    phrases: Sequence[str],
    ways: Ways,
    background: Background,
    frame_samples: int,
    *,
    second_look: SecondLook | None = None,
) -> dict[str, Any]:
    """What is taken for phrases where nobody speaks: plain values."""
    wanted = [_wanted(ways[text]) for text in phrases]
    accepts = _accepted(Spotter(wanted, background, frame_samples, second_look), heard, frame_samples)
    hours = heard.log_probs.shape[0] * heard.log_probs.shape[1] * frame_samples / SAMPLE_RATE / 3600
    counts = Counter(phrases[one.phrase] for one in accepts)
    return {
        "hours": hours,
        "asked_for_per_hour": PROMISED,
        "false_accepts": {text: counts[text] for text in phrases},
        "false_accepts_per_hour": plain(rate_per_hour(len(accepts), hours * len(phrases))),
    }


def _accepted(spotter: Spotter, heard: Heard, frame_samples: int) -> list[Accept]:
    found = []
    for stream, rows in enumerate(heard.log_probs):
        state = spotter.initial_state()
        hidden = [None] * len(rows) if heard.hidden is None else heard.hidden[stream]
        for number, (row, values) in enumerate(zip(rows, hidden, strict=True), start=1):
            hits, state = spotter.step(row, number * frame_samples, state, values)
            found += [Accept(stream, hit.phrase, number * frame_samples) for hit in hits]
    return found


def _judged(accepts: Sequence[Accept], trials: Trials) -> Promise:
    """Tells right from false; what lies in a recording of any phrase is not false."""
    caught: dict[int, list[bool]] = defaultdict(list)
    speakers: dict[int, list[str]] = defaultdict(list)
    delays, right = [], set()
    for place in trials.placed:
        if is_other_speech(place.note):
            continue
        last = place.end_sample + LATE_SAMPLES
        here = [
            one for one in accepts if one.stream == place.stream and place.start_sample <= one.sample < last
        ]
        right.update(here)
        if (phrase := trials.phrase_of(place.note)) is None:
            continue
        in_time = last - GAP_SAMPLES  # the silence after a recording belongs to its place
        own = [one for one in here if one.phrase == phrase and one.sample < in_time]
        caught[phrase].append(bool(own))
        speakers[phrase].append(place.note.speaker_or_id)
        ends = place.note.details.get("wake_end")
        if own and ends:
            delays.append((own[0].sample - place.start_sample) / SAMPLE_RATE - float(ends))
    false = [one.phrase for one in set(accepts) - right]
    phrases = range(len(trials.phrases))
    misses = [share_by_block([not one for one in caught[number]], speakers[number]) for number in phrases]
    hours = [trials.other_hours] * len(phrases)
    return Promise(misses, [false.count(number) for number in phrases], hours, delays)


def search_cost(
    background: Background, phrases: Sequence[tuple[Way, ...]], log_probs: Array, frame_s: float
) -> float:
    """CPU seconds of the search alone for each second of audio, of all phrases together."""
    wanted = [Wanted(phrase, PROMISED, 0) for phrase in phrases]
    spotter = Spotter(wanted, background, round(frame_s * SAMPLE_RATE))
    rows, state = log_probs[:TIMED_FRAMES], spotter.initial_state()
    begin = time.process_time()
    for number, row in enumerate(rows, start=1):
        _, state = spotter.step(row, number * 640, state)
    return (time.process_time() - begin) / (len(rows) * frame_s)


def promise_table(promise: Promise, trials: Trials) -> dict[str, Any]:
    """Plain values of one."""
    table: dict[str, Any] = {
        "asked_for_per_hour": PROMISED,
        "false_accepts_per_hour": plain(promise.rate),
        "phrases": {
            text: {"misses": plain(missed), "false_accepts": wrong}
            for text, missed, wrong in zip(trials.phrases, promise.misses, promise.false_accepts, strict=True)
        },
        "mean_misses": float(np.mean([missed.value for missed in promise.misses])),
    }
    if promise.delays_s:
        p50, p95 = np.percentile(promise.delays_s, (50, 95))
        table["delay_s"] = {"p50": float(p50), "p95": float(p95), "count": len(promise.delays_s)}
    return table
