"""Tests that take minutes: many kills at random moments, and training in two processes."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from rethaw.engine.training.checkpoint import load_checkpoint
from tests.helpers import env, photos, recipe, rethaw

pytestmark = pytest.mark.long
STEPS = ["train.steps=60", "train.checkpoint_every=1"]


def test_killed_at_random_moments_until_it_ends(tmp_path: Path) -> None:
    """With a checkpoint after every step, most kills hit while something is being written."""
    recipe(tmp_path, photos(tmp_path / "photos"), "[{use: core.mask}, {use: core.gaussian_noise}]")
    rethaw("train", "small.yaml", *STEPS, "--out", "whole", cwd=tmp_path)
    rng, run, kills = random.Random(0), tmp_path / "killed", 0
    while kills < 8:
        resume = ["--resume"] if (run / "checkpoint.pt").is_file() else []
        command = [sys.executable, "-m", "rethaw.cli.main", "train", "small.yaml", *STEPS, "--out", "killed", *resume]
        process = subprocess.Popen(command, cwd=tmp_path, env=env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        before = (run / "log.jsonl").stat().st_mtime_ns if (run / "log.jsonl").is_file() else 0
        while process.poll() is None:
            log = run / "log.jsonl"
            if log.is_file() and log.stat().st_mtime_ns != before:
                break
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 1.0))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += 1
        if process.returncode == 0:
            break
        if (run / "checkpoint.pt").is_file():
            load_checkpoint(run / "checkpoint.pt")  # whole at any moment
    if process.returncode != 0:
        rethaw("train", "small.yaml", *STEPS, "--out", "killed", "--resume", cwd=tmp_path)
    assert kills >= 2
    whole, killed = (load_checkpoint(tmp_path / name / "checkpoint.pt") for name in ("whole", "killed"))
    assert all(torch.equal(whole["ema"][key], killed["ema"][key]) for key in whole["ema"])
    assert (tmp_path / "whole/model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()


def test_two_processes_share_a_training(tmp_path: Path) -> None:
    """Two processes with half the batch each see together what one process sees, and one of them writes."""
    recipe(tmp_path, photos(tmp_path / "photos", 8), "{use: core.gaussian_noise}")
    words = ["train.steps=1", "train.clip_grad=0", "train.ema=0"]
    rethaw("train", "small.yaml", *words, "train.batch_size=4", "--out", "one", cwd=tmp_path)
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "-m", "rethaw.cli.main"]
    done = subprocess.run(
        [*launch, "train", "small.yaml", *words, "train.batch_size=2", "--out", "two"],
        cwd=tmp_path,
        env=env(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    one, two = (load_checkpoint(tmp_path / name / "checkpoint.pt")["network"] for name in ("one", "two"))
    apart = torch.cat([(one[key] - two[key]).abs().flatten() for key in one])
    moved = torch.cat([value.flatten() for key, value in one.items() if "head" in key]).abs() > 1e-5
    assert moved.double().mean() > 0.9, "the first step moves the last layer"
    assert (apart > 1e-5).sum() < 0.02 * moved.sum(), "Adam's first step is the sign of the gradient of all examples"
    rows = [
        [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    ]
    assert [row["step"] for row in rows[1]] == [1] and rows[0][0]["loss"] == pytest.approx(rows[1][0]["loss"], rel=1e-3)
    assert done.stdout.count("trained 1 steps") == 1, "one process speaks"


def test_what_any_process_leaves_out_is_told_once(tmp_path: Path) -> None:
    """In one epoch each of two processes reads half of the files, and so meets only some of the broken ones."""
    data = photos(tmp_path / "photos", 12)
    broken = [data / f"{i}.png" for i in (1, 4, 6, 9, 11)]
    recipe(tmp_path, data)
    for path in broken:
        path.write_bytes(path.read_bytes()[:200])
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "-m", "rethaw.cli.main"]
    words = ["train", "small.yaml", "train.steps=3", "train.batch_size=2", "--out", "two"]
    done = subprocess.run([*launch, *words], cwd=tmp_path, env=env(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert [done.stderr.count(f"skipped {path}") for path in broken] == [1] * len(broken)
