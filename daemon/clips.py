"""Clips of wake phrases that were heard, and of what came near one, to learn from.

A `ClipTaker` per stream keeps the newest seconds of its audio and cuts a clip out once all of it is there; a
`ClipWriter` for all streams writes them from a thread of its own, so that no disk keeps the engine waiting.

Shape letters: N samples.
"""

import io
import json
import logging
import queue
import re
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from auricle.configs.section import samples
from auricle.configs.settings import ClipSettings
from auricle.daemon.detectors import Draft
from auricle.daemon.events import SAMPLE_RATE

logger = logging.getLogger(__name__)

Array = NDArray[np.float32]

NEAR: Final = "wake.near"
"""Type of a draft that is not published: a phrase was nearly heard."""
MOST_WAITING: Final = 16
"""Clips that may wait for the disk; more are dropped and counted."""
CLOSING_S: Final = 3.0
"""At the end the disk gets so long to take what is waiting."""
LONGEST_PHRASE_S: Final = 6.0
"""A phrase may begin so long before it is reported; of a longer one the clip lacks the beginning."""
_NAMED: Final = re.compile(
    r"\d{8}T\d{6}\.\d{3}Z_[A-Za-z0-9.-]+_(hit|near)_\d\.\d\d_[A-Za-z0-9.-]+\.(flac|wav)"
)


