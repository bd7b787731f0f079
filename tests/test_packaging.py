"""What the built distributions hold."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
IMPORTING = ("diffusers", "spandrel", "deepinv")


def wheel(folder: Path, to: Path, **environment: str) -> zipfile.ZipFile:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(to)]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, env=environment or None)
    return zipfile.ZipFile(next(to.glob("*.whl")))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel of rethaw as it is released, its plugins pinned."""
    return wheel(ROOT, tmp_path_factory.mktemp("wheel"), RETHAW_PIN="==0.1.0")


def test_the_wheel_holds_all_that_runs(built: zipfile.ZipFile) -> None:
    names = set(built.namelist())
    for path in (ROOT / "core/rethaw").rglob("*"):
        if path.suffix in (".py", ".yaml", ".typed") and "__pycache__" not in path.parts:
            assert str(path.relative_to(ROOT / "core")) in names, path
    assert built.read("rethaw/registry.yaml") == (ROOT / "registry.yaml").read_bytes()
    assert not [name for name in names if name.startswith(("core/", "plugins/", "tests/"))]


def test_extras_point_at_published_versions_at_release_and_at_the_checkout_before(
    built: zipfile.ZipFile, tmp_path: Path
) -> None:
    def metadata(archive: zipfile.ZipFile) -> str:
        return archive.read(next(n for n in archive.namelist() if n.endswith("METADATA"))).decode()

    assert "Requires-Dist: rethaw-kornia==0.1.0; extra == 'kornia'" in metadata(built)
    assert f"rethaw-kornia @ {ROOT.as_uri()}/plugins/kornia" in metadata(wheel(ROOT, tmp_path))
    assert "License-Expression: Apache-2.0" in metadata(built)


@pytest.mark.parametrize("name", ["kornia", *(pytest.param(n, marks=pytest.mark.long) for n in IMPORTING)])
def test_a_plugins_wheel_declares_its_namespace_and_what_it_needs(name: str, tmp_path: Path) -> None:
    archive = wheel(ROOT / "plugins" / name, tmp_path)
    texts = {name.rpartition("/")[2]: archive.read(name).decode() for name in archive.namelist() if "dist-info" in name}
    assert f"{name} = rethaw_{name}.plugin" in texts["entry_points.txt"]
    assert "Requires-Dist: rethaw<0.2,>=0.1" in texts["METADATA"]
