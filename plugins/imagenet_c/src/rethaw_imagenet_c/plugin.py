"""The light module of the plugin `imagenet_c`: parameters and hook. Imports neither torch nor the reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Gt, Le

from rethaw.api import Spec, degradation, hookimpl


@dataclass(frozen=True)
class Severity:
    """A corruption of ImageNet-C at level u·severity_max; constants are linear between the published levels 1 … 5.

    severity_max: the level at full strength; 5 is the heaviest that was published.
    """

    severity_max: Annotated[float, Gt(0), Le(5)] = 5.0


def corruption(name: str, target: str, summary: str, **traits: Any) -> Spec:
    """The spec of one corruption; all are written for values in [0, 1]."""
    return degradation(name, Severity, target=f"rethaw_imagenet_c.{target}", summary=summary, range=(0, 1), **traits)


@hookimpl
def rethaw_degradations() -> list[Spec]:
    """Degradations."""
    return [
        corruption("gaussian_noise", "noise:GaussianNoise", "Additive Gaussian noise, clipped."),
        corruption("shot_noise", "noise:ShotNoise", "Poisson noise of few photons.", continuous=False),
        corruption("impulse_noise", "noise:ImpulseNoise", "Salt and pepper.", continuous=False),
        corruption("speckle_noise", "noise:SpeckleNoise", "Gaussian noise in proportion to brightness."),
        corruption("gaussian_blur", "blur:GaussianBlur", "Gaussian blur.", linear=True),
        corruption("defocus_blur", "blur:DefocusBlur", "Out of focus: convolution with a disk.", linear=True),
        corruption("motion_blur", "blur:MotionBlur", "Motion along a random direction.", linear=True),
        corruption("zoom_blur", "zoom:ZoomBlur", "The mean over a zoom towards the image.", linear=True),
        corruption("glass_blur", "glass:GlassBlur", "Frosted glass: pixels shuffled within a blur.", linear=True),
        corruption("snow", "snow:Snow", "Falling snow, streaked by motion, in whitened light."),
        corruption("frost", "frost:Frost", "Ice crystals on the lens, from photographs.", channels=3),
        corruption("fog", "fog:Fog", "Fog with a fractal density."),
        corruption("brightness", "colour:Brightness", "Raises V of HSV."),
        corruption("contrast", "colour:Contrast", "Lowers contrast towards the mean colour.", linear=True),
        corruption("saturate", "colour:Saturate", "Takes colour out (levels 1, 2) or adds it (3 to 5).", channels=3),
        corruption("elastic_transform", "elastic:ElasticTransform", "Small random displacements."),
        corruption("pixelate", "pixelate:Pixelate", "Area downsampling, back by nearest neighbour.", linear=True),
        corruption("jpeg_compression", "jpeg:JpegCompression", "JPEG artefacts at falling quality.", continuous=False),
    ]  # fmt: skip
