"""A user's own recordings of words: found in a folder, checked, brought to 16 kHz, split by speaker.

The folder has a sub-folder for each word with one recording of it per file, as Speech Commands has:
`lamp/ann_nohash_0.wav` is the first recording of "lamp" by ann. Other sub-folders hold other words, which the
model must not take for these; `_background_noise_` holds noise. Or it holds a manifest, `train.jsonl`, as the
sets of a data folder do (`file` relative to the folder).
"""

import hashlib
import logging
import re
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr
from rich.progress import track

from auricle.configs.errors import DataError
from auricle.pipelines.corpus import (
    SAMPLE_RATE,
    Clip,
    Samples,
    decoded_path,
    read_manifest,
    save_array,
    stamp,
)

logger = logging.getLogger(__name__)

SET = "own"
NOISE = "_background_noise_"
SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".opus", ".mp3"})
SPEAKER = re.compile(r"(.+?)_nohash_\d+")
LEAST_RATE = 8000
SHORTEST_S, LONGEST_S = 0.15, 5.0
LEAST_RECORDINGS = 5
"""Of each word: fewer cannot be divided into some to learn from and some to judge by."""
DEV_SHARE = 0.15
MOST_ASIDE = 0.5
"""Of the recordings of a word; more only where it cannot be otherwise."""
QUIETEST = 10
"""A recording whose highest sample (of 32,767) is below this holds nothing."""
SHOWN = 5


class Recording(NamedTuple):
    """Where a recording lies and what is said in it."""

    path: Path
    label: str
    speaker: str
    start_s: float = 0.0
    seconds: float | None = None
    """None for the rest of the file."""


class OwnRecordings(NamedTuple):
    """Clips that `Corpus.audio` can read."""

    train: list[Clip]
    dev: list[Clip]
    noise: list[Clip]


def gather(folder: Path, words: Sequence[str], work: Path) -> OwnRecordings:
    """Reads a folder of recordings into the work folder; a second call reads what the first wrote.

    Args:
        folder: as above.
        words: the words to spot, lower case.
        work: work folder of the corpus.

    Raises:
        DataError: a word has too few recordings, or some cannot be used; they are named.
    """
    found = list_recordings(folder)
    for word in words:
        count = sum(one.label == word for one in found)
        if count < LEAST_RECORDINGS:
            labels = ", ".join(sorted({one.label for one in found} - {NOISE})) or "nothing"
            raise DataError(
                f"expected at least {LEAST_RECORDINGS} recordings of '{word}' in {folder / word}, found "
                f"{count} (there are recordings of {labels}); fifty by several people are a good start"
            )
    state = [(str(one.path.relative_to(folder)), *one[1:], *stamp(one.path)) for one in found]
    digest = hashlib.sha256(repr(state).encode()).hexdigest()[:12]
    shard = f"{SET}-{digest}/recordings.flac"
    decoded = decoded_path(work, shard)
    lengths = decoded.with_name("lengths.npy")
    if not (decoded.exists() and lengths.exists()):
        audio = _read_all(found)
        decoded.parent.mkdir(parents=True, exist_ok=True)
        save_array(decoded, np.concatenate(audio))
        save_array(lengths, [len(samples) for samples in audio])
    clips = _clips(found, np.load(lengths), shard, folder)
    spoken = [clip for clip in clips if clip.label != NOISE]
    train, dev = divide(spoken, words)
    return OwnRecordings(train, dev, [clip for clip in clips if clip.label == NOISE])


def list_recordings(folder: Path) -> list[Recording]:
    """Lists all recordings in a folder, sorted.

    Raises:
        DataError: there is no such folder, or nothing in it.
    """
    if not folder.is_dir():
        raise DataError(
            f"no folder {folder}: give the folder with a sub-folder for each word to --recordings"
        )
    if (folder / "train.jsonl").exists():
        found = _listed(folder)
    else:
        found = [
            Recording(path, _label(path.parent.name), _speaker(path.stem))
            for path in sorted(folder.glob("*/*"))
            if path.suffix.lower() in SUFFIXES
        ]
    if not found:
        kinds = ", ".join(sorted(SUFFIXES))
        raise DataError(
            f"no recordings in {folder}: expected {folder}/WORD/*.wav (or {kinds}), or train.jsonl"
        )
    return found


def _listed(folder: Path) -> list[Recording]:
    clips = read_manifest(folder / "train.jsonl", SET, "train")
    found = [
        Recording(
            folder / clip.shard,
            _label(clip.label or clip.text),
            clip.speaker,
            clip.start_sample / SAMPLE_RATE,
            clip.seconds,
        )
        for clip in clips
    ]
    if missing := sorted({str(one.path) for one in found if not one.path.exists()}):
        raise DataError(
            f"{folder / 'train.jsonl'} names files that are not there: {', '.join(missing[:SHOWN])}"
        )
    return found


