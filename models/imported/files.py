"""Model folders from elsewhere: which files they hold, and whether those are what they were.

A file `SHA256SUMS` (lines of `sha256sum`) in the folder is believed: every file that is used must be in it.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from auricle.configs.errors import ModelError

SUMS = "SHA256SUMS"
_BLOCK_BYTES = 1 << 20


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits.

    Raises:
        ModelError: it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
    except OSError as error:
        raise ModelError(f"cannot read model file {path}: {error}") from error
    return digest.hexdigest()


def verify(folder: Path, paths: Iterable[Path]) -> str:
    """Compares files with the folder's checksums, if it has any.

    Returns:
        Eight hexadecimal digits that name exactly these files.

    Raises:
        ModelError: a file differs, is not listed, or the list cannot be read.
    """
    found = {path: sha256(path) for path in paths}
    listed = read_sums(folder / SUMS)
    for path, digest in found.items():
        if listed is None:
            break
        if path.name not in listed:
            raise ModelError(f"{folder / SUMS} names no checksum for {path.name}; add it, or remove {SUMS}")
        if listed[path.name] != digest:
            raise ModelError(
                f"{path} is not what it was: its SHA-256 is {digest}, {SUMS} says {listed[path.name]}; "
                "fetch it again"
            )
    return hashlib.sha256("".join(found.values()).encode()).hexdigest()[:8]


def read_sums(path: Path) -> dict[str, str] | None:
    """Checksums by file name; None if there is no such list.

    Raises:
        ModelError: a line is no checksum and name.
    """
    if not path.is_file():
        return None
    sums = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        digest, _, name = line.strip().partition(" ")
        if not line.strip():
            continue
        if len(digest) != 64 or not name.strip():
            raise ModelError(f"{path}:{number}: expected a SHA-256 and a file name, as sha256sum writes them")
        sums[name.strip().lstrip("*").removeprefix("./")] = digest.lower()
    return sums


def write_sums(folder: Path, paths: Iterable[Path]) -> None:
    """Writes down what files are now."""
    lines = [f"{sha256(path)}  {path.name}\n" for path in paths]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def find_one(folder: Path, role: str, pattern: str) -> Path:
    """Finds the one file of a role; of several precisions the full one is taken.

    Args:
        folder: where to look.
        role: what the file is, for messages.
        pattern: as in `Path.glob`.

    Raises:
        ModelError: there is none, or more than one.
    """
    found = sorted(folder.glob(pattern))
    full = [path for path in found if ".int8." not in path.name and ".fp16." not in path.name]
    found = full or found
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise ModelError(f"{folder}: expected one {role} ({pattern}), found {names}")
    return found[0]