class Clip(NamedTuple):
    """Samples and what is known of them."""

    samples: Array  # (N,)
    stream: str
    start_sample: int
    wall_ns: int
    """When the clip begins, in ns since 1970."""
    draft: Draft

    @property
    def kind(self) -> str:
        """Whether the phrase was heard (`hit`) or not (`near`)."""
        return "near" if self.draft.type == NEAR else "hit"

    def stem(self) -> str:
        """Name of its files: time, phrase, kind, score, stream."""
        data = self.draft.data
        time = f"{self._time():%Y%m%dT%H%M%S}.{self._ms():03d}Z"
        return f"{time}_{_plain(data['phrase'])}_{self.kind}_{data['score']:.2f}_{_plain(self.stream)}"

    def details(self, file: str) -> dict[str, Any]:
        """What lies beside the audio: a line of a manifest, as the sets of a data folder have them."""
        data = self.draft.data
        return {
            "id": file.rpartition(".")[0],
            "file": file,
            "start": 0.0,
            "duration": round(len(self.samples) / SAMPLE_RATE, 4),
            "phrase": data["phrase"],
            "kind": self.kind,
            "score": data["score"],
            "stream": self.stream,
            "time": f"{self._time():%Y-%m-%dT%H:%M:%S}.{self._ms():03d}Z",
            "start_sample": self.start_sample,
            "phrase_start_sample": data["start_sample"],
            "phrase_end_sample": data["end_sample"],
            "model": self.draft.model,
        }

    def _time(self) -> datetime:
        return datetime.fromtimestamp(self.wall_ns // 1_000_000_000, UTC)

    def _ms(self) -> int:
        return self.wall_ns // 1_000_000 % 1000


def _plain(text: str) -> str:
    """Letters and digits of a text, for a file's name."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.")[-60:] or "x"


class ClipWriter:
    """Writes clips to a folder that never grows beyond its bounds; what goes wrong is logged, once."""

    def __init__(self, settings: ClipSettings, wait: bool = False) -> None:
        """Starts the thread.

        Args:
            settings: folder and bounds.
            wait: let `put` wait for the disk: for recordings, which have time.
        """
        self.settings = settings
        self._folder = Path(settings.folder).expanduser()
        self._wait, self._failing = wait, False
        self._late = self._told_late = self._failed = 0
        self._waiting: queue.Queue[Clip | None] = queue.Queue(MOST_WAITING)
        self._thread = threading.Thread(target=self._run, name="clips", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Clips that were not kept, because the disk was too slow or refused."""
        return self._late + self._failed

    def put(self, clip: Clip) -> None:
        """Takes a clip; never waits, unless told to."""
        try:
            self._waiting.put(clip, block=self._wait)
        except queue.Full:
            self._late += 1

    def close(self) -> None:
        """Writes what is waiting, unless the disk takes too long; may be called twice."""
        if self._thread.is_alive():
            with suppress(queue.Full):
                self._waiting.put(None, timeout=CLOSING_S)
                self._thread.join(CLOSING_S)

    def _run(self) -> None:
        self._try(None)
        while (clip := self._waiting.get()) is not None:
            self._failed += not self._try(clip)
            if self._waiting.empty():
                self._tell_late()
        self._tell_late()

    def _tell_late(self) -> None:
        """Tells of clips for which there was no room, once for those that were lost together."""
        if self._late > self._told_late:
            self._told_late = self._late
            logger.warning("%d clips were dropped so far: %s is too slow", self._late, self._folder)

    def _try(self, clip: Clip | None) -> bool:
        """Writes a clip, or only makes the folder; tells the first failure, and when it works again."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if clip is not None:
                self._write(clip)
                self._make_room()
        except (OSError, RuntimeError) as error:  # libsndfile's errors are RuntimeErrors
            if not self._failing:
                reason = error.strerror if isinstance(error, OSError) else str(error)
                logger.error(
                    "clips cannot be kept in %s: %s; check its disk and mode (clips.folder). The daemon goes "
                    "on, and tries again with the next clip",
                    self._folder,
                    reason,
                )
            self._failing = True
            return False
        if self._failing:
            logger.info("clips are kept in %s again; %d were lost", self._folder, self._failed)
        self._failing = False
        return True

    def _write(self, clip: Clip) -> None:
        """Writes details and audio, each whole or not at all, the audio last."""
        import soundfile

        name = f"{clip.stem()}.{self.settings.format}"
        audio, details = self._folder / name, self._folder / f"{clip.stem()}.json"
        partial = self._folder / f"{name}.partial"
        encoded = io.BytesIO()
        kept = np.clip(clip.samples, -1, 1)
        soundfile.write(encoded, kept, SAMPLE_RATE, "PCM_16", format=self.settings.format)
        try:
            for path, content in (
                (details, f"{json.dumps(clip.details(name))}\n".encode()),
                (audio, encoded.getvalue()),
            ):
                partial.touch(0o600)
                partial.write_bytes(content)
                partial.replace(path)
        except OSError:
            partial.unlink(missing_ok=True)
            if not audio.exists():
                details.unlink(missing_ok=True)
            raise

    def _make_room(self) -> None:
        """Removes the oldest clips, of this writer's making only, until the rest is within bounds."""
        stats = []
        for path in self._folder.iterdir():
            with suppress(FileNotFoundError):  # somebody took it away just now
                if _NAMED.fullmatch(path.name):
                    stat = path.stat()
                    stats.append((stat.st_mtime_ns, path.name, stat.st_size))
        stats.sort()
        total = sum(size for *_, size in stats)
        while len(stats) > self.settings.most_clips or total > self.settings.most_mb * 1e6:
            _, name, size = stats.pop(0)
            total -= size
            (self._folder / name).unlink(missing_ok=True)
            (self._folder / name).with_suffix(".json").unlink(missing_ok=True)


class ClipTaker:
    """Cuts clips out of one stream, on its sample clock."""

    def __init__(self, stream: str, writer: ClipWriter, wall_ns: Callable[[int], int]) -> None:
        """Takes where clips go, and what tells when a sample was captured."""
        settings = writer.settings
        self._stream, self._writer, self._wall_ns, self._hits = stream, writer, wall_ns, settings.hits
        self._before, self._after = samples(settings.before_ms), samples(settings.after_ms)
        self._kept = self._before + self._after + round(LONGEST_PHRASE_S * SAMPLE_RATE)
        self._begun: list[Draft] = []
        self._audio: deque[Array] = deque()
        self._start = self._end = 0  # of the audio kept

    def hear(self, heard: Array) -> None:
        """Takes the newest samples `(N,)`."""
        self._audio.append(heard)
        self._end += len(heard)
        while self._end - self._start - len(self._audio[0]) >= self._kept:
            self._start += len(self._audio.popleft())

    def follow(self, drafts: list[Draft]) -> list[Draft]:
        """Notes phrases that were heard, or nearly; returns what is to be published."""
        self._begun += [
            draft for draft in drafts if draft.type == NEAR or (draft.type == "wake" and self._hits)
        ]
        for draft in [draft for draft in self._begun if draft.data["end_sample"] + self._after <= self._end]:
            self._begun.remove(draft)
            self._cut(draft)
        return [draft for draft in drafts if draft.type != NEAR]

    def restart(self, position: int) -> None:
        """Cuts what was begun as far as it goes: the next sample, number `position`, follows no more."""
        for draft in self._begun:
            self._cut(draft)
        self._begun.clear()
        self._audio.clear()
        self._start = self._end = position

    def _cut(self, draft: Draft) -> None:
        start = max(self._start, draft.data["start_sample"] - self._before)
        end = min(self._end, draft.data["end_sample"] + self._after)
        if start < end:
            audio = np.concatenate(self._audio)[start - self._start : end - self._start]
            self._writer.put(Clip(audio, self._stream, start, self._wall_ns(start), draft))
