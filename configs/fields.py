"""Names and describes the fields of a settings model, for error messages and `auricle config --explain`."""

import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from auricle.configs.toml_text import toml_value

KeyPath = tuple[str | int, ...]

_BASIC = {str: "string", int: "integer", float: "number", bool: "true or false"}

_LIMITS = ("gt", "ge", "lt", "le", "min_length")


def strip_annotated(annotation: Any) -> Any:
    """Returns the type inside `Annotated[...]`."""
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def section_of(annotation: Any) -> type[BaseModel] | None:
    """Returns the model if `annotation` is a table of settings."""
    annotation = strip_annotated(annotation)
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def entry_section(annotation: Any) -> type[BaseModel] | None:
    """Returns the model of each entry if `annotation` is a table of tables or a list of tables."""
    annotation = strip_annotated(annotation)
    if get_origin(annotation) in (dict, tuple, list):
        for argument in get_args(annotation):
            if section := section_of(argument):
                return section
    return None


def is_table_list(annotation: Any) -> bool:
    """Whether `annotation` is a list of tables, `[[name]]` in TOML."""
    return entry_section(annotation) is not None and get_origin(strip_annotated(annotation)) is not dict


def describe_type(annotation: Any) -> str:
    """Returns the values a field takes, in words: `integer`, `"gru" | "lstm"`, `list of string`."""
    annotation = strip_annotated(annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " | ".join(toml_value(choice) for choice in arguments)
    if origin in (Union, types.UnionType):
        return " | ".join(describe_type(argument) for argument in arguments)
    if entry_section(annotation):
        return "list of tables" if is_table_list(annotation) else "table of tables"
    if origin in (tuple, list):
        return f"list of {describe_type(arguments[0])}"
    if origin is dict:
        return f"table of {describe_type(arguments[1])}"
    return _BASIC.get(annotation, "table" if section_of(annotation) else str(annotation))


def describe_limits(field: FieldInfo) -> str:
    """Returns the numeric limits of a field: `10 to 2000`, `above 0`, or nothing."""
    limits = {
        name: getattr(limit, name) for limit in field.metadata for name in _LIMITS if hasattr(limit, name)
    }
    low = f"above {limits['gt']}" if "gt" in limits else str(limits.get("ge", ""))
    high = f"below {limits['lt']}" if "lt" in limits else str(limits.get("le", ""))
    if limits.get("min_length"):
        return "not empty"
    if low and high:
        return f"{low} to {high}"
    if high:
        return f"at most {high}"
    return f"at least {low}" if "ge" in limits else low


def describe_field(field: FieldInfo) -> str:
    """Returns type and limits of a field in one phrase."""
    limits = describe_limits(field)
    return describe_type(field.annotation) + (f", {limits}" if limits else "")


def find_field(model: type[BaseModel], path: KeyPath) -> tuple[KeyPath, FieldInfo | type[BaseModel]]:
    """Follows `path` as far as it leads through the settings.

    Returns:
        The part of the path that exists, and what it leads to: a model, or the field of a plain value.
    """
    current: FieldInfo | type[BaseModel] = model
    entries: type[BaseModel] | None = None
    walked: list[str | int] = []
    for step in path:
        if entries is not None:
            current, entries = entries, None
        elif isinstance(current, type) and step in current.model_fields:
            field = current.model_fields[step]
            entries = entry_section(field.annotation)
            current = section_of(field.annotation) or field
        else:
            break
        walked.append(step)
    return tuple(walked), current


def dotted_keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yields every key of a model in dotted form; `NAME` and `0` stand for entries of tables and lists."""
    for name, field in model.model_fields.items():
        entry = entry_section(field.annotation)
        if section := section_of(field.annotation):
            yield from dotted_keys(section, f"{prefix}{name}.")
        elif entry:
            yield from dotted_keys(
                entry, f"{prefix}{name}.{'0' if is_table_list(field.annotation) else 'NAME'}."
            )
        else:
            yield f"{prefix}{name}"
