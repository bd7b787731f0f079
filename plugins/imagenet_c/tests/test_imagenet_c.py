"""The ImageNet-C corruptions: the kit's contract, and their agreement with the published implementation."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import rethaw
from rethaw.ops import generators
from rethaw.testing import degradation_tests

DETERMINISTIC = ["gaussian_blur", "defocus_blur", "zoom_blur", "brightness", "contrast", "saturate", "pixelate",
                 "jpeg_compression"]  # fmt: skip
RANDOM = ["gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "glass_blur", "motion_blur", "snow",
          "frost", "fog", "elastic_transform"]  # fmt: skip
DRAWS = {"fog": 100, "frost": 200, "motion_blur": 40, "snow": 30}

TestGaussianNoise = degradation_tests("imagenet_c.gaussian_noise")
TestShotNoise = degradation_tests("imagenet_c.shot_noise")
TestImpulseNoise = degradation_tests("imagenet_c.impulse_noise")
TestSpeckleNoise = degradation_tests("imagenet_c.speckle_noise")
TestGaussianBlur = degradation_tests("imagenet_c.gaussian_blur")
TestDefocusBlur = degradation_tests("imagenet_c.defocus_blur")
TestGlassBlur = degradation_tests("imagenet_c.glass_blur")
TestMotionBlur = degradation_tests("imagenet_c.motion_blur")
TestZoomBlur = degradation_tests("imagenet_c.zoom_blur")
TestSnow = degradation_tests("imagenet_c.snow")
TestFrost = degradation_tests("imagenet_c.frost")
TestFog = degradation_tests("imagenet_c.fog")
TestBrightness = degradation_tests("imagenet_c.brightness")
TestContrast = degradation_tests("imagenet_c.contrast")
TestElasticTransform = degradation_tests("imagenet_c.elastic_transform")
TestPixelate = degradation_tests("imagenet_c.pixelate")
TestJpegCompression = degradation_tests("imagenet_c.jpeg_compression")
TestSaturate = degradation_tests("imagenet_c.saturate", skip={"grows"})  # levels 1, 2 take colour out, 3 to 5 add it


def photo() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A face, 96 x 96 x 3."""
    data = pytest.importorskip("skimage.data")
    whole = data.astronaut()[20:308, 100:388].astype(np.float64)
    return whole.reshape(96, 3, 96, 3, 3).mean((1, 3)).astype(np.uint8)


def published(name: str, level: int, draws: int) -> Tensor:
    """What imagecorruptions makes of the photo, (draws, 3, 96, 96) in 0 … 255; numpy's global generator is left alone."""
    reference = pytest.importorskip("imagecorruptions")
    image, before = photo(), np.random.get_state()
    np.random.seed(level)
    try:
        made = [reference.corrupt(image, corruption_name=name, severity=level) for _ in range(draws)]
    finally:
        np.random.set_state(before)
    return torch.from_numpy(np.stack(made).astype(np.float32)).permute(0, 3, 1, 2)


def ours(name: str, level: int, draws: int) -> tuple[Tensor, Tensor]:
    """The photo, and what the operator makes of it, both in 0 … 255."""
    pixels = torch.from_numpy(photo().astype(np.float32)).permute(2, 0, 1)
    x0 = (pixels / 127.5 - 1).expand(draws, -1, -1, -1)
    d = rethaw.build("degradation", f"imagenet_c.{name}")
    x = d.degrade(x0, torch.full((draws,), level / 5), d.draw(x0, generators(level, draws)))
    return pixels, (x + 1) * 127.5


@pytest.mark.parametrize("level", [1, 3, 5])
@pytest.mark.parametrize("name", DETERMINISTIC)
def test_published_levels_are_reproduced(name: str, level: int) -> None:
    error = (ours(name, level, 1)[1] - published(name, level, 1)).abs()
    assert error.mean() < 1.5
    assert name == "jpeg_compression" or error.max() < 1.51  # the reference cuts off to whole numbers


@pytest.mark.parametrize("level", [1, 3, 5])
@pytest.mark.parametrize("name", RANDOM)
def test_perturbations_have_the_published_distribution(name: str, level: int) -> None:
    draws = DRAWS.get(name, 12)
    pixels, found = ours(name, level, draws)
    mine, theirs = found - pixels, published(name, level, draws) - pixels
    spread = float(theirs.std())
    assert abs(float(mine.std()) / spread - 1) < 0.1
    assert abs(float(mine.mean() - theirs.mean())) < 0.1 * max(spread, abs(float(theirs.mean())))
    # neighbouring pixels are as alike as in the reference: the texture, not only the histogram
    rough, rough_too = (float(p.diff(dim=-1).std() + p.diff(dim=-2).std()) for p in (mine, theirs))
    assert abs(rough / rough_too - 1) < 0.1


@pytest.mark.parametrize("name", ["glass_blur", "snow", "frost", "fog", "motion_blur", "defocus_blur", "pixelate"])
@pytest.mark.parametrize("shape", [(2, 3, 5, 9), (2, 3, 1, 1), (2, 3, 130, 70)])
def test_any_size(name: str, shape: tuple[int, ...]) -> None:
    d = rethaw.build("degradation", f"imagenet_c.{name}")
    x0 = torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for t in (0.0, 0.3, 1.0):
        x = d.degrade(x0, torch.full((2,), t), d.draw(x0, generators(0, 2)))
        assert x.isfinite().all()
        assert t or torch.equal(x, x0) or (x - x0).abs().max() < 1e-6


def test_poisson_quantile() -> None:
    stats = pytest.importorskip("scipy.stats")
    from rethaw.ops import poisson_quantile

    z = torch.randn(20_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for mean in (0.0, 0.1, 3.0, 9.9, 10.1, 60.0):
        exact = stats.poisson.ppf(stats.norm.cdf(z.numpy()), mean).clip(0)
        assert (poisson_quantile(torch.full_like(z, mean), z).numpy() != exact).mean() < 1e-3


def test_the_plugin_is_light() -> None:
    """Its module needs neither torch nor the reference."""
    import subprocess

    code = (
        "import sys, rethaw_imagenet_c.plugin; print({'torch', 'numpy', 'cv2', 'imagecorruptions'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"
