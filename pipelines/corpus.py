"""Speech and noise on disk: manifests, and shards decoded once into memory-mapped samples.

A data folder holds one folder per set (`librispeech`, `noise`, ...), each with a JSON Lines manifest per
split and Ogg Opus shards of many clips. A line of a manifest needs `id`, `file`, `start` and `duration`
(seconds); `speaker`, `text` or `label` where known; anything else is kept in `Clip.details`.

The splits are a promise: `train` to learn from, `dev` to choose with, `eval` to report on. A `Corpus` opened
for training refuses `eval` outright.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray
from rich.progress import track

from auricle.configs.errors import DataError
from auricle.configs.whole import written_whole

SAMPLE_RATE = 16_000
SPLITS = ("train", "dev", "eval")
TRAINING_SPLITS = ("train", "dev")
SPOKEN_SENTENCES = ("commonvoice",)
"""Sets without speakers, whose splits promise instead to share no sentence."""
MISPLACED_SPEAKERS = frozenset({"wuw377", "wuw684", "wuw869"})
"""Speakers found in `train` of wuw2 and in its `dev` or `eval` as well: left out of `train`."""

Samples = NDArray[np.int16]


@dataclass(frozen=True)
class Clip:
    """One recording inside a shard."""

    id: str
    set: str
    split: str
    shard: str
    """Path of the shard, relative to the data folder."""
    start_sample: int
    length_samples: int
    speaker: str = ""
    text: str = ""
    """Lower-case words, where the clip holds speech with a known text."""
    label: str = ""
    """The word or sound, where the clip holds one thing."""
    details: Mapping[str, Any] = field(default_factory=dict, compare=False, hash=False)

    @property
    def words(self) -> tuple[str, ...]:
        """The words spoken, from `text` or else from `label`."""
        return tuple((self.text or self.label).split())

    @property
    def speaker_or_id(self) -> str:
        """Whose recordings are alike: the speaker's, or, where that is not known, this one alone."""
        return self.speaker or f"clip {self.id}"

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return self.length_samples / SAMPLE_RATE


def recordings_digest(clips: Iterable[Clip]) -> str:
    """Tells sets of recordings apart, whatever their order and wherever they lie: 16 letters."""
    lines = {f"{clip.set} {clip.id} {clip.length_samples} {clip.text}|{clip.label}\n" for clip in clips}
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()[:16]


