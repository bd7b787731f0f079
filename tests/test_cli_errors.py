"""The command line refuses a user's mistakes: exit code 2, one message, nothing on standard output, no traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import pytest
import typer
from PIL import Image

from rethaw.cli.main import app
from rethaw.hookspecs import KINDS
from tests.conftest import Ran, refused, run

MISTAKES = [
    ("bogus", "No such command 'bogus'"),
    ("--bogus", "No such option"),
    ("validate", "Missing argument"),
    (
        "validate nonsense",
        "there is no file 'nonsense' and no recipe 'nonsense'\n  The recipes are: bsrgan, cold-blur-celeba",
    ),
    ("validate .", "is a folder without resolved.yaml, so it is no run"),
    ("validate image.png", "image.png:1:1: the file is not text in UTF-8"),
    (f"validate {'n' * 300}", "File name too long"),
    (
        "validate misspelt.yaml",
        "misspelt.yaml:2:20: degradation: there is no degradation 'kornia.gausian_blur'\n"
        "    Did you mean kornia.gaussian_blur",
    ),
    ("validate absent.yaml", "absent.yaml:2:14: degradation: no installed plugin is named 'nowhere'"),
    ("validate kind.yaml", "kind.yaml:2:14: degradation: core.cold is a sampler, not a degradation"),
    ("validate wrong.yaml", 'wrong.yaml:3:16: train.steps must be a whole number, not "many"'),
    ("validate range.yaml", "range.yaml:3:13: train.lr must be greater than 0, not -1"),
    ("validate key.yaml", "key.yaml:3:1: unknown key 'trian'\n    Did you mean train?"),
    ("validate syntax.yaml", "syntax.yaml:1:4: not valid YAML"),
    ("validate evil.yaml", "evil.yaml:1:14: the tag !!python/object/apply:os.system is not allowed"),
    ("validate demo train.steps", "command line: train.steps: an override is key=value"),
    ("validate demo train.steps=-1", "command line: train.steps=-1: train.steps must be at least 1"),
    ("--block kornia validate demo", "plugin 'kornia' of rethaw-kornia is not loaded: it is blocked"),
    ("validate demo --bogus", "No such option"),
    ("plugins list --kind nope", "there is no kind 'nope'\n  The kinds are: degradation"),
    ("plugins show nope", "no plugin and no component is named 'nope'"),
    ("plugins show korna", "Did you mean kornia?"),
    ("plugins show gaussian_blur", "Did you mean kornia.gaussian_blur"),
    ("plugins show kornia.pixelat", "Did you mean kornia.pixelate"),
    ("recipes nope", "there is no recipe 'nope'\n  The recipes are: bsrgan, cold-blur-celeba"),
    ("recipes deblurr", "there is no recipe 'deblurr'\n  Did you mean deblur"),
    ("degrade --all demo image.png", "--all takes one image"),
    ("restore run image.png --degrade --state mask=image.png", "--degrade draws a state of its own"),
    ("generate run --strength 0.5", "--strength goes with --from"),
    ("schema --out image.png/schema.json", "image.png/schema.json could not be written"),
    ("train key.yaml", "key.yaml:3:1: unknown key 'trian'"),
    ("train deblur --resume --out absent", "absent has no checkpoint to resume from"),
    ("train run", "run is a run folder\n  Add --resume"),
    ("train deblur data.path=nowhere --out here", "nowhere does not exist"),
    ("degrade demo absent.png", "absent.png does not exist"),
    ("degrade demo image.png -n 1", "Invalid value for '-n'"),
    ("restore run image.png", "run/model.safetensors"),
    ("restore nowhere image.png", "nowhere is not a run folder: it has no resolved.yaml"),
    ("restore nowhere absent.png", "nowhere is not a run folder"),
    ("generate nowhere -n 0", "Invalid value for '-n'"),
    ("evaluate nowhere", "Missing option '--data'"),
    ("evaluate nowhere --data image.png", "nowhere is not a run folder"),
]
LINES = [line for line, _ in MISTAKES]

FILES = {
    "misspelt": "version: 1\ndegradation: {use: kornia.gausian_blur}\n",
    "absent": "version: 1\ndegradation: nowhere.at_all\n",
    "kind": "version: 1\ndegradation: core.cold\n",
    "wrong": "version: 1\ndegradation: core.mask\ntrain: {steps: many}\n",
    "range": "version: 1\ndegradation: core.mask\ntrain: {lr: -1}\n",
    "key": "version: 1\ndegradation: core.mask\ntrian: {steps: 5}\n",
    "syntax": "a: ]\n",
    "evil": "degradation: !!python/object/apply:os.system ['touch hacked']\n",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("place")
    for name, text in FILES.items():
        (place / f"{name}.yaml").write_text(text)
    (place / "run").mkdir()
    (place / "run" / "resolved.yaml").write_text("version: 1\ndegradation: core.mask\n")
    Image.new("RGB", (16, 16)).save(place / "image.png")
    return place


@pytest.fixture(scope="module")
def refusals(place: Path) -> dict[str, Ran]:
    """How each of the commands ended; two at a time, as each is a process of its own."""
    before = sorted(place.iterdir())
    with ThreadPoolExecutor(2) as pool:
        ended = dict(zip(LINES, pool.map(lambda line: run(*line.split(), cwd=place), LINES), strict=True))
    assert sorted(place.iterdir()) == before, "commands that refuse leave nothing behind"
    return ended


@pytest.mark.parametrize(("line", "expected"), MISTAKES, ids=[line[:50] for line in LINES])
def test_a_mistake_is_one_message(line: str, expected: str, refusals: dict[str, Ran]) -> None:
    assert expected in refused(refusals[line])


def test_without_a_command_there_is_help() -> None:
    result = run()
    assert result.returncode == 2 and "rethaw demo" in result.stdout and result.stderr == ""


def commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command that does something."""
    below = getattr(command, "commands", {})
    if not below:
        yield path
    for name, one in below.items():
        yield from commands(one, (*path, name))


@pytest.mark.parametrize("words", list(commands(typer.main.get_command(app))), ids=" ".join)
def test_help_has_examples(words: tuple[str, ...]) -> None:
    result = run(*words, "--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert "Examples" in result.stdout and f"rethaw {' '.join(words)}" in result.stdout


def test_plugins_list_of_each_kind() -> None:
    every = json.loads(run("plugins", "list", "--json").stdout)["components"]
    assert {row["kind"] for row in every} == set(KINDS)
    listed = json.loads(run("plugins", "list", "--kind", "sampler", "--json").stdout)["components"]
    assert listed == [row for row in every if row["kind"] == "sampler"] and len(listed) >= 3


def test_a_defect_is_told_as_one(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import rethaw.plugins\nrethaw.plugins.scan = lambda: 1 / 0\n")
    result = run("plugins", "list", env={"PYTHONPATH": str(tmp_path)})
    assert result.returncode == 3
    assert "ZeroDivisionError" in result.stderr and "RETHAW_TRACEBACK=1 shows where" in result.stderr


def test_output_that_nobody_reads_to_the_end_is_no_error() -> None:
    command = f"{sys.executable} -m rethaw.cli.main schema | head -n 1"
    done = subprocess.run(command, shell=True, text=True, capture_output=True, timeout=60)
    assert done.stdout == "{\n" and done.stderr == ""
