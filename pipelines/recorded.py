"""Recordings of one's own to judge by: a manifest, and the files that lie beside it."""

import hashlib
from pathlib import Path
from typing import NamedTuple

from auricle.configs.errors import DataError
from auricle.pipelines.corpus import Clip, Corpus, read_manifest

RECORDED = "recorded"
"""What such recordings are called where others have the name of their set, and of their split."""


class Recorded(NamedTuple):
    """The clips of a manifest, and the corpus that their samples are read from."""

    corpus: Corpus
    clips: list[Clip]


def read_recorded(manifest: Path, work: Path) -> Recorded:
    """Reads a manifest whose files lie beside it.

    Args:
        manifest: JSON Lines with `id`, `file`, `start` and `duration`, and what is to be judged by.
        work: folder for decoded samples.

    Raises:
        DataError: there is no such file, it is empty, or a line is malformed.
    """
    if not manifest.is_file():
        raise DataError(f"no manifest at {manifest}: expected a file of JSON lines, beside the recordings")
    clips = read_manifest(manifest, RECORDED, RECORDED)
    if not clips:
        raise DataError(f"{manifest} holds no recordings: a line is needed for each")
    folder = manifest.resolve().parent
    # Files in two folders may have the same name.
    own = hashlib.sha256(str(folder).encode()).hexdigest()[:12]
    return Recorded(Corpus(folder, work / RECORDED / own), clips)
