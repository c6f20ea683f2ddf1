"""Holds the packaging together: every folder is installed, typed and pinned."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("configs", "daemon", "models", "pipelines")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
REQUIREMENTS = ROOT / "requirements"
LEVELS = ("runtime", "train", "dev")


def pins(level: str) -> dict[str, str]:
    """Returns name -> version of a compiled requirements file."""
    # Linux and each Python may have a line of their own; what follows the semicolon says which.
    lines = (REQUIREMENTS / f"{level}.txt").read_text("utf-8").splitlines()
    entries = [re.match(r"([a-z0-9-]+)==(\S+)", line) for line in lines if not line.startswith("#")]
    assert all(entries), f"{level}.txt holds something that is no pin"
    return {entry[1]: entry[2] for entry in entries if entry}


def test_every_sub_package_is_listed() -> None:
    found = {
        ".".join(("auricle", *path.parent.relative_to(ROOT).parts))
        for package in PACKAGES
        for path in (ROOT / package).rglob("__init__.py")
    }
    assert found == set(PROJECT["tool"]["setuptools"]["packages"])


def test_every_folder_with_modules_is_a_package() -> None:
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            assert (path.parent / "__init__.py").is_file(), f"{path.parent} has modules but no __init__.py"


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_is_typed_and_linked_for_type_checkers(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()
    link = ROOT / ".typing" / "auricle" / package
    assert link.is_symlink() and link.resolve() == ROOT / package


def test_there_is_no_auricle_module_that_would_hide_the_namespace() -> None:
    assert not (ROOT / "auricle").exists()
    assert not (ROOT / ".typing" / "auricle" / "__init__.py").exists()


@pytest.mark.parametrize("level", LEVELS)
def test_requirements_pin_everything_and_name_no_host(level: str) -> None:
    text = (REQUIREMENTS / f"{level}.txt").read_text("utf-8")
    assert "://" not in text and "--" not in text
    assert pins(level).items() >= {"torch": "2.11.0", "torchaudio": "2.11.0"}.items()


def test_the_build_needs_nothing_that_is_not_pinned() -> None:
    bootstrap = pins("bootstrap")
    assert set(bootstrap) == {"setuptools", "uv"}
    assert pins("dev").get("setuptools", bootstrap["setuptools"]) == bootstrap["setuptools"]


def test_each_level_of_requirements_holds_the_one_before() -> None:
    assert pins("runtime").items() <= pins("train").items() <= pins("dev").items()


@pytest.mark.parametrize(
    ("level", "extras"), [("runtime", ()), ("train", ("train",)), ("dev", ("train", "dev"))]
)
def test_every_dependency_of_the_project_is_pinned(level: str, extras: tuple[str, ...]) -> None:
    project = PROJECT["project"]
    wanted = project["dependencies"] + [
        entry for extra in extras for entry in project["optional-dependencies"][extra]
    ]
    names = {re.split(r"[<>=!~ ;\[]", entry, maxsplit=1)[0].lower() for entry in wanted}
    assert names <= set(pins(level)), "run `make lock`"


@pytest.mark.parametrize("path", ["requirements/install.sh", "requirements/compile.sh", ".ci/run"])
def test_scripts_are_executable(path: str) -> None:
    assert (ROOT / path).stat().st_mode & 0o111
