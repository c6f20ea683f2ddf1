"""What every test finds and leaves behind."""

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _denormals() -> Iterator[None]:
    """Commands that run models in this process treat denormal numbers as zero; hypothesis needs them."""
    yield
    if torch := sys.modules.get("torch"):
        torch.set_flush_denormal(False)
