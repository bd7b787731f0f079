"""What needs no tensors imports none: help, lists, validation and every plugin's light module."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from rethaw.plugins import CORE_MODULE, Plugins
from tests.helpers import env

HEAVY = {
    "torch",
    "numpy",
    "PIL",
    "kornia",
    "accelerate",
    "torchmetrics",
    "scipy",
    "skimage",
    "torchvision",
    "huggingface_hub",
    "diffusers",
    "spandrel",
    "deepinv",
}
COMMAND = """
import json, runpy, sys
sys.argv = ["rethaw", *sys.argv[1:]]
try:
    runpy.run_module("rethaw.cli.main", run_name="__main__")
except SystemExit as end:
    code = end.code
print("\\n" + json.dumps([code or 0, sorted({name.partition(".")[0] for name in sys.modules})]))
"""
MODULE = (
    "import importlib, json, sys; importlib.import_module(sys.argv[1]); print(json.dumps([0, sorted(sys.modules)]))"
)


def after(program: str, *words: str) -> tuple[int, set[str]]:
    """A program's exit code and the modules that it has imported."""
    done = subprocess.run(
        [sys.executable, "-c", program, *words], env=env(), text=True, capture_output=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    code, modules = json.loads(done.stdout.splitlines()[-1])
    return code, {name.partition(".")[0] for name in modules}


@pytest.mark.parametrize(
    "line",
    [
        "--help",
        "--version",
        "train --help",
        "import --help",
        "plugins list",
        "plugins show core.cold",
        "validate demo",
        "validate demo --show",
        "validate deblur",
        "schema",
        "recipes",
        "recipes demo",
    ],
)
def test_commands_without_tensors(line: str) -> None:
    code, modules = after(COMMAND, *line.split())
    assert code == 0 and "rethaw" in modules
    assert not modules & HEAVY


@pytest.mark.parametrize(
    "line", ["validate nonsense", "train deblur train.steps=x", "train demo --resume --out nowhere"]
)
def test_mistakes_are_told_before_torch_is_imported(line: str) -> None:
    code, modules = after(COMMAND, *line.split())
    assert code == 2
    assert not modules & HEAVY


MODULES = [
    "rethaw",
    "rethaw.api",
    "rethaw.config",
    "rethaw.registry",
    CORE_MODULE,
    *(claim.module for claims in Plugins().claims.values() for claim in claims),
]


@pytest.mark.parametrize("module", dict.fromkeys(MODULES))
def test_light_modules(module: str) -> None:
    _, modules = after(MODULE, module.partition(":")[0])
    assert not modules & HEAVY


def seconds(*command: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *command], env=env(), check=True, capture_output=True, timeout=120)
    return time.perf_counter() - began


@pytest.mark.long
def test_help_takes_less_than_a_third_of_importing_torch() -> None:
    """The best of several runs of each, in turn, so that a busy machine slows both."""
    bare, helped, torch = [], [], []
    for _ in range(4):
        bare.append(seconds("-c", "pass"))
        helped.append(seconds("-m", "rethaw.cli.main", "--help"))
        torch.append(seconds("-c", "import torch"))
    assert min(helped) - min(bare) < (min(torch) - min(bare)) / 3
