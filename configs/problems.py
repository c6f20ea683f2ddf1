"""Turns what pydantic says about a configuration into sentences that a reader can act on."""

import difflib
from collections.abc import Callable, Iterator
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from auricle.configs.errors import ConfigError
from auricle.configs.fields import KeyPath, describe_field, dotted_keys, find_field
from auricle.configs.toml_text import parse_value, toml_key, toml_value

Origin = Callable[[KeyPath], str]
"""Tells where a key was set, such as `my.toml:12`; an empty string if it's not known."""

_MAX_VALUE_LENGTH = 60
_KINDS = {
    bool: "true or false",
    str: "a string",
    int: "an integer",
    float: "a number",
    list: "a list",
    dict: "a table",
}


def dotted(path: KeyPath) -> str:
    """Returns a key as one writes it in TOML and in `--set`."""
    return ".".join(toml_key(part) for part in path)


def describe_value(value: Any) -> str:
    """Returns a value that came in, cut to a readable length, with its kind."""
    text = toml_value(value)
    text = text if len(text) <= _MAX_VALUE_LENGTH else text[:_MAX_VALUE_LENGTH] + "…"
    kind = _KINDS.get(type(value), type(value).__name__)
    return text if isinstance(value, bool) else f"{text} ({kind})"


def suggest_key(model: type[BaseModel], path: KeyPath) -> str:
    """Returns a hint for an unknown key: the nearest known one, or what its section has."""
    known, section = find_field(model, path[:-1])
    fields = list(section.model_fields) if isinstance(section, type) else []
    name = str(path[-1])
    if near := difflib.get_close_matches(name, fields, n=1):
        return f"did you mean {dotted((*known, near[0]))}?"
    everything = list(dotted_keys(model))
    same_name = [key for key in everything if key.rpartition(".")[2] == name]
    if near := same_name or difflib.get_close_matches(dotted(path), everything, n=1, cutoff=0.8):
        return f"did you mean {near[0]}?"
    owner = f"[{dotted(known)}] has" if known else "there are"
    return f"{owner} {', '.join(fields)}"


def _remedy(field: FieldInfo, value: Any) -> str:
    """Returns what to change where the type is the whole problem."""
    expected = describe_field(field)
    is_other_type = isinstance(value, str) and not isinstance(parse_value(value), str)
    if is_other_type and expected.startswith(("integer", "number", "true or false")):
        return "; write it without quotes"
    if not isinstance(value, str | list | dict) and expected.startswith("string"):
        return "; put it in quotes"
    if isinstance(value, str) and expected.startswith("list"):
        return f"; write [{toml_value(value)}]"
    near = (
        difflib.get_close_matches(toml_value(value), expected.split(" | "), n=1) if " | " in expected else []
    )
    return f"; did you mean {near[0]}?" if near else ""


def _sentence(model: type[BaseModel], problem: Any) -> tuple[KeyPath, str]:
    """Returns the key that a pydantic error is about, and the sentence."""
    location: KeyPath = tuple(part for part in problem["loc"] if part != "[key]")
    known, target = find_field(model, location)
    if problem["type"] == "extra_forbidden":
        return location, f"unknown key {dotted(location)}: {suggest_key(model, location)}"
    prefix = f"{dotted(known)}: " if known else ""
    if problem["type"] == "value_error":
        return known, f"{prefix}{problem['ctx']['error']}"
    if problem["type"] == "missing":
        hint = (
            f"expected {describe_field(target)}, got nothing"
            if isinstance(target, FieldInfo)
            else "missing table"
        )
        return known, f"{prefix}{hint}; set it"
    if isinstance(target, FieldInfo):
        value = problem["input"]
        return (
            known,
            f"{prefix}expected {describe_field(target)}, got {describe_value(value)}{_remedy(target, value)}",
        )
    return known, f"{prefix}expected a table of settings, got {describe_value(problem['input'])}"


def _sentences(model: type[BaseModel], error: ValidationError, origin: Origin) -> Iterator[str]:
    seen: set[tuple[KeyPath, str]] = set()
    for problem in error.errors(include_url=False):
        path, sentence = _sentence(model, problem)
        # The branches of a union (string or integer) are reported one by one: the first says it all.
        marker = (path, problem["type"] if problem["type"] in ("extra_forbidden", "value_error") else "type")
        if marker not in seen:
            seen.add(marker)
            place = origin(path)
            yield f"{place}: {sentence}" if place else sentence


def config_error(
    model: type[BaseModel], error: ValidationError, origin: Origin = lambda path: ""
) -> ConfigError:
    """Returns all problems of a configuration as one error, a line for each."""
    return ConfigError("\n  ".join(_sentences(model, error, origin)))
