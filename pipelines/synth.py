"""Spoken texts by all synthesisers that are installed, as a set of a data folder.

Engines: espeak-ng (accents times variants), flite, festival, pico, and mbrola's voices through espeak-ng.
Every utterance follows from (seed, number); shards are written whole, and a run that was stopped goes on with
the next.
"""

import json
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from rich.progress import Progress

from auricle.configs.errors import DataError
from auricle.configs.whole import written_whole
from auricle.pipelines.corpus import SAMPLE_RATE
from auricle.pipelines.near_misses import near_misses
from auricle.pipelines.sounds import change_speed
from auricle.pipelines.synthesis import ENGINES, Utterance, draw_utterance, render
from auricle.pipelines.targets import HOP_SAMPLES, Floats, hop_levels_db

MBROLA_VOICES = ("us1", "us2", "us3", "en1")
MBROLA = Path("/usr/share/mbrola")
ODDS = {"espeak-ng": 0.45, "flite": 0.2, "text2wave": 0.15, "pico2wave": 0.1, "mbrola": 0.1}
PACKAGES = {
    "espeak-ng": "espeak-ng",
    "flite": "flite",
    "text2wave": "festival festvox-kallpc16k festvox-kdlpc16k festvox-us-slt-hts",
    "pico2wave": "libttspico-utils",
    "mbrola": "espeak-ng mbrola mbrola-us1 mbrola-us2 mbrola-us3 mbrola-en1",
}
"""What to install for each engine on Debian; the last two want its sections contrib and non-free."""
SHARD = 200
"""Utterances in a file."""
FLOOR_DB = -50.0
"""What is so far below the loudest 10 ms, before and after the speech, is cut off."""
MARGIN_HOPS = 10
GAP_SAMPLES = 800
REQUEST = "request.json"


@dataclass(frozen=True)
class Request:
    """What to speak."""

    texts: tuple[str, ...]
    takes: int = 10
    """How many times each text is spoken."""
    near: int = 0
    """Near-misses of each text, spoken a third as often each."""
    seed: int = 1
    formants: float = 0.1
    """Each utterance is played up to so much slower or faster, which moves its formants."""


@dataclass(frozen=True)
class Line:
    """One utterance of a request."""

    number: int
    text: str
    near_miss: bool


def installed(wanted: Sequence[str] = ()) -> tuple[str, ...]:
    """The engines that are here, or those that are wanted.

    Raises:
        DataError: there is none, or one that is wanted is unknown or missing; what to install is named.
    """
    found = [name for name in (*ENGINES, "pico2wave") if shutil.which(name)]
    if "espeak-ng" in found and shutil.which("mbrola") and _mbrola_voices():
        found.append("mbrola")
    for name in wanted:
        if name not in PACKAGES:
            raise DataError(f"unknown synthesiser '{name}': expected some of {', '.join(PACKAGES)}")
        if name not in found:
            raise DataError(f"{name} is not installed, or has no voice: `apt-get install {PACKAGES[name]}`")
    if not found:
        raise DataError(
            f"no speech synthesiser found: `apt-get install {PACKAGES['espeak-ng']} {PACKAGES['flite']} "
            f"{PACKAGES['text2wave']}`; non-free: {PACKAGES['pico2wave']} {PACKAGES['mbrola']}"
        )
    return tuple(name for name in found if not wanted or name in wanted)


def _mbrola_voices() -> list[str]:
    return [voice for voice in MBROLA_VOICES if (MBROLA / voice / voice).exists()]


