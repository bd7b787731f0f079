"""All 19 corruptions against the published implementation, the package imagecorruptions."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

import rethaw
from rethaw.ops import generators
from rethaw_imagenet_c.snow import FLAKES, flakes
from rethaw_imagenet_c.spatter import WATER, water

DETERMINISTIC = [
    "gaussian_blur",
    "defocus_blur",
    "zoom_blur",
    "brightness",
    "contrast",
    "saturate",
    "pixelate",
    "jpeg_compression",
]
RANDOM = [
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "speckle_noise",
    "glass_blur",
    "motion_blur",
    "snow",
    "frost",
    "fog",
    "spatter",
    "elastic_transform",
]
SIDE = 64
BANDS = (0.0, 0.03, 0.08, 0.2, 0.8)  # cycles a pixel, the edges of the spectrum's bands


def photo() -> NDArray[np.uint8]:
    """A face, 64 x 64 x 3."""
    data = pytest.importorskip("skimage.data")
    whole = data.astronaut()[20:276, 100:356].astype(np.float64)
    return whole.reshape(SIDE, 4, SIDE, 4, 3).mean((1, 3)).astype(np.uint8)


def published(name: str, level: int, draws: int) -> Tensor:
    """What imagecorruptions makes of the photo, (draws, 3, 64, 64) in 0 … 255; numpy's global generator stays."""
    reference = pytest.importorskip("imagecorruptions")
    image, before = photo(), np.random.get_state()
    np.random.seed(level)
    try:
        made = [reference.corrupt(image, corruption_name=name, severity=level) for _ in range(draws)]
    finally:
        np.random.set_state(before)
    return torch.from_numpy(np.stack(made).astype(np.float32)).permute(0, 3, 1, 2)


def ours(name: str, level: int, draws: int) -> tuple[Tensor, Tensor]:
    """The photo, and what the operator makes of it in whole numbers, both in 0 … 255."""
    pixels = torch.from_numpy(photo().astype(np.float32)).permute(2, 0, 1)
    x0 = (pixels / 127.5 - 1).expand(draws, -1, -1, -1)
    d = rethaw.build("degradation", f"imagenet_c.{name}")
    x = d.degrade(x0, torch.full((draws,), level / 5), d.draw(x0, generators(level, draws)))
    return pixels, ((x + 1) * 127.5 + 1e-3).floor()  # the reference cuts off to whole numbers


def test_all_nineteen_are_compared() -> None:
    names = pytest.importorskip("imagecorruptions").get_corruption_names("all")
    assert sorted(DETERMINISTIC + RANDOM) == sorted(names) and len(names) == 19


@pytest.mark.parametrize("level", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("name", DETERMINISTIC)
def test_published_levels_are_reproduced(name: str, level: int) -> None:
    error = (ours(name, level, 1)[1] - published(name, level, 1)).abs()
    assert error.mean() < (1.5 if name == "jpeg_compression" else 1)
    assert name == "jpeg_compression" or error.max() <= 1


def statistics(perturbation: Tensor) -> Tensor:
    """Of each draw (N, 3, H, W): its mean, its spread, and the amplitude of each band of its spectrum; (N, 6)."""
    flat = perturbation - perturbation.mean((-2, -1), keepdim=True)
    power = torch.fft.fft2(flat).abs().square().mean(1) / flat[0, 0].numel() ** 2
    frequency = torch.fft.fftfreq(SIDE)
    radius = torch.hypot(frequency[:, None], frequency)
    within = [(radius > low) & (radius <= high) for low, high in pairwise(BANDS)]
    bands = [(power * band).sum((-2, -1)) for band in within]
    mean = perturbation.mean((1, 2, 3))
    return torch.stack([mean, perturbation.square().mean((1, 2, 3)), *bands], 1)


def compare(name: str, level: int, draws: int, share: float) -> None:
    """Means over the draws agree within `share` of their size and four standard errors."""
    pixels, found = ours(name, level, draws)
    mine, theirs = statistics(found - pixels), statistics(published(name, level, draws) - pixels)
    error = ((mine.var(0) + theirs.var(0)) / draws).sqrt()
    size = theirs.mean(0).abs().maximum(torch.tensor([float(theirs[:, 1].mean().sqrt()), *[0.02] * 5]))
    apart = (mine.mean(0) - theirs.mean(0)).abs()
    assert (apart <= share * size + 4 * error).all(), f"{(apart / size).tolist()} of the mean, power and bands"
    assert (4 * error / size)[1] < 0.5, "too few draws to tell anything"


@pytest.mark.parametrize("level", [1, 3, 5])
@pytest.mark.parametrize("name", RANDOM)
def test_perturbations_have_the_published_distribution(name: str, level: int) -> None:
    compare(name, level, 80 if name in ("frost", "fog", "spatter") else 24, 0.06)


@pytest.mark.long
@pytest.mark.parametrize("level", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("name", RANDOM)
def test_many_perturbations_have_the_published_distribution(name: str, level: int) -> None:
    compare(name, level, 600, 0.04)


@pytest.mark.parametrize("level", [1, 2, 3, 4, 5])
def test_a_layer_of_snow_is_the_published_one_of_the_same_noise(level: int) -> None:
    reference: Any = pytest.importorskip("imagecorruptions.corruptions")
    mean, σ, zoom, threshold, radius, blur = FLAKES[level - 1]
    drawn = np.random.default_rng(level).normal(size=(SIDE, SIDE))
    for degrees in (-130.0, -90.0, -52.0):
        layer = reference.clipped_zoom((mean + σ * drawn)[..., None], zoom)[:, :, 0]
        layer[layer < threshold] = 0
        layer = reference._motion_blur(np.clip(layer, 0, 1), radius=radius, sigma=blur, angle=degrees)[:SIDE, :SIDE]
        noise = torch.from_numpy(drawn[SIDE // 4 : -SIDE // 4, SIDE // 4 : -SIDE // 4])[None, None]
        angle = torch.tensor([np.deg2rad(degrees)])
        made = flakes(noise, angle, level - 1, SIDE, SIDE)[0, 0].numpy()
        assert np.abs(made - layer).max() < 0.51 / 255 + 1e-6


@pytest.mark.parametrize("level", [1, 2, 3])
def test_a_layer_of_water_is_the_published_one_of_the_same_noise(level: int) -> None:
    """As OpenCV makes it, but for its distances, which are approximate."""
    cv2: Any = pytest.importorskip("cv2")
    gaussian = pytest.importorskip("skimage.filters").gaussian
    mean, σ, smooth, threshold, strength = WATER[level - 1]
    drawn = np.random.default_rng(level).normal(size=(96, 96))
    liquid = gaussian(mean + σ * drawn, sigma=smooth)
    liquid = (np.where(liquid < threshold, 0, liquid) * 255).astype(np.uint8)
    far = np.minimum(cv2.distanceTransform(255 - cv2.Canny(liquid, 50, 150), cv2.DIST_L2, 5), 20)
    depth = cv2.equalizeHist(cv2.blur(far, (3, 3)).astype(np.uint8))
    embossed = cv2.filter2D(depth, cv2.CV_8U, np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]))
    expected = liquid * cv2.blur(embossed, (3, 3)).astype(np.float64)
    made = water(torch.from_numpy(drawn)[None, None], *WATER[level - 1])[0, 0].numpy()
    apart = np.abs(made - strength * expected / expected.max())
    assert apart.mean() < 0.004 and (apart > 0.03).mean() < 0.05
