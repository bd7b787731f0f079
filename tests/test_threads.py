"""Trainings beside each other in one process: each draws its own numbers, whatever the others do."""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import rethaw
from rethaw.engine.run import MODEL, load_tensors
from tests.helpers import photos, recipe

DROPOUT = ["backbone.dropout=0.5", "train.steps=6", "train.checkpoint_every=3"]
KINDS = {"noise": "core.gaussian_noise", "blur, with a fitted prior": "kornia.gaussian_blur", "mask": "core.mask"}


def trained(folder: Path, seed: int, run: Path, *overrides: str) -> Mapping[str, Tensor]:
    pipeline = rethaw.Pipeline.from_yaml(folder / "small.yaml", [*DROPOUT, f"seed={seed}", *overrides], "cpu")
    pipeline.train(run)
    return load_tensors(run / MODEL)


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_leaves_the_global_random_states_alone(kind: str, tmp_path: Path) -> None:
    """What is drawn from them outside the lock would shift the draws of another thread, and be shifted by them."""
    recipe(tmp_path, photos(tmp_path / "photos", 3), KINDS[kind])
    torch.manual_seed(5)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # type: ignore[index]
    trained(tmp_path, 1, tmp_path / "run")
    after = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # type: ignore[index]
    assert torch.equal(before[0], after[0]) and before[1:] == after[1:]


def test_two_trainings_in_two_threads_end_as_alone(tmp_path: Path) -> None:
    recipe(tmp_path, photos(tmp_path / "photos", 3), "core.gaussian_noise")
    alone = [trained(tmp_path, seed, tmp_path / f"alone{seed}") for seed in (1, 2)]
    for again in range(5):
        found: dict[int, Mapping[str, Tensor]] = {}

        def work(seed: int, again: int = again, found: dict[int, Mapping[str, Tensor]] = found) -> None:
            found[seed] = trained(tmp_path, seed, tmp_path / f"run{again}-{seed}")

        threads = [threading.Thread(target=work, args=(seed,)) for seed in (1, 2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for seed, weights in zip((1, 2), alone, strict=True):
            assert all(torch.equal(weights[key], found[seed][key]) for key in weights), f"round {again}, seed {seed}"
