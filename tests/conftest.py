"""What several test modules share: the command line in a process of its own and fake plugins."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from tests.helpers import rethaw

Ran = subprocess.CompletedProcess[str]
PLUGIN = """
    from dataclasses import dataclass
    from rethaw.api import *

    @dataclass(frozen=True)
    class Fade:
        '''Fade.

        floor: of brightness.
        '''
        floor: float = 0.0

    @hookimpl
    def rethaw_degradations():
        return [degradation("fade", Fade, target="{module}_ops:Fade", summary="Fades.")]
"""
"""The light module of a plugin that works."""


def run(*words: object, env: Mapping[str, str] | None = None, cwd: Path = Path()) -> Ran:
    """`rethaw WORDS` in a process of its own, however it ends."""
    return rethaw(*words, cwd=cwd, check=False, **(env or {}))


def refused(result: Ran) -> str:
    """The one message of a command that a user's mistake has ended; fails if it ended in any other way."""
    assert result.returncode == 2, result
    assert result.stdout == "", result.stdout
    assert "Traceback" not in result.stderr, result.stderr
    assert result.stderr.count("error:") + result.stderr.count("─ Error ─") == 1, result.stderr
    return result.stderr


class Site:
    """A folder of fake distributions with real metadata, to be put on a process's path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
        self.env = {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}

    def add(
        self,
        namespace: str,
        source: str = PLUGIN,
        requires: str | None = "rethaw>=0.1",
        distribution: str = "",
        version: str = "1.0",
    ) -> str:
        """Writes the distribution `rethaw-NAMESPACE` with a light module; the module's name."""
        distribution = distribution or f"rethaw-{namespace}"
        module = distribution.replace("-", "_")
        info = self.folder / f"{module}-{version}.dist-info"
        info.mkdir(parents=True)
        needs = f"Requires-Dist: {requires}\n" if requires else ""
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n{needs}")
        (info / "entry_points.txt").write_text(f"[rethaw.plugins]\n{namespace} = {module}\n")
        (self.folder / f"{module}.py").write_text(dedent(source).replace("{module}", module), "utf-8")
        return module


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")
