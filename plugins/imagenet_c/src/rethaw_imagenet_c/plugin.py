"""The light module of the plugin `imagenet_c`: parameters and hook. Imports neither torch nor the reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le

from rethaw.api import Spec, degradation, hookimpl

Name = Literal[
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "speckle_noise",
    "gaussian_blur",
    "defocus_blur",
    "glass_blur",
    "motion_blur",
    "zoom_blur",
    "snow",
    "frost",
    "fog",
    "spatter",
    "brightness",
    "contrast",
    "elastic_transform",
    "pixelate",
    "jpeg_compression",
    "saturate",
]


@dataclass(frozen=True)
class Severity:
    """A corruption of ImageNet-C at level u·severity_max; constants are linear between the published levels 1 … 5.

    severity_max: the level at full strength; 5 is the heaviest that was published.
    """

    severity_max: Annotated[float, Gt(0), Le(5)] = 5.0


@dataclass(frozen=True)
class ColdSnow:
    """Snow as Cold Diffusion has it: over the steps more flakes, longer streaks and, if it is to ramp, whiter light.

    level: how heavy it becomes, 1 to 4; CIFAR-10 was published with 3 and CelebA with 4.
    random: a layer for each image; false: one for all images.
    brightness: fixed (the image keeps its own, as published) or ramp (it is whitened).
    levels: number of steps T, over which thresholds and blurs ramp exactly as published.
    """

    level: Annotated[int, Ge(1), Le(4)] = 3
    random: bool = True
    brightness: Literal["fixed", "ramp"] = "fixed"
    levels: Annotated[int, Ge(1)] | None = None


@dataclass(frozen=True)
class Reference:
    """The package imagecorruptions itself, image by image, for published numbers: 8 bits, and whole levels 1 to 5.

    corruption: its name there.
    severity_max: the level at full strength; every strength above 0 is rounded to a level of at least 1.
    """

    corruption: Name = "gaussian_noise"
    severity_max: Annotated[int, Ge(1), Le(5)] = 5


def corruption(name: str, target: str, summary: str, **traits: Any) -> Spec:
    """The spec of one corruption; all are written for values in [0, 1], and keep them there."""
    return degradation(
        name, Severity, target=f"rethaw_imagenet_c.{target}", summary=summary, range=(0, 1), bounded=True, **traits
    )


DEGRADATIONS: list[Spec] = [
    corruption("gaussian_noise", "noise:GaussianNoise", "Additive Gaussian noise, clipped."),
    corruption(
        "shot_noise",
        "noise:ShotNoise",
        "Poisson noise of few photons.",
        continuous=False,
        differentiable=False,
        memory=4.5,
    ),
    corruption("impulse_noise", "noise:ImpulseNoise", "Salt and pepper.", continuous=False),
    corruption("speckle_noise", "noise:SpeckleNoise", "Gaussian noise in proportion to brightness."),
    corruption("gaussian_blur", "blur:GaussianBlur", "Gaussian blur.", linear=True),
    corruption("defocus_blur", "blur:DefocusBlur", "Out of focus: convolution with a disk.", linear=True, memory=7),
    corruption("motion_blur", "blur:MotionBlur", "Motion along a random direction.", linear=True, memory=12),
    corruption("zoom_blur", "zoom:ZoomBlur", "The mean over a zoom towards the image.", linear=True, memory=4.5),
    corruption(
        "glass_blur", "glass:GlassBlur", "Frosted glass: pixels shuffled within a blur.", linear=True, memory=5.25
    ),
    corruption("snow", "snow:Snow", "Falling snow, streaked by motion, in whitened light."),
    corruption("frost", "frost:Frost", "Ice crystals on the lens, from photographs.", channels=3),
    corruption("fog", "fog:Fog", "Fog with a fractal density."),
    corruption("spatter", "spatter:Spatter", "Drops of water (levels 1 to 3) or mud (4, 5) on the lens."),
    corruption("brightness", "colour:Brightness", "Raises V of HSV."),
    corruption("contrast", "colour:Contrast", "Lowers contrast towards the mean colour.", linear=True),
    corruption("saturate", "colour:Saturate", "Takes colour out (levels 1, 2) or adds it (3 to 5).", channels=3),
    corruption("elastic_transform", "elastic:ElasticTransform", "Small random displacements."),
    corruption("pixelate", "pixelate:Pixelate", "Area downsampling, back by nearest neighbour.", linear=True),
    corruption(
        "jpeg_compression",
        "jpeg:JpegCompression",
        "JPEG artefacts at falling quality.",
        continuous=False,
        differentiable=False,
    ),
    degradation(
        "cold_snow",
        ColdSnow,
        target="rethaw_imagenet_c.cold_snow:ColdSnow",
        continuous=False,
        summary="Snow as Cold Diffusion has it.",
        range=(0, 1),
    ),
    degradation(
        "reference",
        Reference,
        target="rethaw_imagenet_c.reference:Reference",
        continuous=False,
        differentiable=False,
        compilable=False,
        bounded=True,
        summary="Any of them by the package imagecorruptions, image by image.",
        range=(0, 1),
    ),
]
"""ImageNet-C's corruptions, and the snow of Cold Diffusion."""


@hookimpl
def rethaw_degradations() -> list[Spec]:
    return DEGRADATIONS
