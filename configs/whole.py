"""Files that appear whole or not at all."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Where to write a file that replaces `path` at the end; what goes wrong leaves that as it was.

    Its folder is made if it is missing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}.partial")  # nobody else's, of any thread
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
