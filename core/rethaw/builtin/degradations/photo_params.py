"""The parameters and specs of what happens to photographs on their way (2107.10833, 2103.14006); no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, MinLen

from rethaw.api import Spec, degradation

AT = "rethaw.builtin.degradations"
Unit = Annotated[float, Ge(0), Le(1)]
Positive = Annotated[float, Gt(0)]
Taps = tuple[Annotated[int, Ge(3), Le(63)], Annotated[int, Ge(3), Le(63)]]
Mode = Literal["area", "bilinear", "bicubic"]


def check_ranges(params: object, *names: str) -> None:
    """Refuses ranges [low, high] whose ends are the wrong way round."""
    for name in names:
        low, high = getattr(params, name)
        if low > high:
            raise ValueError(f"{name} is [low, high] with low <= high, not {[low, high]}")


def check_taps(taps: tuple[int, int]) -> None:
    """Refuses kernels without a middle."""
    if taps[0] % 2 == 0 or taps[1] % 2 == 0:
        raise ValueError(f"taps are two odd numbers, not {list(taps)}")


@dataclass(frozen=True)
class KernelBlur:
    """A blur by a kernel drawn for each image, reflecting at the borders; σ grows in proportion to u (2107.10833, 3.1).

    sigma: [low, high] of the standard deviations at full strength, in pixels.
    kernels: how often the kernel is a Gaussian, a generalised Gaussian or a plateau, each round or elongated in any
        direction: six weights, of round Gaussian, elongated Gaussian, and so on.
    generalised: [low, high] of β in exp(-½ q^β), q the squared distance in σ; half of the β are below 1.
    plateau: [low, high] of β in 1 / (1 + q^β), likewise.
    taps: [least, most] of the kernel's side, odd.
    """

    sigma: tuple[Positive, Positive] = (0.2, 3.0)
    kernels: tuple[Unit, Unit, Unit, Unit, Unit, Unit] = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)
    generalised: tuple[Positive, Positive] = (0.5, 4.0)
    plateau: tuple[Positive, Positive] = (1.0, 2.0)
    taps: Taps = (7, 21)

    def __post_init__(self) -> None:
        check_ranges(self, "sigma", "generalised", "plateau", "taps")
        check_taps(self.taps)
        if sum(self.kernels) == 0:
            raise ValueError("kernels are six weights, not all 0")


@dataclass(frozen=True)
class Sinc:
    """Rings and overshoots of an ideal low-pass filter: x0 + u·(k ⋆ x0 - x0), k with a random cutoff (2107.10833, 3.4).

    cutoff: [low, high] of the highest frequency left, as a part of the highest that pixels can show.
    taps: [least, most] of the kernel's side, odd.
    """

    cutoff: tuple[Annotated[float, Gt(0), Le(1)], Annotated[float, Gt(0), Le(1)]] = (0.333, 1.0)
    taps: Taps = (7, 21)

    def __post_init__(self) -> None:
        check_ranges(self, "cutoff", "taps")
        check_taps(self.taps)


@dataclass(frozen=True)
class Resize:
    """Resized by a random factor and back to its size, each by a method drawn at random; nothing smooths beforehand.

    scale: [smallest, largest] factor at full strength; at strength u it is 1 + u·(factor - 1).
    up: how often the image is enlarged first, where the range goes beyond 1; within a side of 1 factors are uniform.
    modes: that are drawn from: area, bilinear, bicubic.
    """

    scale: tuple[Positive, Annotated[float, Gt(0), Le(4)]] = (0.25, 1.0)
    up: Unit = 0.25
    modes: Annotated[tuple[Mode, ...], MinLen(1)] = ("area", "bilinear", "bicubic")

    def __post_init__(self) -> None:
        check_ranges(self, "scale")
        if len(set(self.modes)) < len(self.modes):
            raise ValueError(f"modes names each method once, not {list(self.modes)}")


@dataclass(frozen=True)
class AdditiveNoise:
    """Gaussian noise that is added, x0 + u·sigma·z, the state "z"; it may leave [-1, 1].

    sigma: standard deviation at full strength, on the scale of images in [-1, 1] (30 of 255 are 0.235).
    grey: share of the images whose noise is alike in all channels.
    """

    sigma: Positive = 0.2
    grey: Unit = 0.0


@dataclass(frozen=True)
class Jpeg:
    """JPEG artefacts, as libjpeg makes them at whole qualities, with chroma at half the size.

    quality_min: at full strength; at strength u it is 100 - u·(100 - quality_min), and u = 0 does not code at all.
    """

    quality_min: Annotated[int, Ge(1), Le(99)] = 10


SPECS: list[Spec] = [
    degradation(
        "kernel_blur",
        KernelBlur,
        target=f"{AT}.kernels:KernelBlur",
        linear=True,
        bounded=True,
        summary="A blur by a random kernel, round or elongated.",
    ),
    degradation("sinc", Sinc, target=f"{AT}.kernels:Sinc", linear=True, summary="Rings of an ideal low-pass filter."),
    degradation(
        "resize",
        Resize,
        target=f"{AT}.resize:Resize",
        linear=True,
        continuous=False,
        summary="Resized by a random factor, and back.",
    ),
    degradation(
        "additive_noise",
        AdditiveNoise,
        target=f"{AT}.noise:AdditiveNoise",
        linear=True,
        summary="Gaussian noise that is added, in colour or grey.",
    ),
    degradation(
        "jpeg",
        Jpeg,
        target=f"{AT}.jpeg:Jpeg",
        differentiable=False,
        continuous=False,
        bounded=True,
        memory=6.0,
        range=(0.0, 1.0),
        summary="JPEG artefacts, as libjpeg makes them.",
    ),
]
"""What the second-order degradation of Real-ESRGAN and the shuffled one of BSRGAN are made of."""
