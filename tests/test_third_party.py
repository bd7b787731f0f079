"""A plugin by somebody else, from `pip install` to `pip uninstall`, in an environment of its own."""

from __future__ import annotations

import json
import os
import shutil
import site
import subprocess
import venv
from pathlib import Path

import pytest

from tests.conftest import Ran, refused
from tests.helpers import env, photos

THIRD_PARTY = Path(__file__).parent / "third_party"
PLUGIN = THIRD_PARTY / "rethaw-tint"
YAML = """\
version: 1
data: {use: core.folder, path: photos, size: 16}
degradation:
  - {use: kornia.gaussian_blur, sigma_max: 2.0}
  - {use: tint.tint, colour: [0.9, 0.2, -0.5], span: [0.0, 0.5]}
backbone: {use: core.unet, width: 8}
train: {steps: 3, batch_size: 2}
"""


class World:
    """A folder to work in and a virtual environment that sees the packages of the one that runs the tests."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, folder / "venv"
        venv.create(self.home, with_pip=True)
        self.python = self.home / ("Scripts" if os.name == "nt" else "bin") / "python"
        packages = self.run("-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip()
        lines = (f"import site; site.addsitedir({outer!r})\n" for outer in site.getsitepackages())
        (Path(packages) / "outer.pth").write_text("".join(lines))

    def run(self, *words: object) -> Ran:
        return subprocess.run(
            [self.python, *map(str, words)], cwd=self.folder, env=env(), text=True, capture_output=True, timeout=300
        )

    def rethaw(self, *words: object) -> Ran:
        return self.run("-m", "rethaw.cli.main", *words)

    def pip(self, *words: object) -> None:
        done = self.run("-m", "pip", "--disable-pip-version-check", *words)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The plugins are installed from copies of their sources, which are then gone."""
    world = World(tmp_path_factory.mktemp("world"))
    for source in sorted(THIRD_PARTY.iterdir()):
        shutil.copytree(source, world.folder / "sources")
        world.pip("install", "--no-build-isolation", "--no-deps", "--no-index", world.folder / "sources")
        shutil.rmtree(world.folder / "sources")
    photos(world.folder / "photos", 4)
    (world.folder / "tinted.yaml").write_text(YAML)
    return world


def ok(done: Ran) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.long
def test_the_life_of_a_third_party_plugin(world: World) -> None:
    installed(world)
    used(world)
    world.pip("uninstall", "--yes", "rethaw-tint")
    gone(world)


def installed(world: World) -> None:
    """It is listed, explained and valid in a YAML with another plugin's degradation."""
    found = json.loads(ok(world.rethaw("plugins", "list", "--json")))
    (row,) = (row for row in found["plugins"] if row["plugin"] == "tint")
    assert row == {
        "plugin": "tint",
        "distribution": "rethaw-tint",
        "version": "1.0",
        "entry point": "rethaw_tint",
        "status": "ok",
        "told": "",
    }
    assert {"name": "tint.tint", "kind": "degradation", "summary": "Blends into one colour."} in found["components"]
    assert "red, green and blue at full strength" in ok(world.rethaw("plugins", "show", "tint.tint"))
    assert "kornia.gaussian_blur + tint.tint" in ok(world.rethaw("validate", "tinted.yaml"))
    wrong = world.rethaw("validate", "tinted.yaml", "degradation.tint.color=[0,0,0]", "degradation.tint.colour=[0,0]")
    assert "Did you mean colour?" in refused(wrong) and "degradation[1].colour" in wrong.stderr


def used(world: World) -> None:
    """It trains, and the run restores images, with the plugin in its lock file."""
    ok(world.rethaw("train", "tinted.yaml", "--out", "run"))
    assert (
        json.loads((world.folder / "run" / "lock.json").read_text())["plugins"]["tint"]["distribution"] == "rethaw-tint"
    )
    ok(world.rethaw("restore", "run", "photos/0.png", "--degrade", "--out", "restored"))
    degraded, restored = (mean_colour(world.folder / "restored" / name) for name in ("0-degraded.png", "0.png"))
    assert degraded == pytest.approx((0.9, 0.2, -0.5), abs=0.02)  # full strength from t = 0.5 on
    assert len(restored) == 3


@pytest.mark.long
def test_a_third_partys_sampler_and_metric(world: World) -> None:
    (world.folder / "extra.yaml").write_text(
        YAML.replace("tint.tint, colour: [0.9, 0.2, -0.5], span: [0.0, 0.5]", "core.desaturate")
        + "sampler: {use: extra.damped, damping: 0.0}\nmetrics: [{use: core.rmse}, {use: extra.worst}]\n"
    )
    ok(world.rethaw("train", "extra.yaml", "--out", "extra"))
    ok(
        world.rethaw(
            "evaluate",
            "extra",
            "--data",
            "photos",
            "-s",
            "extra.damped",
            "-s",
            "core.naive",
            "--steps",
            "10",
            "--out",
            "measured",
        )
    )
    colours = {}
    for guide in ("off", "{use: extra.colour, colour: [0.9, 0.2, -0.5]}"):
        ok(
            world.rethaw(
                "restore", "extra", "photos/0.png", "--sampler", "direct", "--guide", guide, "--out", guide[:3]
            )
        )
        colours[guide[:3]] = mean_colour(world.folder / guide[:3] / "0.png")
    assert colours["{us"] == pytest.approx((0.9, 0.2, -0.5), abs=0.1) != colours["off"]
    rows = json.loads((world.folder / "measured" / "results.json").read_text())["rows"]
    assert rows["extra.damped"] == pytest.approx(rows["core.naive"], rel=1e-5)  # undamped, it is naive sampling
    assert 0 < rows["degraded"]["rmse"] < rows["degraded"]["worst"] <= 1


def mean_colour(file: Path) -> tuple[float, ...]:
    from rethaw.images import read_image

    return tuple(read_image(file, 3).pixels.mean((1, 2)).tolist())


def gone(world: World) -> None:
    """What names it fails with one message that says where; all else goes on."""
    message = refused(world.rethaw("validate", "tinted.yaml"))
    assert "tinted.yaml:5:11: degradation[1]: no installed plugin is named 'tint'" in message
    assert len(message.strip().splitlines()) == 2
    absent = refused(world.rethaw("restore", "run", "photos/0.png"))
    assert "rethaw-tint==1.0, which is not installed" in absent  # as the run's lock.json says
    listed = ok(world.rethaw("plugins", "list"))
    assert "tint" not in listed and "kornia.gaussian_blur" in listed
    assert "demo is valid" in ok(world.rethaw("validate", "demo"))


def test_the_example_is_as_short_as_the_docs_say() -> None:
    """The degradation is some ten lines, without blank lines, docstrings and the hook."""

    def count(text: str) -> int:
        return sum(bool(line.strip()) for line in text.splitlines())

    operator = (PLUGIN / "rethaw_tint_ops.py").read_text().partition("class TintOp:")[2]
    assert count(operator) <= 8 and count((PLUGIN / "rethaw_tint.py").read_text()) <= 15
