"""Writes configurations as TOML text: every key explained, or the settings in force."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from auricle.configs.fields import (
    KeyPath,
    describe_field,
    entry_section,
    is_table_list,
    section_of,
)
from auricle.configs.problems import dotted
from auricle.configs.settings import Settings
from auricle.configs.toml_text import toml_value

_WIDTH = 100
_HEADER = (
    "Every setting of Auricle with its meaning, its type and its default value. A configuration file "
    "needs only the keys that differ; on the command line the same keys are written --set vad.onset=0.6."
)


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_long_words=False)


def _header(path: KeyPath, is_list: bool) -> str:
    return f"[[{dotted(path)}]]" if is_list else f"[{dotted(path)}]"


def _first_sentence(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")


def _explain_value(name: str, field: FieldInfo) -> Iterator[str]:
    yield from _comment(field.description or "")
    yield from _comment(f"({describe_field(field)})")
    default = field.get_default(call_default_factory=True)
    if field.is_required():
        yield f"# {dotted((name,))} = …  (needed)"
    else:
        yield f"{dotted((name,))} = {toml_value(default)}"
    yield ""


def _explain_entries(path: KeyPath, field: FieldInfo, entry: type[BaseModel]) -> Iterator[str]:
    """Explains a table of tables or a list of tables; without default entries, all of it is commented out."""
    is_list = is_table_list(field.annotation)
    defaults = field.get_default(call_default_factory=True)
    names = list(defaults) if isinstance(defaults, Mapping) else []
    if field.description:
        yield from [*_comment(field.description), ""]
    if names:
        yield from _explain_table((*path, names[0]), entry, is_list)
        return
    for line in _explain_table(path if is_list else (*path, "NAME"), entry, is_list):
        yield f"# {line}" if line and not line.startswith("#") else line


def _explain_table(path: KeyPath, model: type[BaseModel], is_list: bool = False) -> Iterator[str]:
    yield from _comment(_first_sentence(model))
    yield _header(path, is_list)
    nested: list[tuple[str, FieldInfo]] = []
    for name, field in model.model_fields.items():
        if section_of(field.annotation) or entry_section(field.annotation):
            nested.append((name, field))
        else:
            yield from _explain_value(name, field)
    for name, field in nested:
        yield from _explain_section((*path, name), field)


def _explain_section(path: KeyPath, field: FieldInfo) -> Iterator[str]:
    if section := section_of(field.annotation):
        yield from _explain_table(path, section)
    elif entry := entry_section(field.annotation):
        yield from _explain_entries(path, field, entry)


def explain(model: type[BaseModel] = Settings) -> str:
    """Returns a TOML file with every key, its meaning, type, limits and default; it loads as the defaults."""
    lines = [*_comment(_HEADER), ""]
    for name, field in model.model_fields.items():
        lines.extend(_explain_section((name,), field))
    return "\n".join(lines).rstrip() + "\n"


def _show_table(path: KeyPath, table: BaseModel, is_list: bool = False) -> Iterator[str]:
    tables: list[tuple[str, Any]] = []
    if path:
        yield _header(path, is_list)
    for name in type(table).model_fields:
        value = getattr(table, name)
        if isinstance(value, BaseModel) or entry_section(type(table).model_fields[name].annotation):
            tables.append((name, value))
        else:
            yield f"{dotted((name,))} = {toml_value(value)}"
    if path:
        yield ""
    for name, value in tables:
        yield from _show_entries((*path, name), value)


def _show_entries(path: KeyPath, value: Any) -> Iterator[str]:
    if isinstance(value, BaseModel):
        yield from _show_table(path, value)
    elif isinstance(value, Mapping):
        if not value:
            yield from [_header(path, False), ""]
        for name, entry in value.items():
            yield from _show_table((*path, name), entry)
    elif isinstance(value, Sequence):
        for entry in value:
            yield from _show_table(path, entry, is_list=True)


def show(settings: BaseModel) -> str:
    """Returns the settings in force as a TOML file that loads as the same settings."""
    return "\n".join(_show_table((), settings)).rstrip() + "\n"
