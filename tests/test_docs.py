"""Documents and service files that are made from the code, or checked by the system's own tools."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from auricle.configs.explain import explain
from auricle.configs.settings import Settings

ROOT = Path(__file__).parent.parent
PAGES = ("*.md", "docs/*.md", "models/weights/*.md")


def test_the_list_of_settings_is_current() -> None:
    text = (ROOT / "docs" / "settings.toml").read_text("utf-8")
    assert text == explain(), "run: auricle config --explain > docs/settings.toml"


def test_the_examples_of_the_configuration_page_load() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    examples = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    assert examples
    for example in examples:
        assert Settings.model_validate(tomllib.loads(example)).streams


def anchors(page: Path) -> set[str]:
    """What a page's headings are called in links."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(
    "page", sorted(path for glob in PAGES for path in ROOT.glob(glob)), ids=lambda page: page.name
)
def test_links_of_the_pages_lead_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", page.read_text("utf-8")):
        there = page.parent / target if target else page
        assert there.exists(), f"{page} links to {target}"
        assert not anchor or anchor in anchors(there), f"{page} links to {target}#{anchor}"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    program = tmp_path / ".local" / "bin" / "auricle"
    program.parent.mkdir(parents=True)
    program.symlink_to("/bin/true")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", ROOT / "systemd" / "auricle.service"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0 and "auricle.service:" not in done.stderr, done.stderr
