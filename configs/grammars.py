"""Finds grammars: files of sentence templates, shipped ones by their names."""

from difflib import get_close_matches
from pathlib import Path

from auricle.configs.errors import ConfigError

_SHIPPED_FOLDER = Path(__file__).parent


def shipped_grammars() -> dict[str, Path]:
    """Returns the grammars that come with Auricle, by name."""
    return {path.stem: path for path in sorted(_SHIPPED_FOLDER.glob("*.yaml"))}


def find_grammar(grammar: str) -> Path:
    """Returns the file that `[commands] grammar` means: a path, or the bare name of a shipped grammar.

    Raises:
        ConfigError: there is no such file.
    """
    path, shipped = Path(grammar).expanduser(), shipped_grammars()
    if grammar in shipped:  # whatever lies in the working directory
        return shipped[grammar]
    if path.is_file():
        return path
    if grammar.removesuffix(".yaml") in shipped:
        return shipped[grammar.removesuffix(".yaml")]
    if path.is_dir():
        raise ConfigError(f"commands.grammar: got the folder '{grammar}'; name the YAML file in it")
    neighbours = [str(neighbour) for neighbour in path.parent.glob("*.yaml")] if path.parent.is_dir() else []
    nearest = get_close_matches(grammar, [*shipped, *neighbours], n=1)
    raise ConfigError(
        f"commands.grammar: expected a YAML file or one of the shipped grammars {', '.join(shipped)}, got "
        f"'{grammar}', which does not exist; {f'did you mean {nearest[0]}?' if nearest else 'check the path'}"
    )