def _label(name: str) -> str:
    return name if name == NOISE else name.lower().replace("_", " ").strip()


def _speaker(stem: str) -> str:
    match = SPEAKER.fullmatch(stem)
    return match[1] if match else ""


def _read_all(found: Sequence[Recording]) -> list[Samples]:
    """Reads all recordings, and names all that cannot be used."""
    audio, problems = [], []
    for one in track(found, "reading recordings"):
        try:
            audio.append(read_recording(one))
        except DataError as error:
            problems.append(str(error))
    if problems:
        more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise DataError(
            f"{len(problems)} of {len(found)} recordings cannot be used: {'; '.join(problems[:SHOWN])}{more}"
            "; record them again, or take them out of the folder"
        )
    return audio


def read_recording(recording: Recording) -> Samples:
    """Reads one recording as 16 kHz mono, with shape `(N,)`.

    Raises:
        DataError: it cannot be read, is sampled too slowly, or is too short, too long or empty.
    """
    path = recording.path
    try:
        with soundfile.SoundFile(path) as file:
            rate = file.samplerate
            file.seek(min(round(recording.start_s * rate), file.frames))
            count = -1 if recording.seconds is None else round(recording.seconds * rate)
            samples = file.read(count, dtype="float32", always_2d=True).mean(1)
    except (OSError, RuntimeError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    if rate < LEAST_RATE:
        raise DataError(f"{path}: {rate} Hz, expected {LEAST_RATE} or more ({SAMPLE_RATE} is best)")
    seconds = len(samples) / rate
    if recording.label != NOISE and not SHORTEST_S <= seconds <= LONGEST_S:
        raise DataError(f"{path}: {seconds:.2f} s, expected {SHORTEST_S} to {LONGEST_S} s with one word")
    if rate != SAMPLE_RATE:
        samples = soxr.resample(samples, rate, SAMPLE_RATE)
    scaled: Samples = np.clip(np.rint(samples * 32767), -32768, 32767).astype(np.int16)
    if not len(scaled) or int(np.abs(scaled.astype(np.int32)).max()) < QUIETEST:
        raise DataError(f"{path}: nothing to be heard in it")
    return scaled


def _clips(found: Sequence[Recording], lengths: Sequence[int], shard: str, folder: Path) -> list[Clip]:
    clips, start = [], 0
    for number, (one, length) in enumerate(zip(found, lengths, strict=True)):
        name = f"{one.path.relative_to(folder)}-{number}"
        clips.append(Clip(name, SET, "train", shard, start, int(length), one.speaker, label=one.label))
        start += int(length)
    return clips


def divide(clips: Sequence[Clip], words: Sequence[str]) -> tuple[list[Clip], list[Clip]]:
    """Puts about 15 % aside to judge by: whole speakers where all are known, else recording by recording.

    Nobody is put aside whose recordings are all that there is of a word.
    """
    if all(clip.speaker for clip in clips) and len({clip.speaker for clip in clips}) > 1:
        keys = [clip.speaker for clip in clips]
    else:
        logger.warning(
            "who speaks is not known (expected names like ann_nohash_0.wav, two speakers or more): the same "
            "voices are learnt from and judged by, so figures on dev are better than strangers will find"
        )
        keys = [clip.id for clip in clips]
    said = {key: Counter[str]() for key in keys}
    for clip, key in zip(clips, keys, strict=True):
        said[key][clip.label] += 1
    aside = _put_aside(said, words, MOST_ASIDE)
    if not aside and (aside := _put_aside(said, words, 1.0)):
        logger.warning(
            "most recordings of a word are by one speaker, who is put aside to judge by: little is left to "
            "learn from, and recordings of each word by more people would help"
        )
    train = [clip for clip, key in zip(clips, keys, strict=True) if key not in aside]
    dev = [clip for clip, key in zip(clips, keys, strict=True) if key in aside]
    if not dev:
        raise DataError("all recordings of a word are by one speaker: add another, or drop speakers' names")
    return train, dev


def _put_aside(said: Mapping[str, Counter[str]], words: Sequence[str], most: float) -> set[str]:
    """Chooses whose recordings to judge by: those who made few come first.

    Args:
        said: how often each speaker said each word.
        words: the words that must be in both parts.
        most: the largest share of a word's recordings that may be put aside; one is left in any case.
    """
    total = {word: sum(own[word] for own in said.values()) for word in words}
    taken = Counter[str]()
    aside = set()
    for key in sorted(said, key=lambda key: (said[key].total(), zlib.crc32(key.encode()))):
        own = said[key]
        wanted = any(own[word] and taken[word] < DEV_SHARE * total[word] for word in words)
        after = {word: taken[word] + own[word] for word in words}
        if wanted and all(after[word] <= min(most * total[word], total[word] - 1) for word in words):
            aside.add(key)
            taken.update(own)
    return aside
