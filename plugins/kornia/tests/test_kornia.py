"""kornia's degradations: their contract, and each against kornia or its definition."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from kornia.enhance import adjust_hue, adjust_saturation_with_gray_subtraction, jpeg_codec_differentiable
from kornia.filters import filter2d, get_motion_kernel2d, unsharp_mask
from kornia.geometry.transform import get_perspective_transform, warp_perspective
from torch import Tensor
from torch.nn import functional as F

import rethaw
from rethaw.api import RethawError
from rethaw.ops import correlate, expand, generators


def images(count: int = 3, height: int = 24, width: int = 31, seed: int = 0) -> Tensor:
    """Random images in [-1, 1]."""
    rng = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, height, width, generator=rng, dtype=torch.float64) * 2 - 1


@pytest.mark.parametrize("degrees", [0.0, 90.0])
def test_motion_along_an_axis_is_kornias(degrees: float) -> None:
    x = images()
    d = rethaw.build("degradation", "kornia.motion_blur", length=7, angle=degrees)
    kernel = get_motion_kernel2d(7, torch.tensor([degrees], dtype=torch.float64))
    expected = filter2d(x, kernel, border_type="reflect")
    assert (d.degrade(x, expand(1.0, x), {}) - expected).abs().max() <= 1e-10


def test_motion_goes_along_its_angle() -> None:
    dot = torch.zeros(3, 3, 41, 41, dtype=torch.float64)
    dot[..., 20, 20] = 1
    d = rethaw.build("degradation", "kornia.motion_blur", length=21)
    angle = torch.tensor([0.3, 1.2, 2.5], dtype=torch.float64)
    x = d.degrade(dot, torch.tensor([0.5, 0.8, 1.0], dtype=torch.float64), {"angle": angle})[:, 0]
    at = torch.arange(41, dtype=torch.float64) - 20
    xx, yy, xy = ((x * w).sum((1, 2)) for w in (at**2 + 0 * at[:, None], at[:, None] ** 2 + 0 * at, -at[:, None] * at))
    assert (torch.atan2(2 * xy, xx - yy) / 2 % math.pi - angle).abs().max() <= 0.03
    assert (x.sum((1, 2)) - 1).abs().max() <= 1e-12


def test_defocus_is_a_disk() -> None:
    dot = torch.zeros(1, 1, 41, 41, dtype=torch.float64)
    dot[..., 20, 20] = 1
    d = rethaw.build("degradation", "kornia.defocus", radius_max=8.0)
    x = d.degrade(dot, expand(0.75, dot), {})[0, 0]
    at = torch.arange(41) - 20.0
    distance = (at.square()[:, None] + at.square()).sqrt()
    inside, outside = x[distance < 5.4], x[distance > 6.6]
    assert inside.std() <= 1e-12 and outside.abs().max() <= 1e-12
    assert abs(1 / float(inside.mean()) / (math.pi * 36) - 1) <= 0.01  # the disk's area


@pytest.mark.parametrize("height, width", [(24, 31), (7, 7), (1, 5), (2, 1)])
@pytest.mark.parametrize("largest", [2, 5, 40])
def test_pixelate_is_the_mean_over_blocks_of_each_image(height: int, width: int, largest: int) -> None:
    """Pixel by pixel; between whole block sides a blend of the two next to it."""
    x, t = images(6, height, width), torch.tensor([0.0, 0.1, 0.3, 0.5, 0.77, 1.0], dtype=torch.float64)
    found = rethaw.build("degradation", "kornia.pixelate", block_max=largest).degrade(x, t, {})
    for image, u, seen in zip(x, t.tolist(), found, strict=True):
        side = 1 + u * (largest - 1)
        low = math.floor(side)
        expected = (low + 1 - side) * in_blocks(image, low) + (side - low) * in_blocks(image, low + 1)
        assert (seen - expected).abs().max() <= 1e-12


@pytest.mark.parametrize("height, width", [(9, 14), (8, 8), (7, 1), (1, 6), (1, 1)])
@pytest.mark.parametrize("largest", [2, 3, 6, 40])
def test_the_singular_values_of_pixelate_are_those_of_its_naive_matrix(height: int, width: int, largest: int) -> None:
    """The matrix pixel by pixel: of whole sides, and of blends of two whose blocks do not share their borders."""
    t = torch.tensor([0.0, 0.2, 0.45, 0.5, 0.77, 1.0], dtype=torch.float64)
    x, d = images(len(t), height, width), rethaw.build("degradation", "kornia.pixelate", block_max=largest)
    pixels = torch.eye(height * width, dtype=torch.float64).view(-1, height, width)
    found = d.svd(x, t, {})
    coordinates = found.Vt(x)
    assert (found.V(coordinates) - x).abs().max() <= 1e-12 and (found.U(found.Ut(x)) - x).abs().max() <= 1e-12
    for i, u in enumerate(t.tolist()):
        side = 1 + u * (largest - 1)
        low = math.floor(side)
        a = (low + 1 - side) * in_blocks(pixels, low) + (side - low) * in_blocks(pixels, low + 1)
        s = found.s[i].flatten().sort(descending=True).values
        assert (s[: len(a)] - torch.linalg.svdvals(a.flatten(1))).abs().max() <= 1e-12 and not s[len(a) :].any()
        expected = (x[i].flatten(1) @ a.flatten(1)).view(x[i].shape)
        assert (found.U(found.s * coordinates)[i] - expected).abs().max() <= 1e-12


def test_the_singular_values_of_pixelate_are_found_in_single_precision() -> None:
    x, d = images(64, 33, 40).float(), rethaw.build("degradation", "kornia.pixelate")
    t = torch.rand(64, generator=torch.Generator().manual_seed(0))
    found = d.svd(x, t, {})
    assert (found.U(found.s * found.Vt(x)) - d.degrade(x, t, {})).abs().max() <= 2e-6


def in_blocks(image: Tensor, side: int) -> Tensor:
    """An image (C, H, W) whose blocks from the upper left corner have their mean."""
    out = torch.empty_like(image)
    for top in range(0, image.shape[1], side):
        for left in range(0, image.shape[2], side):
            part = (slice(None), slice(top, top + side), slice(left, left + side))
            out[part] = image[part].mean((1, 2), keepdim=True)
    return out


@pytest.mark.parametrize("name, params", [("motion_blur", {"angle": 30.0}), ("defocus", {})])
def test_a_small_kernel_by_kornia_is_a_large_one_by_fft(name: str, params: dict[str, Any]) -> None:
    """Also for images smaller than the kernel."""
    size = {"motion_blur": "length", "defocus": "radius_max"}[name]
    for x in (images(2, 40, 33), images(2, 3, 7)):
        for value in (21, 23) if name == "motion_blur" else (10.0, 11.0):
            d = rethaw.build("degradation", f"kornia.{name}", **params, **{size: value})
            op, t = d.operator, torch.tensor([0.4, 1.0], dtype=torch.float64)
            kernel, both = op.kernel(x, t, {}), (op.radius, op.radius)
            expected = correlate(x, kernel, both, reflect=True)
            assert (d.degrade(x, t, {}) - expected).abs().max() <= 1e-12


def test_hue_is_kornias_where_both_are_linear() -> None:
    x = images()
    d = rethaw.build("degradation", "kornia.hue", degrees=120.0)
    turned = d.degrade(x, expand(1.0, x), {})
    expected = adjust_hue((x + 1) / 2, 2 * math.pi / 3) * 2 - 1  # a cyclic change of the channels
    assert (turned - expected).abs().max() <= 1e-6
    half = d.degrade(x, expand(0.5, x), {})
    assert (half.sum(1) - x.sum(1)).abs().max() <= 1e-10 and (half.norm(dim=1) - x.norm(dim=1)).abs().max() <= 1e-10


@pytest.mark.parametrize("factor", [0.0, 0.4, 2.5])
def test_saturation_is_kornias(factor: float) -> None:
    x = images() * 0.2  # nothing is clipped
    d = rethaw.build("degradation", "kornia.saturation", factor=factor)
    expected = adjust_saturation_with_gray_subtraction((x + 1) / 2, factor) * 2 - 1
    assert (d.degrade(x, expand(1.0, x), {}) - expected).abs().max() <= 1e-6


@pytest.mark.parametrize("quality", [10.0, 37.0, 80.0])
def test_jpeg_is_kornias_codec(quality: float) -> None:
    x = F.interpolate(images(2, 6, 8), (48, 64), mode="bicubic").clamp(-1, 1)
    d = rethaw.build("degradation", "kornia.jpeg", quality_min=quality)
    expected = jpeg_codec_differentiable((x + 1) / 2, torch.full((2,), quality, dtype=x.dtype)) * 2 - 1
    found = d.degrade(x, expand(1.0, x), {})
    assert (found - expected).abs().mean() <= 0.002, "kornia rounds the scaled table, softly"


def test_unsharp_is_kornias() -> None:
    x = images(height=40, width=40)
    d = rethaw.build("degradation", "kornia.unsharp", amount=1.0, sigma=1.5)
    taps = d.operator.blur.taps
    expected = unsharp_mask(x, (taps, taps), (1.5, 1.5))
    assert (d.degrade(x, expand(1.0, x), {}) - expected).abs().max() <= 1e-7
    x0 = torch.zeros_like(x)
    x0[..., 20:] = 1.0
    assert d.degrade(x0, expand(1.0, x0), {}).max() > 1.1, "there is no halo"


def test_perspective_is_kornias() -> None:
    x = F.interpolate(images(3, 6, 8), (40, 60), mode="bicubic")
    d = rethaw.build("degradation", "kornia.perspective", distortion=0.1)
    state = d.draw(x, generators(0, 3))
    t = torch.tensor([0.3, 0.7, 1.0], dtype=torch.float64)
    corners = torch.tensor([[0.0, 0.0], [59, 0], [59, 39], [0, 39]], dtype=torch.float64).expand(3, 4, 2)
    moved = corners + (state["corners"].mT * t.view(3, 1, 1)) * torch.tensor([59.0, 39.0])
    back = torch.linalg.inv(get_perspective_transform(corners, moved))
    expected = warp_perspective(x, back, (40, 60), mode="bilinear", padding_mode="reflection", align_corners=True)
    assert (d.degrade(x, t, state) - expected).abs().max() <= 1e-9


def test_elastic_moves_pixels_by_its_knots() -> None:
    ramp = torch.arange(60, dtype=torch.float64).expand(2, 1, 48, 60).contiguous()
    d = rethaw.build("degradation", "kornia.elastic", strength=3.0, spacing=12.0)
    state = d.draw(ramp, generators(0, 2))
    t = torch.tensor([0.4, 1.0], dtype=torch.float64)
    inside = (d.degrade(ramp, t, state) - ramp)[..., 12:-12]
    shift = F.interpolate(state["knots"], (48, 60), mode="bicubic", align_corners=True)[:, :1, :, 12:-12]
    assert state["knots"].shape == (2, 2, 5, 6)
    assert (inside - 3 * t.view(2, 1, 1, 1) * shift).abs().max() <= 1e-9
    assert np.isclose(float(state["knots"].std()), 1, atol=0.25)


@pytest.mark.parametrize(
    "name, params, told",
    [
        ("motion_blur", {"length": 4}, "length must be odd, not 4"),
        ("hue", {"degrees": 300}, "degrees"),
        ("jpeg", {"quality_min": 0}, "quality_min"),
        ("perspective", {"distortion": 0.9}, "distortion"),
    ],
)
def test_mistakes_are_told(name: str, params: dict[str, Any], told: str) -> None:
    with pytest.raises(RethawError, match=told):
        rethaw.build("degradation", f"kornia.{name}", **params)
