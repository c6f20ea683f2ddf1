"""Files that are read again while the daemon runs: whether they have changed, and the reading of them."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Generic, TypeVar

from auricle.configs.errors import AuricleError

T = TypeVar("T")

logger = logging.getLogger(__name__)

Stamp = tuple[int, int, int]

QUIET_S: Final = 0.3
"""A file is read once it has not changed for so long: editors write in several steps."""


def stamp_of(path: Path) -> Stamp | None:
    """Another value once the file was written or replaced; None while there is none.

    Take it before the file is read: what changes after that is then seen.
    """
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size, found.st_ino)


class WatchedFile:
    """A file to be read again when it has changed; made before it is read, so that no change is missed."""

    def __init__(self, path: Path | None) -> None:
        """Remembers how the file is now; without a path, nothing ever changes."""
        self.path = path
        self._read = self._newest = self._look()
        self._newest_s = 0.0

    def has_changed(self) -> bool:
        """Whether it is to be read: it is another than the one last read, and quiet now.

        To be asked some ten times a second; each change is told once. One that is gone is being replaced.
        """
        stamp, now_s = self._look(), time.monotonic()
        if stamp != self._newest:
            self._newest, self._newest_s = stamp, now_s
        if stamp is None or stamp == self._read or now_s - self._newest_s < QUIET_S:
            return False
        self._read = stamp
        return True

    def take(self) -> None:
        """Takes note that it is read as it is now, quiet or not."""
        self._read = self._look()

    def _look(self) -> Stamp | None:
        return None if self.path is None else stamp_of(self.path)


class Rereading(Generic[T]):
    """Slow work in a thread of its own; what came of it is taken by who asks, between two chunks."""

    def __init__(self, what: str) -> None:
        """Takes what is read, such as "the grammar", as messages are to call it."""
        self._what = what
        self._thread: threading.Thread | None = None
        self._found: T | AuricleError | None = None

    @property
    def is_idle(self) -> bool:
        """Whether `start` may be called: nothing is under way, and all that was found is taken."""
        return self._thread is None

    def start(self, work: Callable[[], T]) -> None:
        """Begins to work."""
        self._thread = threading.Thread(target=self._run, args=(work,), name=self._what, daemon=True)
        self._thread.start()

    def poll(self) -> T | AuricleError | None:
        """What came of it, or why nothing did, once; None before that. Never waits."""
        if self._thread is None or self._thread.is_alive():
            return None
        self._thread = None
        found, self._found = self._found, None
        if isinstance(found, AuricleError):
            logger.error("%s stays as it was: %s", self._what, found)
        return found

    def _run(self, work: Callable[[], T]) -> None:
        try:
            self._found = work()
        except AuricleError as error:
            self._found = error
        except Exception as error:  # whatever it is, the daemon goes on as it was
            logger.exception("%s could not be read again", self._what)
            self._found = AuricleError(f"{self._what} could not be read again: {error!r}; see the log")
