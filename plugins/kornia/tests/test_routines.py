"""The published routines: their contract, and each against its definition, one step after the other."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

import rethaw
from rethaw.api import RethawError
from rethaw.testing import CHECKS, degradation_tests, run_check

TestCumulativeBlur = degradation_tests(
    "kornia.cumulative_blur", {"padding": "reflect"}, {"routine": "individual", "steps": 12}
)
TestDownsample = degradation_tests("kornia.downsample", {"steps": 4})


@pytest.mark.parametrize(
    "name, params, left_out",
    [
        ("cumulative_blur", {"routine": "special_6"}, ""),
        ("cumulative_blur", {"routine": "constant", "padding": "reflect", "steps": 8}, ""),
        ("downsample", {"mode": "area", "steps": 6, "routine": "incremental", "blur": True}, ""),
        ("downsample", {"mode": "bilinear"}, "grows"),  # without smoothing, a level may change noise less
        ("downsample", {"mode": "bicubic", "blur": True}, "grows"),
    ],
)
def test_the_other_routines_keep_the_contract(name: str, params: dict[str, Any], left_out: str) -> None:
    d = rethaw.build("degradation", f"kornia.{name}", **params)
    for check in CHECKS.keys() - {left_out}:
        run_check(check, d)


def images(count: int, height: int, width: int, dtype: Any = torch.float64) -> Tensor:
    rng = torch.Generator().manual_seed(0)
    return torch.rand(count, 3, height, width, generator=rng, dtype=torch.float64).to(dtype) * 2 - 1


def levels(name: str, x: Tensor, **params: Any) -> Tensor:
    """Levels 0 … T-1 of one image (1, C, H, W) in one call, (T, C, H, W)."""
    d = rethaw.build("degradation", name, **params)
    steps = d.operator.steps
    t = torch.arange(1, steps + 1, dtype=torch.float64) / steps
    return d.degrade(x.expand(steps, *x.shape[1:]), t, {})


def convolved(x: Tensor, size: int, sigma: float, padding: str) -> Tensor:
    """One depthwise convolution with the outer product of a normalised Gaussian."""
    at = torch.arange(size, dtype=x.dtype) - size // 2
    line = torch.exp(-at.square() / (2 * sigma**2))
    kernel = torch.outer(line, line) / line.sum() ** 2
    padded = F.pad(x, (size // 2,) * 4, mode=padding)
    return F.conv2d(padded, kernel.expand(x.shape[1], 1, size, size), groups=x.shape[1])


def by_steps(x: Tensor, steps: int, step: Any) -> Tensor:
    found = []
    for i in range(steps):
        x = step(x, i)
        found.append(x)
    return torch.cat(found)


SIGMA = {
    "constant": lambda i, std: std,
    "incremental": lambda i, std: std * (i + 1),
    "exponential": lambda i, std: math.exp(std * i),
    "special_6": lambda i, std: i / 100 + 0.35,
}


@pytest.mark.parametrize("height, width", [(32, 32), (24, 31)])
@pytest.mark.parametrize(
    "routine, size, std, padding, steps",
    [
        ("constant", 11, 7.0, "circular", 20),
        ("constant", 11, 7.0, "reflect", 20),
        ("incremental", 9, 0.03, "circular", 30),
        ("incremental", 9, 0.03, "reflect", 30),
        ("exponential", 27, 0.01, "circular", 60),
        ("exponential", 15, 0.01, "reflect", 120),
        ("special_6", 11, None, "reflect", 50),
        ("special_6", 11, None, "circular", 50),
    ],
)
def test_a_cumulative_blur_is_its_definition(
    routine: str, size: int, std: float | None, padding: str, steps: int, height: int, width: int
) -> None:
    x = images(1, height, width)
    given = {"routine": routine, "kernel_size": size, "kernel_std": std, "padding": padding, "steps": steps}
    found = levels("kornia.cumulative_blur", x, **{k: v for k, v in given.items() if v is not None})
    expected = by_steps(x, steps, lambda y, i: convolved(y, size, SIGMA[routine](i, std), padding))
    assert (found - expected).abs().max() <= 1e-10


@pytest.mark.parametrize("padding", ["circular", "reflect"])
def test_the_individual_blur_is_one_convolution(padding: str) -> None:
    x = images(1, 24, 32)
    found = levels("kornia.cumulative_blur", x, routine="individual", steps=20, padding=padding)
    expected = torch.cat([convolved(x, 2 * i + 1, 2.0 * (2 * i + 1), padding) for i in range(20)])
    assert (found - expected).abs().max() <= 1e-10


@pytest.mark.parametrize(
    "routine, published",
    [
        ("constant", (11, 7.0, "circular", 20)),
        ("exponential", (15, 0.01, "circular", 200)),
        ("special_6", (11, None, "reflect", 50)),
        ("individual", (None, None, "circular", 50)),
    ],
)
def test_what_is_left_out_is_as_published(routine: str, published: tuple[Any, ...]) -> None:
    p = rethaw.build("degradation", "kornia.cumulative_blur", routine=routine).operator.params
    assert (p.kernel_size, p.kernel_std, p.padding, p.steps) == published


@pytest.mark.parametrize("mode", ["area", "bilinear", "bicubic"])
@pytest.mark.parametrize("blur", [False, True])
@pytest.mark.parametrize("routine, steps", [("factor_2", 4), ("incremental", 12), ("incremental", 23)])
@pytest.mark.parametrize("height, width", [(32, 32), (37, 24), (28, 41)])
def test_downsampling_is_its_definition(
    mode: str, blur: bool, routine: str, steps: int, height: int, width: int
) -> None:
    def step(x: Tensor, i: int) -> Tensor:
        size = [side // 2 ** (i + 1) if routine == "factor_2" else side - i for side in (height, width)]
        x = convolved(x, 3, 0.5, "reflect") if blur else x
        x = F.interpolate(F.interpolate(x, size=size, mode=mode), size=(height, width), mode="nearest-exact")
        return convolved(x, 3, 0.5, "reflect") if blur else x

    x = images(1, height, width)
    found = levels("kornia.downsample", x, mode=mode, blur=blur, routine=routine, steps=steps)
    assert (found - by_steps(x, steps, step)).abs().max() <= 1e-10


@pytest.mark.parametrize("name", ["kornia.cumulative_blur", "kornia.downsample"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_severity_between_levels_goes_up_to_the_next(name: str, dtype: Any) -> None:
    d = rethaw.build("degradation", name, steps=5)
    assert not d.continuous and d.linear
    t = torch.tensor([0.0, 0.01, 0.2, 0.21, 0.6, 0.8, 0.99, 1.0], dtype=dtype)
    rounded = torch.tensor([0.0, 0.2, 0.2, 0.4, 0.6, 0.8, 1.0, 1.0], dtype=dtype)
    x = images(1, 16, 16, dtype).expand(8, -1, -1, -1)
    assert torch.equal(d.degrade(x, t, {}), d.degrade(x, rounded, {}))
    assert torch.equal(d.degrade(x, t, {})[0], x[0])


@pytest.mark.parametrize("name", ["kornia.cumulative_blur", "kornia.downsample"])
@pytest.mark.parametrize("height, width", [(1, 1), (1, 7), (2, 2), (5, 3)])
def test_any_size(name: str, height: int, width: int) -> None:
    for padding in ("circular", "reflect"):
        given = {"padding": padding} if name == "kornia.cumulative_blur" else {}
        x = levels(name, torch.ones(1, 3, height, width, dtype=torch.float64), **given)
        assert (x - 1).abs().max() <= 1e-10, "a flat image does not stay flat"


def test_each_level_in_float32_at_full_size_is_the_precise_one() -> None:
    given: dict[str, Any] = {"routine": "exponential", "padding": "reflect"}  # CelebA, 128 px, T = 200
    x = images(1, 128, 128)
    assert (
        levels("kornia.cumulative_blur", x.float(), **given) - levels("kornia.cumulative_blur", x, **given)
    ).abs().max() <= 2e-6


def peak(call: Any) -> int:
    """The most bytes that a call holds at once, beyond what was there before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        kept = call()
    events = [e for e in found.profiler.kineto_results.events() if e.name() == "[memory]"]  # type: ignore[union-attr]
    held = most = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    assert most >= kept.nbytes
    return most


