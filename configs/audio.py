"""What sound devices, files and senders may have; light, since a sender imports it too."""

from typing import Final

MIN_RATE: Final = 4000
"""Lowest sample rate (Hz) that is taken."""
MAX_RATE: Final = 384_000
"""Highest one."""