def plan(request: Request) -> list[Line]:
    """Lists all utterances."""
    lines: list[tuple[str, bool]] = []
    for index, text in enumerate(request.texts):
        lines += [(text, False)] * request.takes
        rng = np.random.default_rng((request.seed, index, 1))
        for near in near_misses(text, request.near, rng) if request.near else ():
            lines += [(near, True)] * max(1, request.takes // 3)
    return [Line(number, text, near) for number, (text, near) in enumerate(lines)]


def draw_voice(text: str, rng: np.random.Generator, engines: Sequence[str]) -> Utterance:
    """Draws engine, voice, speed and pitch for a text."""
    odds = np.array([ODDS[engine] for engine in engines])
    engine = engines[int(rng.choice(len(engines), p=odds / odds.sum()))]
    if engine == "pico2wave":
        voice = str(rng.choice(["en-US", "en-GB"]))
        speed, pitch = str(rng.integers(75, 130)), str(rng.integers(80, 130))
        marked = f'<speed level="{speed}"><pitch level="{pitch}">{text}</pitch></speed>'
        return Utterance(text, f"pico-{voice}", (engine, "-l", voice, "-w", "{out}", marked))
    if engine == "mbrola":
        voice = f"mb-{rng.choice(_mbrola_voices())}"
        speed, pitch = str(rng.integers(110, 200)), str(rng.integers(25, 80))
        settings = ("-v", voice, "-s", speed, "-p", pitch, "-w", "{out}", "--", text)
        return Utterance(text, voice, ("espeak-ng", *settings))
    return draw_utterance(text, rng, (engine,))


def speak_text(
    text: str, seed: tuple[int, ...], engines: Sequence[str], formants: float = 0.0
) -> tuple[Floats, str]:
    """Speaks a text in a drawn voice; another voice is drawn where one says nothing.

    A dozen synthetic throats are few: played slower or faster by up to `formants`, they become longer or
    shorter ones.

    Returns:
        Samples with 100 ms around the speech, and the voice.

    Raises:
        DataError: no voice says anything.
    """
    rng = np.random.default_rng(seed)
    for _ in range(5):
        utterance = draw_voice(text, rng, engines)
        samples = render(utterance)
        if samples is not None:
            speed = float(np.exp(rng.uniform(-formants, formants)))
            return trim(change_speed(samples, speed)), utterance.voice
    raise DataError(f"none of {', '.join(engines)} could say '{text}': try it by hand, and mend the text")


def trim(samples: Floats) -> Floats:
    """Cuts silence off both ends, but for 100 ms."""
    levels = hop_levels_db(samples)
    loud = np.flatnonzero(levels > levels.max() + FLOOR_DB)
    start, end = max(0, int(loud[0]) - MARGIN_HOPS), int(loud[-1]) + 1 + MARGIN_HOPS
    return samples[start * HOP_SAMPLES : end * HOP_SAMPLES]


def synthesise_set(request: Request, out: Path, *, wanted: Sequence[str] = (), fresh: bool = False) -> int:
    """Speaks a request into a folder: shards, and `train.jsonl` as the sets of a data folder have it.

    Args:
        request: what to speak.
        out: the set's folder.
        wanted: engines to speak with; all that are installed if empty.
        fresh: whether to speak all anew.

    Returns:
        How many utterances were spoken now; those of an earlier run are kept.

    Raises:
        DataError: the folder holds another request's speech, or there is no engine.
    """
    engines = installed(wanted)
    asked: dict[str, Any] = json.loads(json.dumps({**asdict(request), "engines": engines}))
    marker = out / REQUEST
    if marker.exists() and not fresh and json.loads(marker.read_text(encoding="utf-8")) != asked:
        raise DataError(
            f"{out} holds speech of another request or other engines ({marker}): give another --out, or "
            "--fresh to speak all anew"
        )
    out.mkdir(parents=True, exist_ok=True)
    if fresh:
        # The list goes first: what is stopped in between must not leave texts that belong to other audio.
        for path in (out / "train.jsonl", *sorted(out.glob("part-*"))):
            path.unlink(missing_ok=True)
    marker.write_text(json.dumps(asked, indent=1) + "\n", encoding="utf-8")
    lines = plan(request)
    shards = [lines[start : start + SHARD] for start in range(0, len(lines), SHARD)]
    spoken = 0
    with Progress() as progress, ThreadPoolExecutor(max_workers=2) as pool:
        task = progress.add_task("speaking", total=len(lines))
        for number, shard in enumerate(shards):
            listing = out / f"part-{number:03d}.jsonl"
            if not listing.exists():
                spoken += len(shard)

                def say(line: Line) -> tuple[Floats, str]:
                    return speak_text(line.text, (request.seed, line.number, 2), engines, request.formants)

                _write_shard(shard, list(pool.map(say, shard)), out, listing)
            progress.update(task, advance=len(shard))
    parts = [out / f"part-{number:03d}.jsonl" for number in range(len(shards))]
    manifest = "".join(part.read_text(encoding="utf-8") for part in parts)
    with written_whole(out / "train.jsonl") as partial:
        partial.write_text(manifest, encoding="utf-8")
    return spoken


def _write_shard(
    lines: Sequence[Line], spoken: Sequence[tuple[Floats, str]], out: Path, listing: Path
) -> None:
    """Writes the audio, then the lines: a shard without lines is spoken anew."""
    gap, parts, entries, start = np.zeros(GAP_SAMPLES, np.float32), [], [], 0
    audio = listing.with_suffix(".flac")
    for line, (samples, voice) in zip(lines, spoken, strict=True):
        entry = {
            "id": f"{out.name}-{line.number}",
            "file": f"{out.name}/{audio.name}",
            "start": start / SAMPLE_RATE,
            "duration": len(samples) / SAMPLE_RATE,
            "speaker": f"synthetic-{voice}",
            ("text" if " " in line.text else "label"): line.text,
            "near_miss": line.near_miss,
        }
        entries.append(json.dumps(entry) + "\n")
        parts += [samples / max(1.0, float(np.abs(samples).max())), gap]
        start += len(samples) + GAP_SAMPLES
    soundfile.write(audio, np.concatenate(parts), SAMPLE_RATE, subtype="PCM_16")
    with written_whole(listing) as partial:
        partial.write_text("".join(entries), encoding="utf-8")