@pytest.mark.parametrize(
    "name, params",
    [
        ("kornia.gaussian_blur", {}),
        ("kornia.cumulative_blur", {"steps": 10}),
        ("kornia.cumulative_blur", {"steps": 300, "padding": "reflect"}),
        ("kornia.downsample", {"steps": 4}),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_call_takes_at_most_four_times_its_input(name: str, params: dict[str, Any], channels: int) -> None:
    x, t = images(8, 64, 64, torch.float32)[:, :channels].contiguous(), torch.linspace(0, 1, 8)
    d = rethaw.build("degradation", name, **params)
    d.degrade(x, t, {})  # computes the table
    assert peak(lambda: d.degrade(x, t, {})) <= 4 * x.nbytes


@pytest.mark.parametrize("std", [1e-200, 1e200])
@pytest.mark.parametrize("routine", ["constant", "incremental", "exponential"])
def test_extreme_kernels_are_finite(routine: str, std: float) -> None:
    x = levels("kornia.cumulative_blur", images(1, 8, 8), routine=routine, kernel_std=std, steps=4)
    assert torch.isfinite(x).all()


def test_a_table_is_computed_once_and_is_small() -> None:
    d = rethaw.build("degradation", "kornia.cumulative_blur", steps=300)
    x, t = images(2, 64, 64, torch.float32), torch.tensor([0.3, 0.9])
    d.degrade(x, t, {})
    (table,) = d.operator.tables.values()
    d.degrade(x, t, {})
    assert list(d.operator.tables.values()) == [table] and table.values.shape == (301, 64)
    weights = table.values[table.values != 0]
    assert weights.min() >= 1e-12


@pytest.mark.parametrize(
    "name, params, told",
    [
        ("cumulative_blur", {"kernel_size": 4}, "kernel_size must be odd, not 4"),
        ("cumulative_blur", {"routine": "special_6", "kernel_std": 1.0}, "sets its own kernel_std"),
        ("cumulative_blur", {"routine": "individual", "kernel_size": 3}, "sets its own kernel_size"),
        ("cumulative_blur", {"routine": "twice"}, "routine"),
        ("cumulative_blur", {"steps": 0}, "steps"),
        ("downsample", {"mode": "nearest"}, "mode"),
    ],
)
def test_mistakes_are_told(name: str, params: dict[str, Any], told: str) -> None:
    with pytest.raises((RethawError, ValueError), match=told):
        rethaw.build("degradation", f"kornia.{name}", **params)
