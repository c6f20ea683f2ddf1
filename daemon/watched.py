"""Whether a file is still the one that was read."""

from pathlib import Path

Stamp = tuple[int, int, int]


def stamp_of(path: Path) -> Stamp | None:
    """Another value once the file was written or replaced; None while there is none.

    Take it before the file is read: what changes after that is then seen.
    """
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size, found.st_ino)