def manifests_digest(data: Path) -> str:
    """Tells data folders apart by what their manifests list to learn from and to choose with: 16 letters."""
    digest = hashlib.sha256()
    for path in sorted(path for split in TRAINING_SPLITS for path in data.glob(f"*/{split}.jsonl")):
        digest.update(f"{path.parent.name}/{path.name}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


class Corpus:
    """Reads clips of a data folder, decoding shards into a work folder as they are first needed."""

    def __init__(self, data: Path, work: Path, *, allow_eval: bool = False) -> None:
        """Opens a data folder.

        Args:
            data: folder of the sets.
            work: folder for decoded samples; may be shared by several runs.
            allow_eval: whether `eval` may be read. Training never passes True.

        Raises:
            DataError: there is no such data folder.
        """
        if not data.is_dir():
            raise DataError(
                f"no data folder at {data}: give the folder that holds the sets (librispeech, noise, ...) "
                "with --data"
            )
        self.data, self.work = data, work
        self.splits = SPLITS if allow_eval else TRAINING_SPLITS
        self._shards: dict[str, Samples] = {}

    def clips(self, name: str, split: str) -> list[Clip]:
        """Reads the manifest of one split of one set; empty if the set has no such split.

        Raises:
            DataError: the split is not allowed here, or the set or a line of its manifest is wrong.
        """
        if split not in self.splits:
            raise DataError(
                f"refused to read split '{split}' of {name}: this corpus was opened for "
                f"{' and '.join(self.splits)}; 'eval' is only for final figures"
            )
        folder = self.data / name
        if not folder.is_dir():
            sets = ", ".join(sorted(path.name for path in self.data.iterdir() if path.is_dir()))
            raise DataError(f"no set '{name}' in {self.data}: it holds {sets or 'nothing'}; see its README")
        manifest = folder / f"{split}.jsonl"
        clips = read_manifest(manifest, name, split) if manifest.exists() else []
        if split == "train":
            clips = [clip for clip in clips if clip.speaker not in MISPLACED_SPEAKERS]
        return clips

    def audio(self, clip: Clip) -> Samples:
        """Returns the clip's samples, a read-only view `(N,)` of its decoded shard."""
        shard = self._shards.get(clip.shard)
        if shard is None:
            shard = self._shards[clip.shard] = np.load(self._decode(clip.shard), mmap_mode="r")
        samples = shard[clip.start_sample : clip.start_sample + clip.length_samples]
        if not len(samples):
            raise DataError(
                f"clip {clip.set}/{clip.id} starts beyond the end of {clip.shard}: "
                f"delete {self._decoded(clip.shard)}, or fetch the shard and its manifest again"
            )
        return samples

    def decode(self, clips: Iterable[Clip], description: str = "decoding") -> None:
        """Decodes all shards that `clips` lie in, with a progress bar; those done before are skipped."""
        shards = sorted({clip.shard for clip in clips})
        missing = [shard for shard in shards if not _is_decoded(self._decoded(shard), self.data / shard)]
        for shard in track(missing, description=description, disable=not missing):
            self._decode(shard)

    def rooms(self) -> dict[str, NDArray[np.float32]]:
        """Reads the measured room responses by name, each mono with shape `(N,)`."""
        paths = sorted((self.data / "rooms").glob("*.flac"))
        if not paths:
            raise DataError(f"no room responses in {self.data / 'rooms'}: expected *.flac, 16 kHz")
        rooms = {}
        for path in paths:
            samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
            if rate != SAMPLE_RATE:
                raise DataError(f"{path} has {rate} Hz, expected {SAMPLE_RATE}: resample it")
            rooms[path.stem] = np.ascontiguousarray(samples[:, 0])
        return rooms

    def _decoded(self, shard: str) -> Path:
        return decoded_path(self.work, shard)

    def _decode(self, shard: str) -> Path:
        """Decodes one shard unless that was done before; the file appears whole or not at all."""
        source, target = self.data / shard, self._decoded(shard)
        if _is_decoded(target, source):
            return target
        try:
            samples, rate = soundfile.read(source, dtype="int16")
        except (OSError, soundfile.SoundFileError) as error:
            raise DataError(
                f"cannot decode shard {source}: {error}; fetch the data folder again, or leave the set "
                "out of the recipe"
            ) from error
        if rate != SAMPLE_RATE or samples.ndim != 1:
            raise DataError(f"{source} has {rate} Hz, shape {samples.shape}; expected {SAMPLE_RATE} Hz mono")
        target.parent.mkdir(parents=True, exist_ok=True)
        # Two runs that share a work folder may decode the same shard at the same time.
        save_array(target, samples)
        with written_whole(_stamp_path(target)) as partial:
            partial.write_text(repr(stamp(source)), encoding="utf-8")
        return target


def decoded_path(work: Path, shard: str) -> Path:
    """Where the samples of a shard are kept: inside the work folder, wherever the shard lies."""
    path = Path(shard)
    if path.is_absolute() or ".." in path.parts:
        path = Path("elsewhere", f"{hashlib.sha256(shard.encode()).hexdigest()[:12]}-{path.name}")
    return work / "audio" / path.with_name(f"{path.name}.npy")


def save_array(path: Path, values: Any) -> None:
    """Writes an array whole or not at all: what was stopped, or found no room, is not taken for it."""
    with written_whole(path) as partial, partial.open("wb") as file:
        np.save(file, values)


def _stamp_path(decoded: Path) -> Path:
    """What tells which file was decoded lies beside the samples."""
    return decoded.with_name(f"{decoded.name}.source")


def stamp(path: Path) -> tuple[int, int]:
    """Bytes and time (ns) of a file, by which it is told from another in its place."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _is_decoded(decoded: Path, source: Path) -> bool:
    """Whether it was this very file that was decoded; one that is not there any more was.

    Two data folders may share a work folder, and have shards of the same name.
    """
    if not decoded.exists():
        return False
    if not source.exists():
        return True
    kept = _stamp_path(decoded)
    if not kept.exists():  # decoded by a version that kept none
        return decoded.stat().st_mtime_ns >= source.stat().st_mtime_ns
    return kept.read_text(encoding="utf-8") == repr(stamp(source))


def read_manifest(path: Path, name: str, split: str) -> list[Clip]:
    """Reads a manifest.

    Raises:
        DataError: the file cannot be read; or a line is not JSON, lacks a field, or has a start below or a
            duration not above 0, and the message gives its number.
    """
    clips = []
    try:
        lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}; expected JSON lines in UTF-8") from error
    for number, line in enumerate(lines if lines != [""] else [], start=1):
        try:
            clips.append(_parse(json.loads(line), name, split))
        except (KeyError, ValueError, TypeError, AttributeError, OverflowError) as error:
            problem = f"no JSON ({error.msg})" if isinstance(error, json.JSONDecodeError) else str(error)
            if isinstance(error, KeyError):
                problem = f"it has no {error}"
            raise DataError(
                f"{path}, line {number}: {problem}; a line needs id, file, start and duration (seconds)"
            ) from error
    return clips


def _parse(entry: dict[str, Any], name: str, split: str) -> Clip:
    def take(key: str) -> str:
        return str(entry.pop(key, "") or "")

    start, duration = float(entry.pop("start")), float(entry.pop("duration"))
    if not (start >= 0 and duration > 0):
        raise ValueError(f"start {start:g}, duration {duration:g}")
    return Clip(
        id=str(entry.pop("id")),
        set=name,
        split=split,
        shard=str(entry.pop("file")),
        start_sample=round(start * SAMPLE_RATE),
        length_samples=round(duration * SAMPLE_RATE),
        speaker=take("speaker"),
        text=take("text"),
        label=take("label"),
        details=entry,
    )


def shared_between_splits(clips: Iterable[Clip]) -> list[str]:
    """Lists what must not be, but is, in more than one split.

    Args:
        clips: all clips of one or several sets, of all splits.

    Returns:
        One line for each speaker, sentence (in sets without speakers) or clip in two splits; empty if
        all is well.
    """
    seen: dict[tuple[str, str], set[str]] = {}
    for clip in clips:
        keys = [("clip", f"{clip.set}/{clip.id}")]
        if clip.speaker:
            keys.append(("speaker", clip.speaker))
        elif clip.set in SPOKEN_SENTENCES:
            keys.append(("sentence", clip.text))
        for key in keys:
            seen.setdefault(key, set()).add(clip.split)
    return [
        f"{kind} '{value}' is in {', '.join(sorted(splits))}"
        for (kind, value), splits in sorted(seen.items())
        if len(splits) > 1
    ]
