"""Snow as Cold Diffusion has it, against its definition written out step by step."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import rethaw
from rethaw.api import Prediction
from rethaw.ops import generators
from rethaw_imagenet_c.zoom import cropped, enlarge

STEPS, SIDE = 20, 32
TAPS = {1: 5, 2: 11, 3: 11, 4: 11}
RAMPS = {
    1: (0.7, 0.3, 0.5, 5, 0.95, 0.7),
    2: (1.15, 0.7, 0.05, 12, 0.95, 0.55),
    3: (1.15, 0.7, 0.05, 16, 0.95, 0.4),
    4: (1.15, 0.55, 0.05, 20, 0.95, 0.3),
}


def stepwise(x0: Tensor, layer: Tensor, vertical: bool, level: int, brightness: str) -> list[Tensor]:
    """x at each of the steps, for one image (1, 3, H, W) and layer (1, 1, H, W) on [0, 1] in float64."""
    first, last, σ_first, σ_last, b_first, b_last = RAMPS[level]
    taps, grey = TAPS[level], 0.299 * x0[:, :1] + 0.587 * x0[:, 1:2] + 0.114 * x0[:, 2:]
    made = []
    for threshold, σ, b in zip(
        np.linspace(first, last, STEPS),
        np.linspace(σ_first, σ_last, STEPS),
        np.linspace(b_first, b_last, STEPS),
        strict=True,
    ):
        snow = layer.clone()
        snow[snow < threshold] = 0
        kernel = torch.tensor(
            [math.exp(-((j - taps // 2) ** 2) / (2 * σ**2)) for j in range(taps)], dtype=torch.float64
        )
        kernel = (kernel / kernel.sum()).view(1, 1, -1, 1) if vertical else (kernel / kernel.sum()).view(1, 1, 1, -1)
        snow = F.conv2d(snow.clamp(0, 1), kernel, padding="same")
        base = x0 if brightness == "fixed" else b * x0 + (1 - b) * torch.maximum(x0, 1.5 * grey + 0.5)
        made.append((base + snow + snow.rot90(2, (2, 3))).clamp(0, 1))
    return made


@pytest.mark.parametrize("brightness", ["fixed", "ramp"])
@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_it_equals_its_definition_step_by_step(level: int, brightness: str) -> None:
    d = rethaw.build("degradation", "imagenet_c.cold_snow", level=level, brightness=brightness, levels=STEPS)
    x0 = torch.rand(4, 3, SIDE, SIDE + 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1
    state = d.draw(x0, generators(2, 4))
    assert set(state["vertical"].tolist()) == {0.0, 1.0}
    each = [
        stepwise((x0[b : b + 1] + 1) / 2, state["layer"][b : b + 1], bool(state["vertical"][b]), level, brightness)
        for b in range(4)
    ]
    for i in range(STEPS):
        x = d.degrade(x0, torch.full((4,), (i + 1) / STEPS, dtype=torch.float64), state)
        assert ((x + 1) / 2 - torch.cat([made[i] for made in each])).abs().max() < 1e-6


@pytest.mark.parametrize("zoom", [3.0, 2.5])
def test_layers_are_enlarged_as_scipy_does(zoom: float) -> None:
    ndimage: Any = pytest.importorskip("scipy.ndimage")
    crop = cropped(SIDE, zoom)
    noise = np.random.default_rng(0).normal(size=(crop, crop))
    whole = ndimage.zoom(noise, zoom, order=1)
    start = (len(whole) - SIDE) // 2
    made = enlarge(torch.from_numpy(noise), SIDE, SIDE, zoom, centred=True)
    np.testing.assert_allclose(made.numpy(), whole[start : start + SIDE, start : start + SIDE], atol=1e-10)


@pytest.mark.parametrize("params", [{"levels": STEPS}, {"levels": STEPS, "brightness": "ramp", "level": 4}, {}])
def test_an_oracle_restorer_gives_back_x0(params: dict[str, Any]) -> None:
    """Where the published sampler, off by one, leaves an error of 0.003 and more."""
    d = rethaw.build("degradation", "imagenet_c.cold_snow", **params)
    sampler = rethaw.build("sampler", "core.cold", steps=STEPS)
    x0 = torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1
    state = d.draw(x0, generators(1, 2))
    x = d.degrade(x0, torch.ones(2, dtype=torch.float64), state)
    *_, end = sampler.trajectory(lambda x, t: Prediction(x0), x, sampler.severities(d), d, state, generators(2, 2))
    assert (x - x0).abs().max() > 0.5 and (end.x - x0).abs().max() < 1e-9


def test_layers_are_random_or_the_same_for_all() -> None:
    like = torch.zeros(3, 3, SIDE, SIDE)
    one = rethaw.build("degradation", "imagenet_c.cold_snow", random=False)
    states = [one.draw(like, generators(seed, 3)) for seed in (0, 1)]
    for key in ("layer", "vertical"):
        assert torch.equal(states[0][key], states[1][key]) and torch.equal(states[0][key][0], states[0][key][2])
    many = rethaw.build("degradation", "imagenet_c.cold_snow").draw(like, generators(0, 3))
    assert not torch.equal(many["layer"][0], many["layer"][1])
