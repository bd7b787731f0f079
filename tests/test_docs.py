"""The documentation is run: every command, every YAML, every Python example; and nothing is left out of it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from docs.generate import PAGE, page
from PIL import Image

from rethaw.cli.main import app
from rethaw.config import load_config
from tests.helpers import photos, rethaw

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "plugins").glob("*/README.md")])
SMALL = ["train.steps=2", "train.batch_size=2", "backbone.width=8", "data.size=16"]


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


def test_links_lead_somewhere() -> None:
    for path in PAGES:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name}: {target}"
