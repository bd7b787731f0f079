"""A training that is killed at any moment and resumed ends in exactly the weights of one that never stopped."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from rethaw.api import RethawError
from rethaw.engine.training.checkpoint import load_checkpoint
from tests.helpers import env, photos, recipe, rethaw

STEPS = "train.steps=40"


def start(work: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "rethaw.cli.main", "train", *words]
    return subprocess.Popen(command, cwd=work, env=env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def steps_logged(run: Path) -> int:
    log = run / "log.jsonl"
    lines = log.read_text().splitlines() if log.is_file() else []
    return int(json.loads(lines[-1])["step"]) if lines else 0


def wait_for(condition: object, process: subprocess.Popen[str], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition() and process.poll() is None and time.monotonic() < end:  # type: ignore[operator]
        time.sleep(0.002)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a pipeline (noise and a mask, EMA, an estimate of the severity) and its whole training."""
    folder = tmp_path_factory.mktemp("resume")
    degradation = "[{use: core.mask}, {use: core.gaussian_noise}]"
    recipe(folder, photos(folder / "photos"), degradation, "severity: {estimate: true}\n")
    rethaw("train", "small.yaml", STEPS, "train.checkpoint_every=3", "--out", "whole", cwd=folder)
    return folder


def same_weights(work: Path, run: str) -> bool:
    whole, other = (load_checkpoint(work / name / "checkpoint.pt") for name in ("whole", run))
    assert whole["step"] == other["step"] == 40
    equal = all(torch.equal(whole[part][key], other[part][key]) for part in ("network", "ema") for key in whole[part])
    return equal and (work / "whole/model.safetensors").read_bytes() == (work / run / "model.safetensors").read_bytes()


@pytest.mark.long
def test_killed_several_times_and_once_while_it_saves(work: Path) -> None:
    run = work / "killed"
    moments = [lambda: steps_logged(run) >= 10, lambda: any(run.glob(".*")) and steps_logged(run) >= 20]
    words = ("small.yaml", STEPS, "train.checkpoint_every=3", "--out", "killed")
    for number, moment in enumerate(moments):
        process = start(work, *words, *(["--resume"] if number else []))
        wait_for(moment, process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert load_checkpoint(run / "checkpoint.pt")["step"] < 40
    rethaw("train", *words, "--resume", cwd=work)
    assert same_weights(work, "killed")
    assert not list(run.glob(".*")), "a killed run leaves no part of a file behind once it is resumed"
    rows = [json.loads(line)["step"] for line in (run / "log.jsonl").read_text().splitlines()]
    assert rows == sorted(set(rows))


def test_ctrl_c_saves_and_says_how_to_go_on(work: Path) -> None:
    process = start(work, "small.yaml", STEPS, "train.checkpoint_every=1000", "--out", "stopped")
    wait_for(lambda: steps_logged(work / "stopped") >= 1, process)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "rethaw train stopped --resume" in said
    rethaw("train", "stopped", "--resume", cwd=work)
    assert same_weights(work, "stopped")


def test_resuming_what_cannot_be_resumed(work: Path) -> None:
    done = rethaw("train", "small.yaml", "--out", "whole", cwd=work, check=False)
    assert done.returncode == 2 and "already holds a training" in done.stderr
    done = rethaw("train", "small.yaml", "--out", "nothing", "--resume", cwd=work, check=False)
    assert done.returncode == 2 and "no checkpoint" in done.stderr
    done = rethaw("train", "whole", "--resume", "train.lr=0.5", cwd=work, check=False)
    assert done.returncode == 2 and "another pipeline" in done.stderr and "0.5" in done.stderr


@pytest.mark.parametrize("size", [100, *(pytest.param(each, marks=pytest.mark.long) for each in (0, 5000))])
def test_a_truncated_checkpoint_is_told(work: Path, size: int) -> None:
    cut = work / "cut"
    cut.mkdir(exist_ok=True)
    for name in ("resolved.yaml", "lock.json"):
        (cut / name).write_bytes((work / "whole" / name).read_bytes())
    for name in ("checkpoint.pt", "model.safetensors"):
        (cut / name).write_bytes((work / "whole" / name).read_bytes()[:size])
    with pytest.raises(RethawError, match="damaged"):
        load_checkpoint(cut / "checkpoint.pt")
    done = rethaw("train", "cut", "--resume", cwd=work, check=False)
    assert done.returncode == 2 and "checkpoint.pt is damaged" in done.stderr
    done = rethaw("generate", "cut", cwd=work, check=False)
    assert done.returncode == 2 and "model.safetensors is damaged" in done.stderr
