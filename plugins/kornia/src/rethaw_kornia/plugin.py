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
    """The blurs of Cold Diffusion: level i convolves with steps 0 … i, one after the other, as published, in one product.

    A parameter that is left out has the value published for its routine.

    routine: σ of step i: kernel_std (constant), kernel_std·(i+1) (incremental), e^(kernel_std·i) (exponential), i/100 + 0.35 (special_6); individual is one convolution of 2i+1 taps and σ twice that.
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
    """Resolution lost step by step: each step shrinks the image and enlarges it again by repeating pixels, as published.

    routine: size after step i: side // 2^(i+1) (factor_2) or side - i (incremental), at least one pixel.
    mode: how a step shrinks; bilinear and bicubic do not smooth beforehand, so what they lose depends on the image.
    steps: number of levels T; severity t is level i = T·t - 1, and values between go up to the next level.
    blur: adds a Gaussian blur of 3 taps, σ = 0.5, before and after each step.
    """

    routine: Literal["factor_2", "incremental"] = "factor_2"
    mode: Literal["area", "bilinear", "bicubic"] = "area"
    steps: Annotated[int, Ge(1), Le(1000)] = 3
    blur: bool = False


@hookimpl
def rethaw_degradations() -> list[Spec]:
    """Degradations."""
    return [
        degradation("gaussian_blur", GaussianBlur, target="rethaw_kornia.blur:Blur", linear=True, bounded=True,
                    summary="Gaussian blur, continuous in σ."),
        degradation("pixelate", Pixelate, target="rethaw_kornia.pixelate:Pixelate", linear=True, bounded=True, memory=4.5,
                    summary="Mean over growing blocks."),
        degradation("cumulative_blur", CumulativeBlur, target="rethaw_kornia.routines:CumulativeBlur", linear=True, bounded=True,
                    continuous=False, summary="The published blurs of Cold Diffusion, exactly, level by level."),
        degradation("downsample", Downsample, target="rethaw_kornia.routines:Downsample", linear=True,
                    continuous=False, summary="The published loss of resolution, by halves or pixel by pixel."),
    ]  # fmt: skip
