"""Whether a file is still the one that was read."""

import time
from pathlib import Path
from typing import Final

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
