"""Synthetic words, for those of which too few recordings exist, and for near-misses of the keywords.

Engines: espeak-ng (accents times variants), flite and festival, whichever are installed
(Debian: `apt-get install espeak-ng flite festival festvox-kallpc16k festvox-kdlpc16k festvox-us-slt-hts`).
The result lies in the work folder like a decoded set of the corpus, named `synthetic`.
"""

import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from rich.progress import track

from auricle.configs.errors import DataError
from auricle.configs.whole import written_whole
from auricle.pipelines.corpus import SAMPLE_RATE, Clip, decoded_path, read_manifest, save_array
from auricle.pipelines.targets import Floats, find_word, hop_levels_db

SET = "synthetic"
ENGINES = ("espeak-ng", "flite", "text2wave")
ACCENTS = ("en-gb", "en-us", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029")
VARIANTS = (
    *(f"m{number}" for number in range(1, 9)),
    *(f"f{number}" for number in range(1, 6)),
    *"Andy Annie Diogo Gene Jacky Lee Mario Michael Mike Storm Tweaky linda steph belinda adam".split(),  # noqa: SIM905
    *"klatt klatt2 klatt4 anika iven max norbert pablo rob robert sandro travis victor john zac".split(),  # noqa: SIM905
)
FLITE_VOICES = ("kal16", "awb", "rms", "slt")
FESTIVAL_VOICES = ("voice_kal_diphone", "voice_ked_diphone", "voice_cmu_us_slt_arctic_hts")
MARGIN_SAMPLES = 1600
MARGIN_HOPS = 10


@dataclass(frozen=True)
class Utterance:
    """One word to speak: the engine's command with `{out}` where the file's name goes."""

    word: str
    voice: str
    command: tuple[str, ...]
    stdin: str = ""


def draw_utterance(word: str, rng: np.random.Generator, engines: tuple[str, ...]) -> Utterance:
    """Draws engine, voice, speed and pitch for a word; espeak-ng, which has most voices, most often."""
    odds = np.array([{"espeak-ng": 0.6, "flite": 0.25, "text2wave": 0.15}[engine] for engine in engines])
    engine = engines[rng.choice(len(engines), p=odds / odds.sum())]
    if engine == "espeak-ng":
        voice = f"{rng.choice(ACCENTS)}+{rng.choice(VARIANTS)}"
        speed, pitch = str(rng.integers(110, 220)), str(rng.integers(15, 90))
        return Utterance(
            word, voice, (engine, "-v", voice, "-s", speed, "-p", pitch, "-w", "{out}", "--", word)
        )
    if engine == "flite":
        voice = str(rng.choice(FLITE_VOICES))
        stretch, pitch = f"{rng.uniform(0.75, 1.35):.2f}", f"{rng.uniform(80, 230):.0f}"
        settings = (
            "--setf",
            f"duration_stretch={stretch}",
            "--setf",
            f"int_f0_target_mean={pitch}",
        )
        return Utterance(word, voice, (engine, "-voice", voice, *settings, "-t", word, "-o", "{out}"))
    voice = str(rng.choice(FESTIVAL_VOICES))
    stretch = f"(Parameter.set 'Duration_Stretch {rng.uniform(0.8, 1.3):.2f})"
    command = (engine, "-eval", f"({voice})", "-eval", stretch, "-o", "{out}")
    return Utterance(word, voice, command, stdin=word)


def render(utterance: Utterance) -> Floats | None:
    """Returns what the engine says, at 16 kHz, between margins of silence; None if it says nothing."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "word.wav"
        command = [part.replace("{out}", str(out)) for part in utterance.command]
        try:
            subprocess.run(
                command, input=utterance.stdin.encode(), capture_output=True, check=False, timeout=60
            )
        except subprocess.TimeoutExpired:
            return None
        if not out.exists() or out.stat().st_size < 1000:
            return None
        samples, rate = soundfile.read(out, dtype="float32", always_2d=True)
    mono = soxr.resample(samples[:, 0], rate, SAMPLE_RATE) if rate != SAMPLE_RATE else samples[:, 0]
    mono = np.pad(mono, MARGIN_SAMPLES)
    return np.asarray(mono, np.float32) if np.abs(mono).max() > 0.01 else None


def speak(utterance: Utterance) -> Floats | None:
    """Returns a word with 100 ms around it; None if the engine said nothing."""
    mono = render(utterance)
    if mono is None:
        return None
    word = find_word(hop_levels_db(mono))
    start, end = max(0, word.start - MARGIN_HOPS), word.end + MARGIN_HOPS
    return mono[start * 160 : end * 160]


def _utterances(wanted: Mapping[str, int], seed: int) -> Iterator[Utterance]:
    engines = tuple(engine for engine in ENGINES if shutil.which(engine))
    if not engines:
        raise DataError(
            f"no speech synthesiser found (looked for {', '.join(ENGINES)}): install one, or set "
            "data.synthetic=false in the recipe"
        )
    for index, (word, count) in enumerate(sorted(wanted.items())):
        rng = np.random.default_rng((seed, index))
        for _ in range(count):
            yield draw_utterance(word, rng, engines)


def synthesise(work: Path, wanted: Mapping[str, int], seed: int) -> list[Clip]:
    """Speaks words in many voices, once: a second call with the same request reads what the first wrote.

    Args:
        work: work folder of the corpus.
        wanted: how many times to speak each word.
        seed: decides voices, speeds and pitches.

    Returns:
        Clips that `Corpus.audio` can read, each with the word as `label` and the voice as `speaker`.
    """
    engines = [engine for engine in ENGINES if shutil.which(engine)]
    asked = json.dumps({"wanted": dict(sorted(wanted.items())), "seed": seed, "engines": engines})
    shard = f"{SET}-{hashlib.sha256(asked.encode()).hexdigest()[:12]}/train-000"
    decoded = decoded_path(work, shard)
    manifest = decoded.with_name("train.jsonl")
    if not manifest.exists():  # it is written last
        decoded.parent.mkdir(parents=True, exist_ok=True)
        utterances = list(_utterances(wanted, seed))
        with ThreadPoolExecutor(max_workers=2) as pool:
            spoken = list(track(pool.map(speak, utterances), "synthesising words", total=len(utterances)))
        lines, parts, start = [], [], 0
        for number, (utterance, samples) in enumerate(zip(utterances, spoken, strict=True)):
            if samples is None:
                continue
            lines.append(_line(number, utterance, shard, start, len(samples)))
            parts.append((samples / max(1.0, float(np.abs(samples).max())) * 32767).astype(np.int16))
            start += len(samples)
        save_array(decoded, np.concatenate(parts))
        with written_whole(manifest) as partial:
            partial.write_text("".join(lines))
    return read_manifest(manifest, SET, "train")


def _line(number: int, utterance: Utterance, shard: str, start: int, length: int) -> str:
    entry = {
        "id": f"{utterance.word}-{number}",
        "file": shard,
        "start": start / SAMPLE_RATE,
        "duration": length / SAMPLE_RATE,
        "speaker": f"synthetic-{utterance.voice}",
        "label": utterance.word,
    }
    return json.dumps(entry) + "\n"
