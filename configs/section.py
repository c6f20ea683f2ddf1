"""What every section of the configuration has in common."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

MODEL_RATE_HZ = 16_000
"""The pipeline's only inner sample rate."""

HOP_MS = 10
"""One feature frame; every length in the pipeline is a multiple of it."""


class Section(BaseModel):
    """A frozen table of settings: unknown keys are refused, and a value must already have its type.

    An integer is accepted where a float is expected; a string is never read as a number.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, validate_default=True, allow_inf_nan=False
    )


Strings = Annotated[tuple[str, ...], Field(strict=False)]
"""A list of strings in TOML, a tuple in Python."""


def samples(duration_ms: float) -> int:
    """Converts milliseconds to samples at 16 kHz, rounded to the nearest."""
    return round(duration_ms * MODEL_RATE_HZ / 1000)


def check_hops(name: str, value_ms: int) -> int:
    """Returns `value_ms` if it's a whole number of hops.

    Raises:
        ValueError: it isn't.
    """
    if value_ms % HOP_MS:
        below_ms = max(HOP_MS, value_ms - value_ms % HOP_MS)
        raise ValueError(
            f"expected a multiple of {HOP_MS} ms (one feature frame), got {value_ms}; "
            f"set {name} to {below_ms} or {value_ms - value_ms % HOP_MS + HOP_MS}"
        )
    return value_ms


def check_unique(what: str, values: Sequence[Any]) -> None:
    """Refuses a list that names one thing twice.

    Raises:
        ValueError: a value occurs more than once.
    """
    for index, value in enumerate(values):
        if value in values[:index]:
            raise ValueError(f"expected each {what} once, got {value!r} twice; remove one of them")
