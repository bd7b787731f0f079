"""The documentation is run: every command, every YAML, every Python example; and nothing is left out of it."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from docs.generate import FIRST_PARTY, PAGE, page
from PIL import Image

from rethaw.cli.main import app
from rethaw.config import load_config
from rethaw.hookspecs import KINDS
from rethaw.registry import Registry
from tests.helpers import env, photos, rethaw

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "plugins").glob("*/README.md")])
SMALL = ["train.steps=2", "train.batch_size=2", "backbone.width=8", "data.size=16"]

WITHOUT_PICTURE = {"core.mixture", "core.chain", "core.pair"}
"""Degradations that need something to be told before they can be drawn."""


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), re.M | re.S)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder like that of a reader: some photographs, a blurred one, one with a hole and its mask."""
    photos(tmp_path / "photos", 4)
    photos(tmp_path / "classes" / "cat", 2)
    for side in ("clean", "degraded"):
        photos(tmp_path / "pairs" / side, 2)
    for name in ("photo.png", "blurred.png", "holed.png"):
        (tmp_path / name).write_bytes((tmp_path / "photos" / "0.png").read_bytes())
    mask = np.zeros((32, 40), np.uint8)
    mask[4:9, 4:9] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_reference_is_complete_and_current() -> None:
    assert PAGE.read_text() == page(), "run: make docs"


def test_every_command_is_in_a_page_that_people_read() -> None:
    text = "".join(path.read_text() for path in PAGES if path != PAGE)
    for command in app.registered_commands:
        assert f"rethaw {command.name}" in text, command.name


def test_the_quoted_files_are_the_files() -> None:
    text = (ROOT / "docs/plugins.md").read_text()
    quoted = re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", text, re.S)
    assert len(quoted) == 6
    for name, body in quoted:
        assert (ROOT / name).read_text() == body, f"copy {name} into docs/plugins.md"


@pytest.mark.parametrize("path", [p for p in PAGES if blocks(p, "yaml")], ids=lambda p: p.name)
def test_every_yaml_validates(path: Path, place: Path) -> None:
    for number, text in enumerate(blocks(path, "yaml")):
        file = place / f"{number}.yaml"
        file.write_text(text)
        load_config(str(file))


@pytest.mark.parametrize("path", [p for p in PAGES if blocks(p, "python")], ids=lambda p: p.name)
def test_every_python_example_runs(path: Path, place: Path) -> None:
    names: dict[str, object] = {}
    for text in blocks(path, "python"):
        exec(compile(text, str(path), "exec"), names)


FIRST = ("README.md",)
COMMANDS = [pytest.param(p, marks=() if p.name in FIRST else pytest.mark.long) for p in PAGES if blocks(p, "sh")]


@pytest.mark.parametrize("path", COMMANDS, ids=lambda p: p.name)
def test_every_command_runs(path: Path, place: Path) -> None:
    lines = [line for text in blocks(path, "sh") for line in text.splitlines() if line.startswith("rethaw ")]
    for line in lines:
        words = shlex.split(line, comments=True)[1:]
        if words[0] == "demo":
            continue  # run by `make demo`
        small = SMALL if words[0] == "train" and "--resume" not in words else []
        rethaw(*words, *small, cwd=place)
    assert lines


def test_every_page_is_in_the_sites_navigation() -> None:
    listed = set(re.findall(r"([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.M))
    assert {page.name for page in (ROOT / "docs").glob("*.md")} == {page for page in listed if "/" not in page}


@pytest.mark.long
def test_the_site_builds_strictly_with_a_page_for_everything(tmp_path: Path) -> None:
    """No warning; each command, component and key has a page, and each degradation its picture."""
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path],
        cwd=ROOT,
        env=env(PYTHONPATH=str(ROOT), DISABLE_MKDOCS_2_WARNING="true", NO_MKDOCS_2_WARNING="1"),
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0 and "WARNING" not in built.stderr, built.stderr[-2000:]
    made = {path.stem for path in (tmp_path / "reference").glob("*/*.html")}
    registry = Registry()
    for kind in KINDS:
        for name in registry.names(kind):
            if name.partition(".")[0] in FIRST_PARTY:
                assert f"{name}-{kind}" in made
                drawn = (tmp_path / f"reference/components/{name}.png").exists()
                assert drawn == (kind == "degradation" and name not in WITHOUT_PICTURE), name
    for command in app.registered_commands:
        assert f"rethaw-{command.name}" in made
    front = (tmp_path / "index.html").read_text()
    assert "images/demo.jpg" in front and (tmp_path / "images/demo.jpg").exists()


def test_links_lead_somewhere() -> None:
    for path in PAGES:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name}: {target}"
