"""What a training will take is told before it takes it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import rethaw
from rethaw.api import RethawError
from rethaw.config.model import Train
from rethaw.engine.training import memory
from rethaw.engine.training.memory import GIB, available, check_memory, foreseen, kept, size_of
from rethaw.engine.training.train import train
from tests.helpers import env, photos, recipe
from tests.helpers import rethaw as command

CPU = torch.device("cpu")


def test_what_a_forward_pass_keeps_is_counted_once() -> None:
    """By hand: a product keeps both its factors, a sum neither, and each tensor counts once."""
    a, b = torch.randn(1000, requires_grad=True), torch.randn(1000, requires_grad=True)
    with kept() as count:
        ((a * b) * a).sum() + (a + b).sum()
    assert count() == 4 * 1000 * 3  # a, b and a·b
    with kept() as count:
        a + b
    assert count() == 0


def test_too_large_a_batch_is_refused_with_one_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    network, options = nn.Linear(1000, 250), Train(batch_size=64, accumulate=2)
    assert size_of(network) == 4 * 250 * 1001
    image = GIB // 100

    def machine(total: float, free: float) -> None:
        monkeypatch.setattr(memory, "available", lambda device: (int(total * GIB), int(free * GIB)))

    machine(16, 8)
    assert check_memory(options, network, image, CPU) is None
    machine(16, 0.5)
    warning = check_memory(options, network, image, CPU)
    assert warning and "train.batch_size=16 fits; with train.accumulate=8" in warning
    machine(0.5, 0.5)
    with pytest.raises(
        RethawError, match=r"train\.batch_size=64 takes about 1\.2 GiB of memory, and there are 0\.5 GiB"
    ):
        check_memory(options, network, image, CPU)
    machine(0.0001, 0.0001)
    with pytest.raises(RethawError) as caught:
        check_memory(options, network, image, CPU)
    assert "smaller network" in caught.value.hint
    assert foreseen(replace(options, ema=0.0), 100, 0) == 400 and foreseen(options, 100, 0) == 500


def test_the_machine_has_memory() -> None:
    total, free = available(CPU)
    assert 0 < free <= total


def test_a_command_says_so_before_the_first_step(tmp_path: Path) -> None:
    recipe(tmp_path, photos(tmp_path / "photos", 2))
    words = ("train", "small.yaml", "train.batch_size=90000000", "--out", "run")
    done = command(*words, cwd=tmp_path, check=False)
    assert done.returncode == 2 and "train.batch_size=90000000 takes about" in done.stderr
    assert "fits; with train.accumulate=" in done.stderr and not (tmp_path / "run").exists()


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="reads the peak of a process from /proc")
def test_what_is_foreseen_is_what_a_training_takes(tmp_path: Path) -> None:
    """Peaks of processes that train at two batch sizes, against what is foreseen of the difference."""
    recipe(tmp_path, photos(tmp_path / "photos", 2, (64, 64)))
    wide = [
        "data.size=64",
        "backbone.width=32",
        "backbone.multipliers=[1,2]",
        "train.steps=2",
        "train.checkpoint_every=9",
    ]

    def peak(batch: int) -> int:
        code = (
            "import re, rethaw\n"
            f"p = rethaw.Pipeline.from_yaml('small.yaml', {[*wide, f'train.batch_size={batch}']!r}, 'cpu')\n"
            f"p.train('run{batch}')\n"
            # getrusage would give the peak of the process that forked this one, if that is larger
            "print(int(re.search(r'VmHWM:\\s*(\\d+) kB', open('/proc/self/status').read())[1]) * 1024)"
        )
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return int(done.stdout.split()[-1])

    pipeline = rethaw.Pipeline.from_yaml(tmp_path / "small.yaml", wide, "cpu")
    network = pipeline.parts.restorer()
    with kept() as count:
        network(torch.zeros(2, 3, 64, 64), torch.ones(2), {})
    image = (count() - size_of(network)) // 2
    small, large = (foreseen(Train(batch_size=n), size_of(network), image) for n in (16, 96))
    assert 0.7 < (peak(96) - peak(16)) / (large - small) < 1.3


def test_files_that_are_left_out_are_said_before_training_and_once(tmp_path: Path) -> None:
    data = photos(tmp_path / "photos", 3)
    (data / "sound.wav").write_bytes(b"x")
    told: list[str] = []
    steps: list[int] = []
    parts = rethaw.Pipeline.from_yaml(recipe(tmp_path, data), [], "cpu").parts
    (data / "2.png").write_bytes((data / "2.png").read_bytes()[:200])
    train(parts, tmp_path / "run", watch=lambda p: steps.append(len(told)), notify=told.append)
    assert steps[0] >= 1 and ".wav" in told[0]
    assert len(told) == len(set(told)) and sum("2.png" in text for text in told) == 1
