"""The light module of the plugin `kornia`: parameters and hooks. Imports neither torch nor kornia."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le

from rethaw.api import Spec, degradation, hookimpl


@dataclass(frozen=True)
class GaussianBlur:
    """A Gaussian blur with σ = u·sigma_max, reflecting at the borders.

    sigma_max: standard deviation at full strength, in pixels.
    kernel_size: odd number of taps; by default enough for four σ on each side.
    """

    sigma_max: Annotated[float, Gt(0)] = 3.0
    kernel_size: Annotated[int, Ge(3)] | None = None

    def __post_init__(self) -> None:
        if self.kernel_size is not None and self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, not {self.kernel_size}")


@dataclass(frozen=True)
class Pixelate:
    """Blocks of equal colour: the mean over squares whose side grows from 1 to block_max pixels.

    block_max: side of the blocks at full strength, in pixels; between whole sides the two nearest are blended.
    """

    block_max: Annotated[int, Ge(2)] = 8


ROUTINES = {
    "constant": (11, 7.0, "circular", 20),
    "incremental": (15, 0.01, "circular", 200),
    "exponential": (15, 0.01, "circular", 200),
    "special_6": (11, None, "reflect", 50),
    "individual": (None, None, "circular", 50),
}
"""The published kernel_size, kernel_std, padding and steps of each routine; None where the routine sets its own."""


@dataclass(frozen=True)
class CumulativeBlur:
    """The blurs of Cold Diffusion: level i is steps 0 … i, one convolution after the other, computed in one product.

    A parameter that is left out has the value published for its routine.

    routine: σ of step i: kernel_std (constant), kernel_std·(i+1) (incremental), e^(kernel_std·i) (exponential),
        i/100 + 0.35 (special_6); individual is one convolution of 2i+1 taps and σ twice that.
    kernel_size: odd number of taps of each step.
    kernel_std: the number that σ is made of, in pixels (exponential: a rate per step).
    steps: number of levels T; severity t is level i = T·t - 1, and values between go up to the next level.
    padding: what lies beyond the borders: the image again (circular) or its mirror image (reflect).
    """

    routine: Literal["constant", "incremental", "exponential", "special_6", "individual"] = "exponential"
    kernel_size: Annotated[int, Ge(1)] | None = None
    kernel_std: Annotated[float, Gt(0)] | None = None
    steps: Annotated[int, Ge(1), Le(1000)] | None = None
    padding: Literal["circular", "reflect"] | None = None

    def __post_init__(self) -> None:
        if self.kernel_size is not None and self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, not {self.kernel_size}")
        names = ("kernel_size", "kernel_std", "padding", "steps")
        for name, published in zip(names, ROUTINES[self.routine], strict=True):
            if getattr(self, name) is None:
                object.__setattr__(self, name, published)
            elif published is None:
                raise ValueError(f"routine {self.routine} sets its own {name}: leave it out")


@dataclass(frozen=True)
class Downsample:
    """Resolution lost step by step: each step shrinks the image and enlarges it again by repeating the nearest pixel.

    routine: size after step i: side // 2^(i+1) (factor_2) or side - i (incremental, whose step 0 changes nothing), at
        least one pixel.
    mode: how a step shrinks: area, bilinear or, as in the published experiments, bicubic. The last two do not smooth
        beforehand, so what they lose depends on the image, and bicubic goes beyond the range of its pixels.
    steps: number of levels T; severity t is level i = T·t - 1, and values between go up to the next level.
    blur: adds a Gaussian blur of 3 taps, σ = 0.5, before and after each step.
    """

    routine: Literal["factor_2", "incremental"] = "factor_2"
    mode: Literal["area", "bilinear", "bicubic"] = "area"
    steps: Annotated[int, Ge(1), Le(1000)] = 3
    blur: bool = False


@dataclass(frozen=True)
class MotionBlur:
    """Motion along a line of u·length pixels, reflecting at the borders.

    length: odd number of points on the line; they are u pixels apart.
    angle: of the motion, in degrees against the clock from the horizontal; without it, each image has a random one, the
        state "angle" (radians).
    """

    length: Annotated[int, Ge(3)] = 15
    angle: float | None = None

    def __post_init__(self) -> None:
        if self.length % 2 == 0:
            raise ValueError(f"length must be odd, not {self.length}")


@dataclass(frozen=True)
class Defocus:
    """Out of focus: convolution with a disk of radius u·radius_max, reflecting at the borders.

    radius_max: of the disk at full strength, in pixels.
    """

    radius_max: Annotated[float, Gt(0)] = 4.0


@dataclass(frozen=True)
class Hue:
    """Turns all colours about the grey axis, by u·degrees; exactly linear, so values may leave [-1, 1].

    degrees: of the turn at full strength; 120 makes red green, green blue and blue red.
    """

    degrees: Annotated[float, Gt(0), Le(180)] = 120.0


@dataclass(frozen=True)
class Saturation:
    """Moves all colours away from grey (or towards it); exactly linear, so values may leave [-1, 1].

    factor: how far from grey a colour is at full strength, as a multiple of what it was: 0 is grey, more than 1 garish.
    """

    factor: Annotated[float, Ge(0), Le(10)] = 3.0


@dataclass(frozen=True)
class Jpeg:
    """JPEG artefacts: kornia's differentiable codec, its quality falling from 100.

    quality_min: at full strength; u = 0 leaves the image as it is.
    """

    quality_min: Annotated[float, Ge(1), Le(99)] = 5.0


@dataclass(frozen=True)
class Unsharp:
    """Sharpened too far: x0 + u·amount·(x0 - blur(x0)), which the restorer learns to take back.

    amount: of the halo at full strength.
    sigma: of the blur, in pixels.
    """

    amount: Annotated[float, Gt(0), Le(10)] = 2.0
    sigma: Annotated[float, Gt(0)] = 1.5


@dataclass(frozen=True)
class Elastic:
    """Smooth random displacements, between random knots, the state "knots".

    strength: standard deviation of a knot's displacement at full strength, in pixels.
    spacing: between knots, in pixels.
    """

    strength: Annotated[float, Gt(0)] = 2.0
    spacing: Annotated[float, Ge(2)] = 12.0


@dataclass(frozen=True)
class Perspective:
    """Seen askew: each corner is moved at random, the state "corners".

    distortion: how far a corner moves at full strength at most, as a part of the image's sides.
    """

    distortion: Annotated[float, Gt(0), Le(0.2)] = 0.15


DEGRADATIONS: list[Spec] = [
    degradation(
        "gaussian_blur",
        GaussianBlur,
        target="rethaw_kornia.blur:Blur",
        linear=True,
        bounded=True,
        summary="Gaussian blur, continuous in σ.",
    ),
    degradation(
        "pixelate",
        Pixelate,
        target="rethaw_kornia.pixelate:Pixelate",
        linear=True,
        bounded=True,
        memory=5,
        summary="Mean over growing blocks.",
    ),
    degradation(
        "cumulative_blur",
        CumulativeBlur,
        target="rethaw_kornia.routines:CumulativeBlur",
        linear=True,
        bounded=True,
        continuous=False,
        summary="The published blurs of Cold Diffusion, level by level.",
    ),
    degradation(
        "downsample",
        Downsample,
        target="rethaw_kornia.routines:Downsample",
        linear=True,
        continuous=False,
        summary="The published loss of resolution, by halves or pixel by pixel.",
    ),
    degradation(
        "motion_blur",
        MotionBlur,
        target="rethaw_kornia.kernels:MotionBlur",
        linear=True,
        bounded=True,
        summary="Motion along a line, in a random direction.",
    ),
    degradation(
        "defocus",
        Defocus,
        target="rethaw_kornia.kernels:Defocus",
        linear=True,
        bounded=True,
        summary="Out of focus: convolution with a disk.",
    ),
    degradation(
        "hue",
        Hue,
        target="rethaw_kornia.colour:Hue",
        linear=True,
        channels=3,
        summary="Turns all colours about the grey axis.",
    ),
    degradation(
        "saturation",
        Saturation,
        target="rethaw_kornia.colour:Saturation",
        linear=True,
        channels=3,
        summary="Moves all colours away from grey, or towards it.",
    ),
    degradation(
        "jpeg",
        Jpeg,
        target="rethaw_kornia.jpeg:Jpeg",
        continuous=False,
        bounded=True,
        channels=3,
        memory=10.5,
        range=(0, 1),
        summary="JPEG artefacts, by kornia's differentiable codec.",
    ),
    degradation(
        "unsharp",
        Unsharp,
        target="rethaw_kornia.sharpen:Unsharp",
        linear=True,
        summary="Sharpened too far, with halos.",
    ),
    degradation(
        "elastic",
        Elastic,
        target="rethaw_kornia.warp:Elastic",
        linear=True,
        bounded=True,
        summary="Smooth random displacements.",
    ),
    degradation(
        "perspective",
        Perspective,
        target="rethaw_kornia.warp:Perspective",
        linear=True,
        bounded=True,
        summary="Seen askew, each corner moved at random.",
    ),
]
"""What cameras and files do to images, and Cold Diffusion's published routines."""


@hookimpl
def rethaw_degradations() -> list[Spec]:
    return DEGRADATIONS
