"""Holds the layers apart: which package may import what, read from the source without importing it."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("configs", "daemon", "models", "pipelines")
AUDIO_AND_BUS = {"sounddevice", "zmq"}
TORCH = {"torch", "torchaudio"}
OPTIONAL = {"hassil", "yaml", "onnxruntime"}


class Import(NamedTuple):
    """One imported module and where."""

    place: str
    module: str
    is_lazy: bool

    @property
    def root(self) -> str:
        """The distribution's top-level name."""
        return self.module.partition(".")[0]

    def is_within(self, *prefixes: str) -> bool:
        """Whether the module is one of `prefixes`, or lies below one."""
        return any(self.module == prefix or self.module.startswith(f"{prefix}.") for prefix in prefixes)


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def find_imports(node: ast.AST, path: Path, is_lazy: bool = False) -> Iterator[Import]:
    """Yields all imports below `node`; those in functions or under TYPE_CHECKING are lazy."""
    for child in ast.iter_child_nodes(node):
        lazy = is_lazy or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) or is_type_checking(child)
        if isinstance(child, ast.Import):
            names = [alias.name for alias in child.names]
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, (
                f"{path}:{child.lineno}: write the full name instead of a relative import"
            )
            # `from auricle.daemon import bus` imports auricle.daemon.bus, or a name of auricle.daemon.
            names = [f"{child.module}.{alias.name}" for alias in child.names]
        else:
            yield from find_imports(child, path, lazy)
            continue
        for name in names:
            yield Import(f"{path.relative_to(ROOT)}:{child.lineno}", name, lazy)


def imports_of(package: str) -> list[Import]:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files, f"{package} has no modules"
    return [found for path in files for found in find_imports(ast.parse(path.read_text("utf-8")), path)]


def places(imports: list[Import]) -> list[str]:
    return [f"{found.place} imports {found.module}" for found in imports]


@pytest.mark.parametrize("package", PACKAGES)
def test_auricle_is_imported_by_its_full_name(package: str) -> None:
    assert not places([found for found in imports_of(package) if found.root in PACKAGES])


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("configs", ("auricle.daemon", "auricle.models", "auricle.pipelines")),
        ("models", ("auricle.daemon", "auricle.pipelines")),
        ("daemon", ("auricle.pipelines",)),
        ("pipelines", ("auricle.daemon",)),
    ],
)
def test_lower_layers_do_not_know_the_upper_ones(package: str, forbidden: tuple[str, ...]) -> None:
    assert not places([found for found in imports_of(package) if found.is_within(*forbidden)])


def test_configs_needs_only_the_standard_library_and_pydantic() -> None:
    allowed = sys.stdlib_module_names | {"auricle", "pydantic"}
    assert not places([found for found in imports_of("configs") if found.root not in allowed])


def test_models_needs_only_torch_and_numpy() -> None:
    allowed = sys.stdlib_module_names | TORCH | {"auricle", "numpy", "safetensors"}
    others = [found for found in imports_of("models") if found.root not in allowed]
    assert not places([found for found in others if found.root not in OPTIONAL or not found.is_lazy])
    searches = [found for found in imports_of("models") if found.place.startswith("models/decoding/")]
    assert not places([found for found in searches if found.root in TORCH])
    of_configs = [found for found in imports_of("models") if found.is_within("auricle.configs")]
    allowed_configs = ("auricle.configs.errors", "auricle.configs.paths", "auricle.configs.whole")
    assert not places([found for found in of_configs if not found.is_within(*allowed_configs)])


def test_models_from_elsewhere_are_imported_only_when_asked_for() -> None:
    found = [entry for entry in imports_of("models") if entry.is_within("auricle.models.imported")]
    assert not places([entry for entry in found if "/imported/" not in entry.place and not entry.is_lazy])
    assert [entry for entry in found if "/imported/" not in entry.place]


def test_torch_stays_in_models_and_pipelines() -> None:
    for package in ("configs", "daemon"):
        assert not places([found for found in imports_of(package) if found.root in TORCH])


def test_the_daemon_imports_models_only_when_it_runs_them() -> None:
    # These need numpy at most, and are imported by what is itself imported lazily.
    light = (
        "auricle.models.decoding",
        "auricle.models.lexicon",
        "auricle.models.phones",
        "auricle.models.zoo",
    )
    of_models = [found for found in imports_of("daemon") if found.is_within("auricle.models")]
    assert not places([found for found in of_models if not found.is_lazy and not found.is_within(*light)])


def test_sound_devices_and_sockets_stay_in_the_daemon() -> None:
    for package in ("configs", "models", "pipelines"):
        assert not places([found for found in imports_of(package) if found.root in AUDIO_AND_BUS])


def test_commands_import_heavy_packages_only_when_they_run() -> None:
    heavy = TORCH | AUDIO_AND_BUS | {"numpy", "scipy", "soxr", "soundfile", "rich", "matplotlib"}
    for package in ("daemon", "pipelines"):
        commands = [found for found in imports_of(package) if found.place.startswith(f"{package}/commands/")]
        assert not places([found for found in commands if found.root in heavy and not found.is_lazy])


def test_the_reader_of_imports_sees_them_all() -> None:
    source = """
import torch.nn
from auricle.daemon import bus
if TYPE_CHECKING:
    import numpy
def run():
    with suppress(ImportError):
        from zmq.asyncio import Context
"""
    found = list(find_imports(ast.parse(source), ROOT / "x.py"))
    assert [(entry.module, entry.is_lazy) for entry in found] == [
        ("torch.nn", False),
        ("auricle.daemon.bus", False),
        ("numpy", True),
        ("zmq.asyncio.Context", True),
    ]
