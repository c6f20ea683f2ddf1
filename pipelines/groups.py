"""Who speaks and how they were recorded, as far as manifests tell: the groups that figures are given for."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from auricle.pipelines.corpus import Clip

SEXES = {"f": "female", "female": "female", "m": "male", "male": "male"}
DECADES = {
    "teens": 15,
    "twenties": 25,
    "thirties": 35,
    "fourties": 45,
    "forties": 45,
    "fifties": 55,
    "sixties": 65,
    "seventies": 75,
    "eighties": 85,
    "nineties": 95,
}
AGES = ((13, "under 13"), (20, "13-19"), (30, "20-29"), (40, "30-39"), (60, "40-59"), (200, "60 and over"))
DIALECTS = {"native": "native", "nonnative": "not native"}


class Group(NamedTuple):
    """Some of the clips of a set."""

    set: str
    facet: str
    """What they have in common: "sex", "age", "accent" or "telephone"."""
    name: str


def facets(clip: Clip) -> dict[str, str]:
    """What is known of a clip, facet by facet; a facet that is not known, or "other", is left out."""
    details = clip.details
    accent = str(details.get("accent", "") or "")
    dialect = DIALECTS.get(str(details.get("dialect", "")).lower(), "")
    known = {
        "sex": SEXES.get(str(details.get("gender", "")).lower(), ""),
        "age": _age(details.get("age")),
        "accent": accent or dialect,
        "telephone": str(details.get("phone", "") or ""),
    }
    return {facet: name for facet, name in known.items() if name and name != "other"}


def _age(value: object) -> str:
    text = str(value or "").lower()
    years = DECADES.get(text, int(text) if text.isdecimal() else None)
    if years is None:
        return ""
    return next((name for limit, name in AGES if years < limit), "")


def members(clips: Iterable[Clip]) -> Mapping[Group, Sequence[int]]:
    """The groups within each set, sorted, and the numbers of their clips; a facet with one group is none."""
    found: dict[Group, list[int]] = {}
    for number, clip in enumerate(clips):
        for facet, name in facets(clip).items():
            found.setdefault(Group(clip.set, facet, name), []).append(number)
    several = {
        (one.set, one.facet) for one in found for other in found if one[:2] == other[:2] and one != other
    }
    return {group: found[group] for group in sorted(found) if group[:2] in several}
