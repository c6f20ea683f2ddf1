"""Reads a configuration: a TOML file, or a shipped one by its name, and `--set` on top.

The environment is not read.
"""

import argparse
import difflib
import os
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from auricle.configs.errors import ConfigError
from auricle.configs.fields import KeyPath, is_table_list
from auricle.configs.problems import Origin, config_error
from auricle.configs.settings import Settings
from auricle.configs.toml_text import find_line, parse_key, parse_value

DEFAULT_CONFIG = "default"
_SHIPPED_FOLDER = Path(__file__).parent

Model = TypeVar("Model", bound=BaseModel)


def shipped_configs() -> dict[str, Path]:
    """Returns the configurations that come with Auricle, by name."""
    return {path.stem: path for path in sorted(_SHIPPED_FOLDER.glob("*.toml"))}


def find_config(config: str | os.PathLike[str]) -> Path:
    """Returns the file that `--config` means: a path, or the bare name of a shipped configuration.

    Raises:
        ConfigError: there's no such file.
    """
    path, shipped = Path(config), shipped_configs()
    if str(config) in shipped:  # whatever lies in the working directory
        return shipped[str(config)]
    if path.exists() and not path.is_dir():  # a pipe is fine, too: --config <(make-config)
        return path
    if str(config).removesuffix(".toml") in shipped:
        return shipped[str(config).removesuffix(".toml")]
    if path.is_dir():
        raise ConfigError(f"{path}: expected a TOML file, got a folder; name the file in it")
    neighbours = [str(neighbour) for neighbour in path.parent.glob("*.toml")] if path.parent.is_dir() else []
    nearest = difflib.get_close_matches(str(config), [*shipped, *neighbours], n=1)
    hint = f"did you mean {nearest[0]}?" if nearest else "check the path"
    raise ConfigError(
        f"expected a TOML file or one of the shipped configurations {', '.join(shipped)}, "
        f"got {str(config)!r}, which does not exist; {hint}"
    )


def read_toml(path: Path) -> tuple[dict[str, Any], str]:
    """Reads a TOML file.

    Returns:
        Its content, and its text.

    Raises:
        ConfigError: it cannot be read or isn't TOML.
    """
    try:
        text = path.read_text(encoding="utf-8")
        return tomllib.loads(text), text
    except OSError as error:
        raise ConfigError(
            f"{path}: expected a readable file, got: {error.strerror}; check its owner and mode"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: expected UTF-8 text, got other bytes; save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"{path}: not valid TOML: {error}; strings need quotes, tables look like [vad]"
        ) from error


def parse_override(override: str) -> tuple[tuple[str, ...], Any]:
    """Splits `a.b=value` into key and value.

    Raises:
        ConfigError: it has no `=`, or no key before it.
    """
    key, equals, value = override.partition("=")
    try:
        if not equals:
            raise ValueError("expected KEY=VALUE, such as vad.onset=0.6")
        return parse_key(key.strip()), parse_value(value)
    except ValueError as error:
        raise ConfigError(f"--set {override}: {error}; `auricle config --explain` lists the keys") from error


def apply_override(table: dict[str, Any], path: Sequence[str], value: Any) -> None:
    """Sets one value in a nested table, creating the tables on the way.

    A number as a part of the path counts the entries of a list from 0; the next free one is added.

    Raises:
        ValueError: the path leads through something that is no table.
    """
    current: Any = table
    for depth, (key, following) in enumerate(zip(path, [*path[1:], None], strict=True)):
        slot: str | int = key
        if isinstance(current, list):
            if not key.isdecimal() or int(key) > len(current):
                raise ValueError(
                    f"expected a number from 0 to {len(current)} after {'.'.join(path[:depth])}, got {key}"
                )
            slot = int(key)
            if slot == len(current):
                current.append({})
        elif not isinstance(current, dict):
            raise ValueError(f"{'.'.join(path[:depth])} is a value, not a table, so it has no {key}")
        if following is None:
            current[slot] = value
        elif isinstance(current, dict):
            current = current.setdefault(key, {})
        else:
            current = current[int(slot)]


def _make_origin(path: Path, text: str, overrides: dict[tuple[str, ...], str]) -> Origin:
    """Returns a function that tells where a key was set: `--set …`, or file and line."""

    def origin(key_path: KeyPath) -> str:
        wanted = tuple(str(part) for part in key_path)
        for key, override in reversed(overrides.items()):
            if key == wanted[: len(key)] or wanted == key[: len(wanted)]:
                return f"--set {override}"
        line = find_line(text, key_path) if key_path else None
        return f"{path}:{line}" if line else str(path)

    return origin


def load_model(model: type[Model], config: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Model:
    """Reads a file into a settings model; what `load` does, for any model.

    Raises:
        ConfigError: the file, a key or a value is at fault.
    """
    path = find_config(config)
    table, text = read_toml(path)
    applied: dict[tuple[str, ...], str] = {}
    for override in overrides:
        key, value = parse_override(override)
        if (field := model.model_fields.get(key[0])) and len(key) > 1 and is_table_list(field.annotation):
            table.setdefault(key[0], [])
        try:
            apply_override(table, key, value)
        except ValueError as error:
            raise ConfigError(f"--set {override}: {error}") from error
        applied[key] = override
    try:
        return model.model_validate(table)
    except ValidationError as error:
        raise config_error(model, error, _make_origin(path, text, applied)) from error


def load(config: str | os.PathLike[str] | None = None, overrides: Sequence[str] = ()) -> Settings:
    """Reads the configuration.

    Args:
        config: path of a TOML file, or the bare name of a shipped one; None = default.toml.
        overrides: `a.b=value` each, later ones win; the value is TOML, or else a string.

    Raises:
        ConfigError: the file, a key or a value is at fault; the message names it, and what was expected.
    """
    return load_model(Settings, DEFAULT_CONFIG if config is None else config, overrides)


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares `--config` (`args.config`) and `--set` (`args.overrides`) for a command."""
    group = parser.add_argument_group("configuration")
    group.add_argument(
        "--config",
        metavar="F",
        help=f"a TOML file, or one shipped: {', '.join(shipped_configs())} (default: {DEFAULT_CONFIG})",
    )
    group.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change one setting, such as vad.onset=0.6; repeatable (`auricle config --explain` lists them)",
    )


def load_from_arguments(args: argparse.Namespace) -> Settings:
    """Reads the configuration that a command line asks for.

    Raises:
        ConfigError: as in `load`.
    """
    return load(args.config, args.overrides)
