"""What the tests of the engine and the command line share: small images, a small pipeline, real subprocesses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from tests.forks import can_fork, server

TINY = ["backbone.width=8", "backbone.multipliers=[1]", "backbone.blocks=1"]
"""Overrides that make core.unet small."""


def photos(folder: Path, count: int = 6, size: tuple[int, int] = (40, 32), mode: str = "RGB") -> Path:
    """Smooth random pictures, PNG, in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for i in range(count):
        noise = Image.fromarray(rng.integers(0, 256, (*size[::-1], 3), dtype=np.uint8))
        noise.filter(ImageFilter.GaussianBlur(3)).convert(mode).save(folder / f"{i}.png")
    return folder


def recipe(folder: Path, data: Path, degradation: str = "{use: core.desaturate}", extra: str = "") -> Path:
    """A small pipeline that trains in a second."""
    path = folder / "small.yaml"
    path.write_text(
        f"version: 1\ndata: {{use: core.folder, path: {data}, size: 16}}\ndegradation: {degradation}\n"
        "backbone: {use: core.unet, width: 8, multipliers: [1], blocks: 1}\nrestorer: {prediction: residual}\n"
        "sampler: {use: core.cold, steps: 3}\n"
        f"train: {{steps: 4, batch_size: 2, checkpoint_every: 2, warmup: 0}}\n{extra}"
    )
    return path


def rethaw(*words: Any, cwd: Path, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the command line in a process of its own."""
    given, own = [str(word) for word in words], env(**environment)
    if can_fork(own):
        done = server().run(given, cwd, own)
    else:
        command = [sys.executable, "-m", "rethaw.cli.main", *given]
        done = subprocess.run(command, cwd=cwd, env=own, capture_output=True, text=True, timeout=300)
    assert "Traceback" not in done.stderr, done.stderr
    if check:
        assert done.returncode == 0, done.stderr
    return done


def env(**extra: str) -> dict[str, str]:
    """An environment in which results do not depend on the machine's cores."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", "NO_COLOR": "1", **extra}
