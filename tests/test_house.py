"""The house as docs/house.md draws it: who imports whom, no circles, the ways of an image and a training step."""

from __future__ import annotations

import ast
import gc
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

import rethaw
from tests.helpers import photos, recipe

ROOT = Path(__file__).parents[1]
CORE = ROOT / "core" / "rethaw"
PAGE = (ROOT / "docs" / "house.md").read_text("utf-8")


def rows(title: str) -> list[list[str]]:
    """The cells of the table under a heading of the page, without its head."""
    section = PAGE.split(f"## {title}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def module_of(path: Path) -> str:
    parts = path.relative_to(CORE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in CORE.rglob("*.py")}


def imports(path: Path) -> Iterator[str]:
    """The modules of rethaw that a file imports, wherever in it, TYPE_CHECKING included."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else node.module for name in whole]
        yield from (name for name in names if name.split(".")[0] == "rethaw")


IMPORTS = {module: set(imports(path)) - {module} for module, path in MODULES.items()}


def within(module: str, room: str) -> bool:
    return f"{module}.".startswith(f"rethaw.{room}.")


RULES = {row[0].strip("`"): re.findall(r"`([\w.]+)`", row[2]) for row in rows("Who may import whom")}


@pytest.mark.parametrize("room", RULES)
def test_a_room_imports_what_the_page_allows(room: str) -> None:
    allowed = [room, *RULES[room]]
    mine = [module for module in MODULES if within(module, room)]
    assert mine, f"docs/house.md names a room that is not there: {room}"
    wrong = [
        (module, other)
        for module in mine
        for other in sorted(IMPORTS[module])
        if other != "rethaw" and not any(within(other, each) for each in allowed)
    ]
    assert not wrong


def test_every_module_is_in_a_room() -> None:
    loose = [m for m in MODULES if not any(within(m, room) for room in RULES)]
    assert set(loose) <= {"rethaw", "rethaw.__main__", "rethaw.engine"}


def test_no_module_imports_itself_through_others() -> None:
    """Depth first, over top-level and inner imports alike; packages that only re-export count as what they import."""
    state: dict[str, int] = {}

    def visit(module: str, way: tuple[str, ...]) -> None:
        if state.get(module) == 2 or module == "rethaw":
            return
        assert state.get(module) != 1, f"a circle: {' → '.join((*way[way.index(module) :], module))}"
        state[module] = 1
        for other in sorted(IMPORTS.get(module, ())):
            visit(other, (*way, module))
        state[module] = 2

    for module in MODULES:
        visit(module, ())


# --- the two ways ------------------------------------------------------------------------------------------------


def shows_image(value: object) -> bool:
    picture = type(value).__name__ == "Picture"
    return picture or (isinstance(value, torch.Tensor) and value.dim() >= 3 and value.is_floating_point())


class Ways:
    """The files of core whose functions were handed an image, and how often the registry was entered."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.builds = 0

    def __call__(self, frame: Any, event: str, arg: object) -> None:
        path = Path(frame.f_code.co_filename)
        if event != "call" or not path.is_relative_to(CORE):
            return
        if path.name == "registry.py" and frame.f_code.co_name in ("find", "build"):
            self.builds += 1
        if any(shows_image(value) for value in frame.f_locals.values()):
            self.files.add(path.relative_to(CORE).as_posix())


NOT_COUNTED = ("ops/", "builtin/backbones/blocks.py", "engine/sampling/checks.py", "engine/restorer/conditioners.py")
"""Helpers of components, and what looks only at the shape of an image."""


def counted(files: set[str]) -> set[str]:
    return {f for f in files if f == "ops/stepping.py" or not f.startswith(NOT_COUNTED)}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("house")
    path = recipe(folder, photos(folder / "photos"), "{use: kornia.gaussian_blur}")
    rethaw.Pipeline.from_yaml(path).train(folder / "run")
    return folder


@contextmanager
def watching(ways: Ways) -> Iterator[None]:
    """Calls are told to `ways`; nothing that other tests left behind is finalised meanwhile, which could end that."""
    gc.collect()
    gc.disable()
    sys.setprofile(ways)
    try:
        yield
    finally:
        sys.setprofile(None)
        gc.enable()


def test_an_image_crosses_the_files_that_the_page_lists(run: Path) -> None:
    listed = {row[0].strip("`") for row in rows("One image's way through `rethaw restore`")}
    pipeline, ways = rethaw.Pipeline.load(run / "run"), Ways()
    for _ in range(3):  # what another test left behind may end a watch; the way is the same each time
        with watching(ways):
            pipeline.restore(run / "photos" / "0.png").save(run / "restored.png")
    ends = {"cli/restore.py", "images/read.py", "images/write.py"}  # before the first tensor, and where it is a file
    assert counted(ways.files) - {"images/picture.py", "images/accept.py"} <= listed
    assert listed - ends <= ways.files and len(listed) <= 12
    assert all((CORE / name).is_file() for name in listed)


def test_a_training_step_crosses_the_files_that_the_page_lists(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rethaw.engine.training.trainer import Trainer

    listed = {row[0].strip("`") for row in rows("One step's way through training")}
    ways, advance = Ways(), Trainer.advance

    def watched(self: Trainer, batches: Any) -> None:
        with watching(ways):
            advance(self, batches)

    monkeypatch.setattr(Trainer, "advance", watched)
    rethaw.Pipeline.from_yaml(run / "small.yaml").train(run / "again")
    assert counted(ways.files) <= listed and len(listed) <= 12
    assert ways.builds == 0, "a training step enters the registry"
