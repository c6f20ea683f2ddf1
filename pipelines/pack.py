"""Training data in parts of limited size, for a machine without network: packed, checked, unpacked.

A part is a plain tar file. `index.json` beside the parts names them with their SHA-256 and lists every file
with its own. Both packing and unpacking go on where they were stopped; a file or part is there whole or not
at all.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from rich.progress import track

from auricle.configs.errors import DataError
from auricle.configs.whole import written_whole
from auricle.models.lexicon import FILE_NAME, Lexicon, lexicon_text
from auricle.pipelines.corpus import (
    MISPLACED_SPEAKERS,
    SPLITS,
    Clip,
    Corpus,
    read_manifest,
    shared_between_splits,
)

INDEX_NAME = "index.json"
FORMAT = "auricle.pack/1"
MEGABYTE = 1_000_000
TAR_BLOCK = 512
TAR_END = 20 * TAR_BLOCK
"""A tar file ends with zeros, up to so many bytes."""
READ_BYTES = 1 << 20


@dataclass(frozen=True)
class Packed:
    """A file in a part."""

    path: str
    """Relative to the data folder."""
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Part:
    """A tar file."""

    name: str
    sha256: str
    files: tuple[Packed, ...]


class Index(NamedTuple):
    """What a folder of parts says of itself."""

    parts: list[Part]
    is_complete: bool
    """Whether packing came to its end."""


@dataclass(frozen=True)
class Item:
    """A file to be packed: on disk, or made for the occasion."""

    path: str
    source: Path | None = None
    content: bytes = b""

    @property
    def size(self) -> int:
        """Bytes."""
        return self.source.stat().st_size if self.source else len(self.content)

    def read(self) -> bytes:
        """All of it."""
        return self.source.read_bytes() if self.source else self.content


def list_items(corpus: Corpus, sets: Sequence[str], splits: Sequence[str]) -> list[Item]:
    """Lists manifests, shards, rooms, README (licences) and a lexicon of all words in the manifests.

    Args:
        corpus: the data folder; it refuses splits that it was not opened for.
        sets: names of sets; empty for all of them.
        splits: which of train, dev and eval.

    Raises:
        DataError: there is nothing to pack, a set is unknown, or a split is refused.
    """
    names = sets or sorted(path.name for path in corpus.data.iterdir() if any(path.glob("*.jsonl")))
    clips = [clip for name in names for split in splits for clip in corpus.clips(name, split)]
    if not clips:
        where = ", ".join(names) or str(corpus.data)
        raise DataError(f"nothing to pack: {where} has no clips of {', '.join(splits)}")
    manifests = [
        path for name in names for split in splits if (path := corpus.data / name / f"{split}.jsonl").exists()
    ]
    others = [*sorted(corpus.data.glob("README*")), *sorted((corpus.data / "rooms").glob("*.flac"))]
    paths = [*manifests, *(corpus.data / shard for shard in sorted({clip.shard for clip in clips})), *others]
    texts = {clip.text for clip in clips} | {
        clip.label for clip in clips if clip.label.isascii() and clip.label.isalpha()
    }
    lexicon = lexicon_text(Lexicon.of_folder(corpus.data), texts)
    items = [Item(path.relative_to(corpus.data).as_posix(), path) for path in dict.fromkeys(paths)]
    return [Item(FILE_NAME, content=lexicon.encode()), *items]


def deal(items: Iterable[Item], limit: int) -> list[list[Item]]:
    """Deals items out to parts below a limit in bytes, in their order.

    Raises:
        DataError: one of them is too large for any part.
    """
    parts: list[list[Item]] = [[]]
    filled = TAR_END
    for item in items:
        size = 3 * TAR_BLOCK + -(-item.size // TAR_BLOCK) * TAR_BLOCK
        if size + TAR_END > limit:
            raise DataError(
                f"{item.path} has {item.size / MEGABYTE:.1f} MB, too much for parts of "
                f"{limit / MEGABYTE:g} MB: raise --part-mb, or cut the shard"
            )
        if filled + size > limit:
            parts.append([])
            filled = TAR_END
        parts[-1].append(item)
        filled += size
    return parts


def pack(corpus: Corpus, out: Path, part_mb: float, sets: Sequence[str], splits: Sequence[str]) -> list[Part]:
    """Writes the parts and their index; parts that are there and right are left alone.

    Args:
        corpus: the data folder.
        out: folder for the parts.
        part_mb: the largest size of a part, in millions of bytes.
        sets: which sets; empty for all.
        splits: which splits.
    """
    out.mkdir(parents=True, exist_ok=True)
    before = {part.name: part for part in read_index(out).parts} if (out / INDEX_NAME).exists() else {}
    dealt = deal(list_items(corpus, sets, splits), int(part_mb * MEGABYTE))
    parts: list[Part] = []
    for number, items in enumerate(track(dealt, description="packing")):
        name = f"part-{number:03d}.tar"
        files = tuple(_packed(item) for item in items)
        old = before.get(name)
        if old and old.files == files and _intact(out / name, old.sha256):
            parts.append(old)
        else:
            parts.append(Part(name, _write_part(out / name, items), files))
        # Written after every part: a packing that was stopped knows what it has.
        kept = [part for other, part in before.items() if other not in {done.name for done in parts}]
        is_last = number + 1 == len(dealt)
        _write_index(out, parts if is_last else [*parts, *kept], is_complete=is_last)
    for stale in sorted(set(before) - {part.name for part in parts}):
        (out / stale).unlink(missing_ok=True)
    return parts


def unpack(source: Path, data: Path) -> int:
    """Checks all parts and unpacks the files that are not there yet.

    Args:
        source: folder of the parts and their index.
        data: the data folder to make.

    Returns:
        How many files were written.

    Raises:
        DataError: parts are missing or damaged, and all of them are named; or packing was stopped.
    """
    index = read_index(source)
    written, bad = 0, []
    for part in track(index.parts, description="unpacking"):
        missing = [file for file in part.files if not _intact(_inside(data, file.path), file.sha256)]
        if not missing:
            continue
        if not _intact(source / part.name, part.sha256):
            bad.append(part.name)
            continue
        written += _extract(source / part.name, missing, data)
    if bad:
        raise DataError(
            f"missing or damaged in {source}: {', '.join(bad)}; copy them again (the others are unpacked; "
            "the same command goes on)"
        )
    if not index.is_complete:
        raise DataError(
            f"{source} was not packed to the end: {len(index.parts)} parts are there, and unpacked; run "
            "`auricle data pack` again, copy what it adds, and unpack that"
        )
    return written


def read_index(folder: Path) -> Index:
    """Reads the list of parts.

    Raises:
        DataError: there is none, or it is of another format.
    """
    path = folder / INDEX_NAME
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        if table["format"] != FORMAT:
            raise DataError(f"{path} has format '{table['format']}', expected '{FORMAT}': pack again")
        parts = [
            Part(part["name"], part["sha256"], tuple(Packed(**file) for file in part["files"]))
            for part in table["parts"]
        ]
        return Index(parts, bool(table.get("complete", True)))
    except OSError as error:
        raise DataError(f"no {path}: give the folder that `auricle data pack` wrote") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is no index of parts ({error!r}): copy it again") from error


def check_splits(data: Path) -> list[str]:
    """Lists speakers, sentences and clips that are in two splits, over all sets and manifests of a folder."""
    clips: list[Clip] = []
    for path in sorted(data.glob("*/*.jsonl")):
        if path.stem in SPLITS:
            clips += read_manifest(path, path.parent.name, path.stem)
    if not clips:
        raise DataError(f"no manifests in {data}: expected SET/train.jsonl and others; see docs/training.md")
    used = [clip for clip in clips if clip.split != "train" or clip.speaker not in MISPLACED_SPEAKERS]
    return shared_between_splits(used)


def _packed(item: Item) -> Packed:
    content = item.read()
    return Packed(item.path, len(content), hashlib.sha256(content).hexdigest())


def _write_part(path: Path, items: Sequence[Item]) -> str:
    """Writes a part with nothing in it but names and content; returns its SHA-256."""
    with written_whole(path) as partial, tarfile.open(partial, "w", format=tarfile.USTAR_FORMAT) as tar:
        for item in items:
            entry = tarfile.TarInfo(item.path)
            content = item.read()
            entry.size, entry.mode = len(content), 0o644
            tar.addfile(entry, io.BytesIO(content))
    return _sha256(path)


def _extract(path: Path, files: Sequence[Packed], data: Path) -> int:
    with tarfile.open(path) as tar:
        for file in files:
            member = tar.extractfile(file.path)
            content = member.read() if member else b""
            if hashlib.sha256(content).hexdigest() != file.sha256:
                raise DataError(f"{file.path} in {path} is not what the index says: pack again")
            target = _inside(data, file.path)
            with written_whole(target) as partial:
                partial.write_bytes(content)
    return len(files)


def _inside(data: Path, path: str) -> Path:
    """The place of a packed file, which must lie in the data folder."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts:
        raise DataError(f"refused to unpack {path}: it leads out of the data folder")
    return data / path


def _intact(path: Path, sha256: str) -> bool:
    return path.is_file() and _sha256(path) == sha256


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _write_index(out: Path, parts: Sequence[Part], *, is_complete: bool) -> None:
    table = {"format": FORMAT, "complete": is_complete, "parts": [asdict(part) for part in parts]}
    with written_whole(out / INDEX_NAME) as partial:
        partial.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
