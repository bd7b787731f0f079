"""The parameters and specs of the built-in metrics; neither needs torch."""

from __future__ import annotations

from dataclasses import dataclass

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


SPECS: list[Spec] = [
    metric("psnr", Psnr, target=f"{AT}.fidelity:Psnr", summary="Peak signal-to-noise ratio, dB."),
    metric("ssim", Ssim, target=f"{AT}.fidelity:Ssim", summary="Structural similarity."),
    metric("rmse", Rmse, target=f"{AT}.fidelity:Rmse", summary="Root mean squared error."),
]
