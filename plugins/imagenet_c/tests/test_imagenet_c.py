"""The ImageNet-C corruptions: the kit's contract, any size, and their own mathematics."""

from __future__ import annotations

import sys

import pytest
import torch

import rethaw
from rethaw.api import RethawError
from rethaw.ops import generators
from rethaw.testing import degradation_tests
from rethaw_imagenet_c.plugin import rethaw_degradations

NAMES = [spec.name for spec in rethaw_degradations() if spec.name != "reference"]  # that one has tests of its own

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
TestSpatter = degradation_tests("imagenet_c.spatter", skip={"grows"})  # water whitens, mud darkens
TestFog = degradation_tests("imagenet_c.fog")
TestBrightness = degradation_tests("imagenet_c.brightness")
TestContrast = degradation_tests("imagenet_c.contrast")
TestElasticTransform = degradation_tests("imagenet_c.elastic_transform")
TestPixelate = degradation_tests("imagenet_c.pixelate")
TestJpegCompression = degradation_tests("imagenet_c.jpeg_compression")
TestSaturate = degradation_tests("imagenet_c.saturate", skip={"grows"})  # levels 1, 2 take colour out, 3 to 5 add it
TestColdSnow = degradation_tests("imagenet_c.cold_snow", {}, {"level": 1, "levels": 20, "brightness": "ramp"})


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(2, 3, 5, 9), (2, 3, 1, 1), (2, 3, 8, 8), (2, 3, 16, 16), (2, 3, 130, 70)])
def test_any_size(name: str, shape: tuple[int, ...]) -> None:
    d = rethaw.build("degradation", f"imagenet_c.{name}")
    x0 = torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for t in (0.0, 0.3, 1.0):
        x = d.degrade(x0, torch.full((2,), t), d.draw(x0, generators(0, 2)))
        assert x.isfinite().all()
        assert t or torch.equal(x, x0) or (x - x0).abs().max() < 1e-6


@pytest.mark.parametrize("name", ["frost", "saturate"])
def test_colour_operators_refuse_grey_images_by_name(name: str) -> None:
    d, x0 = rethaw.build("degradation", f"imagenet_c.{name}"), torch.zeros(2, 1, 16, 16)
    with pytest.raises(RethawError, match=f"imagenet_c.{name} works on images of 3 channels, these have 1"):
        d.degrade(x0, torch.ones(2), d.draw(x0, generators(0, 2)))


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
