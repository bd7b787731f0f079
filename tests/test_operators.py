"""Core's degradations against their naive definitions, and the linear algebra that operators share."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import stats
from torch import Tensor

import rethaw
from rethaw.api import RethawError
from rethaw.builtin.degradations.blend import covering
from rethaw.ops import dense_blur, expand, generators, poisson_quantile, separable, separable_blur
from tests.helpers import photos, recipe
from tests.worlds import EVERY, degradation_id, images, made, with_network


def levels(d: Any, x: Tensor, steps: int, state: Any = None) -> Tensor:
    """Levels 0 … T-1 of one image (1, C, H, W) in one call, (T, C, H, W)."""
    t = torch.arange(1, steps + 1, dtype=torch.float64) / steps
    each = {key: value.expand(steps, *value.shape[1:]) for key, value in (state or {}).items()}
    return d.degrade(x.expand(steps, *x.shape[1:]), t, each)  # type: ignore[no-any-return]


# --- linear algebra ---------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 200), width=st.integers(1, 90), radius=st.integers(0, 50), adjoint=st.booleans())
def test_a_blur_by_bands_is_the_dense_one(height: int, width: int, radius: int, adjoint: bool) -> None:
    kernel = torch.softmax(torch.rand(2, 2 * radius + 1, dtype=torch.float64), 1)
    kernel = (kernel + kernel.flip(1)) / 2
    x = images(2, 1, height, width)
    rows, columns = dense_blur(kernel, height), dense_blur(kernel, width)
    dense = separable(x, rows.mT, columns.mT) if adjoint else separable(x, rows, columns)
    assert (separable_blur(x, kernel, adjoint) - dense).abs().max() <= 1e-12


@pytest.mark.parametrize("size", [2, 5, 17])
def test_a_dense_blur_is_padding_and_convolution(size: int) -> None:
    kernel = torch.tensor([[0.1, 0.2, 0.4, 0.2, 0.1]], dtype=torch.float64)
    line = torch.rand(size, dtype=torch.float64)
    padded = torch.from_numpy(np.pad(line.numpy(), 2, mode="reflect"))
    expected = torch.stack([(padded[i : i + 5] * kernel[0]).sum() for i in range(size)])
    assert (dense_blur(kernel, size)[0] @ line - expected).abs().max() <= 1e-14


@pytest.mark.parametrize("case", [c for c in EVERY if hasattr(made(c), "svd")], ids=degradation_id)
def test_singular_vectors_are_orthogonal_and_give_the_adjoint(case: Any) -> None:
    d, x, y, t = made(case), images(), images(seed=5), torch.tensor([0.15, 0.6, 1.0], dtype=torch.float64)
    state = d.draw(x, generators(1, 3))
    U, Ut, V, Vt, s = d.svd(x, t, state)
    z = Ut(x)  # along the singular vectors, as many numbers as the image has
    assert (s >= 0).all() and s.expand_as(z).shape == z.shape and z.numel() == x.numel()
    for there, back in ((U, Ut), (V, Vt)):
        assert (back(there(z)) - z).abs().max() <= 1e-10 and (there(back(x)) - x).abs().max() <= 1e-10
        assert ((there(z) * y).sum() - (z * back(y)).sum()).abs() <= 1e-9
    assert (V(s * Ut(y)) - d.adjoint(y, t, state)).abs().max() <= 1e-10


def test_what_has_an_svd() -> None:
    have = {case[0] for case in EVERY if hasattr(made(case), "svd")}
    assert have >= {
        "core.gaussian_noise",
        "core.fade",
        "core.mask",
        "core.cumulative_mask",
        "core.desaturate",
        "kornia.gaussian_blur",
        "kornia.cumulative_blur",
        "kornia.downsample",
        "kornia.hue",
    }


# --- photons ----------------------------------------------------------------------------------------------------------


def test_the_poisson_quantile_is_scipys() -> None:
    z = torch.randn(20_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for mean in (0.1, 3.0, 9.9, 10.1, 200.0, 1e5):
        exact = stats.poisson.ppf(stats.norm.cdf(z.numpy()), mean)
        assert (poisson_quantile(torch.full_like(z, mean), z).numpy() != exact).mean() < 1e-3


@pytest.mark.parametrize("u", [0.1, 0.5, 1.0])
def test_photon_noise_is_poissons(u: float) -> None:
    d = rethaw.build("degradation", "core.poisson_noise", photons=8.0)
    x0 = torch.linspace(-0.8, 1, 4, dtype=torch.float64).view(4, 1, 1, 1).expand(4, 1, 150, 150)
    x = d.degrade(x0, expand(u, x0), d.draw(x0, generators(0, 4)))
    white, seen = (x0[:, 0, 0, 0] + 1) / 2, (x + 1) / 2
    step = u**2 / 8
    assert (seen.mean((1, 2, 3)) - white).abs().max() <= 5 * math.sqrt(step / 150**2)
    assert (seen.var((1, 2, 3)) / (white * step) - 1).abs().max() <= 0.05
    assert (seen / step - (seen / step).round()).abs().max() <= 1e-9, "not whole numbers of photons"


# --- the published masks ----------------------------------------------------------------------------------------------


def bump(size: int, sigma: float) -> Tensor:
    """1 - g / max g, g a Gaussian in the middle of size × size pixels."""
    at = torch.arange(size, dtype=torch.float64) - size // 2
    g = torch.exp(-(at.square()[:, None] + at.square()) / (2 * sigma**2))
    return 1 - g / g.max()


@pytest.mark.parametrize("routine", ["incremental", "constant"])
@pytest.mark.parametrize("height", [24, 31])
def test_a_cumulative_mask_is_its_definition(routine: str, height: int) -> None:
    x = images(1, height=height, width=height)
    d = rethaw.build("degradation", "core.cumulative_mask", routine=routine, kernel_std=0.2, initial=3, steps=30)
    expected, hidden = [], x
    for i in range(30):
        sigma = 0.2 if routine == "constant" else 0.2 * (i + 3)
        hidden = hidden * (bump(height, sigma) if height % 2 else bump(height + 1, sigma)[1:, 1:])
        expected.append(hidden)
    assert (levels(d, x, 30) - torch.cat(expected)).abs().max() <= 1e-10


def test_a_random_mask_is_a_crop_of_one_twice_as_large() -> None:
    x = images(1, height=20, width=20)
    d = rethaw.build("degradation", "core.cumulative_mask", routine="random_incremental", kernel_std=0.1, steps=25)
    for seed in range(4):
        state = d.draw(x, generators(seed, 1))
        top, left = (20 - state["centre"][0]).long().tolist()
        hidden, expected = x, []
        for i in range(25):
            hidden = hidden * bump(41, 0.1 * (i + 11))[top : top + 20, left : left + 20]
            expected.append(hidden)
        assert (levels(d, x, 25, state) - torch.cat(expected)).abs().max() <= 1e-10
    centres = d.draw(images(300, height=20, width=20), generators(0, 300))["centre"]
    assert centres.min() == 0 and centres.max() == 20 and (centres == centres.round()).all()


@pytest.mark.parametrize("backwards", [False, True])
def test_a_mask_to_a_colour_is_its_definition(backwards: bool) -> None:
    x, steps = images(1, height=16, width=16), 40
    d = rethaw.build(
        "degradation",
        "core.cumulative_mask",
        kernel_std=0.05,
        initial=1,
        steps=steps,
        colour="random",
        reversed=backwards,
    )
    state = d.draw(x, generators(0, 1))
    assert state["colour"].shape == (1, 3, 1, 1) and state["colour"].abs().max() <= 0.5
    m = [bump(17, 0.05 * (i + 1))[1:, 1:] for i in range(steps)]
    expected = []
    for i in range(steps):
        product = torch.ones(16, 16, dtype=torch.float64)
        for j in range(steps - 1 - i if backwards else i + 1):
            product = product * m[j]
        M = product if backwards else 1 - product
        expected.append((1 - M) * x + M * state["colour"])
    found = levels(d, x, steps, state)
    assert (found - torch.cat(expected)).abs().max() <= 1e-10
    assert hasattr(d, "prior") == backwards
    if backwards:
        assert (found[-1] - state["colour"]).abs().max() <= 1e-12
        x_1, drawn = d.prior(x, generators(0, 1))
        assert torch.equal(x_1, drawn["colour"].expand_as(x))


def test_a_colour_is_inferred() -> None:
    x0, t = images(), torch.tensor([0.2, 0.6, 1.0], dtype=torch.float64)
    for case in (("core.fade", {}), ("core.cumulative_mask", {"colour": "random"})):
        d = made(case)
        state = d.draw(x0, generators(0, 3))
        found = d.infer(d.degrade(x0, t, state), x0, t, {})
        assert (found["colour"] - state["colour"]).abs().max() <= 1e-9
        assert not d.infer(x0, x0, 0 * t, {})["colour"].any()


# --- colour and blends ------------------------------------------------------------------------------------------------


def test_the_published_decolour_routines() -> None:
    x, steps = images(1), 20
    grey = x.mean(1, keepdim=True).expand_as(x)
    linear = rethaw.build("degradation", "core.desaturate", levels=steps)
    kept = [1 - (i + 1) / steps for i in range(steps)]
    expected = torch.cat([k * x + (1 - k) * grey for k in kept])
    assert (levels(linear, x, steps) - expected).abs().max() <= 1e-12
    constant = rethaw.build("degradation", "core.desaturate", keep=0.9, steps=steps, levels=steps)
    faded, expected_steps = x, []
    for _ in range(steps):
        faded = 0.9 * faded + 0.1 * faded.mean(1, keepdim=True)
        expected_steps.append(faded)
    assert (levels(constant, x, steps) - torch.cat(expected_steps)).abs().max() <= 1e-12


@pytest.mark.parametrize("given, α", [({}, 0.75), ({"process": "vp", "alpha_bar": "linear"}, None)])
def test_a_blend_goes_to_an_image_of_the_folder(tmp_path: Path, given: dict[str, Any], α: float | None) -> None:
    photos(tmp_path, count=3, size=(50, 40))
    d = rethaw.build("degradation", "core.blend", path=str(tmp_path), **given)
    x0, t = images(30, height=32, width=36), torch.full((30,), 0.25, dtype=torch.float64)
    state = d.draw(x0, generators(0, 30))
    assert len({z.sum().item() for z in state["z"]}) == 3
    a, σ = (c.view(-1, 1, 1, 1) for c in d.coefficients(t))
    assert α is None or (a == α).all()
    x = d.degrade(x0, t, state)
    assert (x - a * x0 - σ * state["z"]).abs().max() <= 1e-12
    assert (d.infer(x, x0, t, {})["z"] - state["z"]).abs().max() <= 1e-9
    assert not d.gaussian and torch.equal(d.prior(x0, generators(0, 30))[1]["z"], state["z"])
    assert d.draw(images(1, channels=1), generators(0, 1))["z"].shape == (1, 1, 24, 20)


def test_large_images_to_blend_into_do_not_stay_in_memory(tmp_path: Path) -> None:
    photos(tmp_path, count=2, size=(50, 40))
    d = rethaw.build("degradation", "core.blend", path=str(tmp_path))
    for side, held in ((512, 0), (32, 2)):
        covering.cache_clear()
        state = d.draw(images(20, height=side, width=side, dtype=torch.float32), generators(0, 20))
        assert state["z"].shape == (20, 3, side, side) and covering.cache_info().currsize == held


# --- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["core.desaturate", "kornia.hue", "kornia.jpeg"])
def test_a_grey_image_in_a_colour_operator_is_refused(name: str) -> None:
    d, x = rethaw.build("degradation", name), images(channels=1)
    told = rf"{name} works on images of 3 channels, these have 1"
    with pytest.raises(RethawError, match=told):
        d.degrade(x, expand(0.5, x), {})
    with pytest.raises(RethawError, match=told):
        d.draw(x, generators(0, 3))


@pytest.mark.parametrize("t", [-0.1, 1.5, math.nan, torch.tensor([0.2, 2.0, 0.1])])
def test_a_severity_outside_the_range_is_refused(t: Any) -> None:
    with pytest.raises(RethawError, match=r"severity .* is outside \[0, 1\]"):
        expand(t, images())


def test_a_pipeline_refuses_such_a_severity(tmp_path: Path) -> None:
    pipeline = with_network(rethaw.Pipeline.from_yaml(recipe(tmp_path, tmp_path, "core.gaussian_noise")))
    for call in (pipeline.degrade, pipeline.encode):
        with pytest.raises(RethawError, match=r"severity 1\.2 is outside \[0, 1\]"):
            call(images(1, dtype=torch.float32), 1.2)


def test_other_mistakes_are_told(tmp_path: Path) -> None:
    with pytest.raises(RethawError, match=r"core\.blend: path: .* has no image in it"):
        rethaw.build("degradation", "core.blend", path=str(tmp_path))
    with pytest.raises(RethawError, match="reversed goes with the routines"):
        rethaw.build("degradation", "core.cumulative_mask", routine="random_incremental", reversed=True)
    x = images(channels=1)
    d = rethaw.build("degradation", "core.cumulative_mask", colour=[0.1, 0.2, 0.3])
    with pytest.raises(RethawError, match=r"core\.cumulative_mask: colour has 3 values, the images 1 channels"):
        d.degrade(x, expand(0.5, x), {})
    mask = rethaw.build("degradation", "core.mask")
    state = mask.draw(images(), generators(0, 3))
    with pytest.raises(RethawError, match=r"core\.mask: the state's mask is 20×24 pixels, the images are 20×30"):
        mask.degrade(images(height=30), expand(0.5, x), state)
    Image.new("L", (8, 8)).save(tmp_path / "mask.png")
    with pytest.raises(RethawError, match=r"core\.blend: files are read with 1 or 3 channels"):
        rethaw.build("degradation", "core.blend", path=str(tmp_path)).draw(images(channels=2), generators(0, 3))
