"""Files that appear whole or not at all."""

from pathlib import Path

import pytest

from auricle.configs.whole import written_whole


def test_a_file_appears_whole_or_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "new" / "kept.txt"
    with written_whole(path) as partial:
        partial.write_text("first")
        assert not path.exists()
    assert path.read_text() == "first"
    with pytest.raises(OSError, match="no space"), written_whole(path) as partial:
        partial.write_text("sec")
        raise OSError("no space")
    assert path.read_text() == "first"
    assert list(path.parent.iterdir()) == [path]
