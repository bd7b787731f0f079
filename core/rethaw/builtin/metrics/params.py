"""The parameters and specs of the built-in metrics; neither needs torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Ge, MultipleOf

from rethaw.api import Spec, metric

AT = "rethaw.builtin.metrics"


@dataclass(frozen=True)
class Psnr:
    """Peak signal-to-noise ratio in dB: the mean over images of 10 log10(1 / MSE), pixels in [0, 1].

    An image counts with at most 100 dB, which equal images have (and an error below a step of 16 bits).
    """


@dataclass(frozen=True)
class Ssim:
    """Structural similarity (Wang 2004) with an 11-pixel Gaussian window, pixels in [0, 1]."""


@dataclass(frozen=True)
class Rmse:
    """Root of the mean squared error over all images, pixels in [0, 1]."""


@dataclass(frozen=True)
class Niqe:
    """NIQE (Mittal 2013): how far the statistics of an image are from those of clean pictures; it needs no clean image.

    pristine: clean pictures of any content, like those that are wanted, a folder or a file.
    patch: side in pixels of the patches that are described; 96 as published. Images need at least two.
    images: at most so many of the clean pictures, spread over all.
    """

    pristine: Path
    patch: Annotated[int, Ge(16), MultipleOf(2)] = 96
    images: Annotated[int, Ge(1)] = 125


SPECS: list[Spec] = [
    metric("psnr", Psnr, target=f"{AT}.fidelity:Psnr", summary="Peak signal-to-noise ratio, dB."),
    metric("ssim", Ssim, target=f"{AT}.fidelity:Ssim", summary="Structural similarity."),
    metric("niqe", Niqe, target=f"{AT}.niqe:Niqe", summary="Naturalness by clean pictures, without a clean image."),
    metric("rmse", Rmse, target=f"{AT}.fidelity:Rmse", summary="Root mean squared error."),
]
