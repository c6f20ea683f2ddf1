"""The shipped models by name: `vad`, `keyword`, `vad-lstm`, …; anything else is a path."""

from difflib import get_close_matches
from pathlib import Path

from auricle.configs.errors import ModelError

WEIGHTS = Path(__file__).parent / "weights"
SUFFIX = ".safetensors"


def shipped() -> list[str]:
    """Names of the model files that came with the package, such as `vad-gru`."""
    return sorted(path.stem for path in WEIGHTS.glob(f"*{SUFFIX}"))


def shipped_path(name: str, cell: str) -> Path | None:
    """The file of a model that came with the package, its cell in the name or not; None for others."""
    paths = (WEIGHTS / f"{stem}{SUFFIX}" for stem in (f"{name}-{cell}", name))
    return next((path for path in paths if path.is_file()), None)


def find_model(name: str, cell: str = "gru") -> Path:
    """Finds the file of a model.

    Args:
        name: a shipped name with its cell (`vad-lstm`), without (`vad`: `cell` is added), or a path.
        cell: which version of a name without one.

    Raises:
        ModelError: there is none; the message lists those there are.
    """
    if name.endswith(SUFFIX) or "/" in name:
        path = Path(name).expanduser()
        if path.is_file():
            return path
        raise ModelError(f"no model file {path}; {_advice(name)}")
    if found := shipped_path(name, cell):
        return found
    raise ModelError(f"no shipped model '{name}' with cell '{cell}'; {_advice(f'{name}-{cell}')}")


def _advice(name: str) -> str:
    near = get_close_matches(name, shipped(), n=1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    return f"{hint}shipped: {', '.join(shipped()) or 'none'}; or give the path of a {SUFFIX} file"
