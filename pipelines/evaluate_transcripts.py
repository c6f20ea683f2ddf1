"""Transcripts judged as a user gets them: recordings in a stream, through `auricle stream --transcribe`.

The recordings of a set follow each other with pauses, clean or in recorded noise, in one file; what the
events say is compared with what was read. The same recordings, one by one, go through PocketSphinx with its
default model where the package is installed.

Shape letters: N samples, U utterances.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from auricle.configs.errors import DataError
from auricle.pipelines.corpus import SAMPLE_RATE, Clip, Corpus
from auricle.pipelines.metrics import Interval, ratio, sums_by_block
from auricle.pipelines.sounds import NoisePlanner
from auricle.pipelines.targets import Floats
from auricle.pipelines.through_stream import lay_out, stream_events

SETS = ("librispeech", "commonvoice", "speechocean762", "wuw2")
SNR_DB = 10.0
SEED = 60_000

Words = list[str]


class Laid(NamedTuple):
    """A recording in its stream."""

    clip: Clip
    start_sample: int
    speech_end: int


class Heard(NamedTuple):
    """What came out for one recording."""

    words: Words
    shown: int
    """Different words that partial transcripts showed, each at its place."""
    changed: int
    """Those of them that the final transcript does not have there."""
    retracted: int
    """Partial transcripts whose stable part a later one contradicts: there should be none."""
    revised: int
    """Those whose stable part the final transcript contradicts: a second pass may."""
    delay_s: float
    """From the end of speech to the last final transcript; NaN without one."""


def sentences(clips: Sequence[Clip], most: int = 0) -> list[Clip]:
    """Those of the clips that have a text; an even choice of them if there are more than `most` (0: all).

    Raises:
        DataError: none has.
    """
    spoken = [clip for clip in clips if clip.text]
    if not spoken:
        raise DataError("no sentences: none of the recordings has a `text` in its line of the manifest")
    places = np.linspace(0, len(spoken) - 1, min(most or len(spoken), len(spoken))).astype(int)
    return [spoken[place] for place in places]


def collect(laid: Sequence[Laid], events: Sequence[Mapping[str, Any]]) -> list[Heard]:
    """What the events say of each recording: all its final transcripts, one after the other."""
    starts = np.array([one.start_sample for one in laid])
    finals: list[list[Mapping[str, Any]]] = [[] for _ in laid]
    waiting: list[Mapping[str, Any]] = []
    shown = [np.zeros(4, int) for _ in laid]
    for event in events:
        if event["type"] == "transcript.partial":
            waiting.append(event["data"])
        if event["type"] != "transcript.final":
            continue
        owner = max(0, int(np.searchsorted(starts, event["data"]["end_sample"], side="right")) - 1)
        finals[owner].append(event)
        shown[owner] += _flicker(event["data"]["text"], waiting)
        waiting = []
    heard = []
    for one, own, counts in zip(laid, finals, shown, strict=True):
        words = [word for event in own for word in event["data"]["text"].split()]
        delay = (own[-1]["sample"] - one.speech_end) / SAMPLE_RATE if own else float("nan")
        seen, changed, retracted, revised = counts.tolist()
        heard.append(Heard(words, seen, changed, retracted, revised, delay))
    return heard


def _flicker(text: str, partials: Sequence[Mapping[str, Any]]) -> NDArray[np.int_]:
    """Words shown, words changed later, and stable parts taken back by partial ones and by the final one."""
    final = text.split()
    shown = {(place, word) for data in partials for place, word in enumerate(data["text"].split())}
    changed = sum(place >= len(final) or final[place] != word for place, word in shown)
    texts = [data["text"] for data in partials]
    stable = [data["text"][: data["stable_chars"]] for data in partials]
    retracted = sum(
        not all(later.startswith(part) for later in texts[number + 1 :]) for number, part in enumerate(stable)
    )
    revised = sum(not text.startswith(part) for part in stable)
    return np.array([len(shown), changed, retracted, revised])


def sphinx() -> Callable[[Floats], Words]:
    """PocketSphinx with its default model.

    Raises:
        ImportError: it is not installed.
    """
    from pocketsphinx import Decoder

    decoder = Decoder(samprate=SAMPLE_RATE, loglevel="FATAL")

    def decode(samples: Floats) -> Words:
        decoder.start_utt()
        decoder.process_raw((np.clip(samples, -1, 1) * 32767).astype(np.int16).tobytes(), full_utt=True)
        decoder.end_utt()
        found = decoder.hyp()
        return [] if found is None else re.sub(r"\(\d+\)|<[^>]*>", "", found.hypstr).lower().split()

    return decode


def word_error_rate(clips: Sequence[Clip], found: Sequence[Words]) -> tuple[Interval, int]:
    """Word error rate, its interval by the spread between speakers (clips, if unknown), and words said."""
    import jiwer

    wrong, said = [], []
    for clip, words in zip(clips, found, strict=True):
        wanted = " ".join(clip.text.lower().split())
        counts = jiwer.process_words(wanted, " ".join(words))
        wrong.append(counts.substitutions + counts.deletions + counts.insertions)
        said.append(len(wanted.split()))
    rate = ratio(*sums_by_block([clip.speaker_or_id for clip in clips], wrong, said))
    return rate.interval(least=0.0), int(sum(said))


def evaluate_transcripts(
    recordings: Corpus,
    sets: Mapping[str, Sequence[Clip]],
    noise: NoisePlanner | None,
    options: Sequence[str],
    *,
    beside: bool = True,
) -> dict[str, Any]:
    """Figures of some sets of sentences, clean and in noise.

    Args:
        recordings: where they are.
        sets: what is read in each, by name.
        noise: makes the noise; None to judge without any.
        options: of `auricle stream`, such as --config.
        beside: whether PocketSphinx hears them too, if it is installed.
    """
    try:
        reference = sphinx() if beside else None
    except ImportError:
        reference = None
    options = [*options, "--transcribe"]
    load_s = stream_events(np.zeros(SAMPLE_RATE, np.float32), options)[1]
    conditions = [("clean", None), *([(f"{SNR_DB:.0f} dB", noise)] if noise else [])]
    rows = []
    for name, clips in sets.items():
        for condition, planner in conditions:
            stream, places = lay_out(recordings, clips, planner, SNR_DB, SEED)
            laid = [
                Laid(clip, place.start_sample, place.speech_end)
                for clip, place in zip(clips, places, strict=True)
            ]
            events, used_s = stream_events(stream, options)
            heard = collect(laid, events)
            rows.append(_row(name, condition, clips, heard, (used_s - load_s) / (len(stream) / SAMPLE_RATE)))
            if reference is not None:
                cut = [stream[one.start_sample :][: one.clip.length_samples] for one in laid]
                rate, _ = word_error_rate(clips, [reference(samples) for samples in cut])
                rows[-1]["pocketsphinx_wer"] = rate
    return {"options": options[:-1], "rows": rows}


def _row(
    name: str, condition: str, clips: Sequence[Clip], heard: Sequence[Heard], cost: float
) -> dict[str, Any]:
    rate, said = word_error_rate(clips, [one.words for one in heard])
    delays = np.array([one.delay_s for one in heard])
    shown = sum(one.shown for one in heard)
    return {
        "set": name,
        "condition": condition,
        "utterances": len(clips),
        "words": said,
        "wer": rate,
        "changed_share": sum(one.changed for one in heard) / max(1, shown),
        "stable_retracted": sum(one.retracted for one in heard),
        "stable_revised": sum(one.revised for one in heard),
        "delay_p50_s": float(np.nanmedian(delays)) if np.isfinite(delays).any() else None,
        "delay_p95_s": float(np.nanpercentile(delays, 95)) if np.isfinite(delays).any() else None,
        "cost": cost,
    }
