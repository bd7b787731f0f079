"""The light module of the plugin `deepinv`: parameters and hooks. Imports neither torch nor deepinv."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Gt

from rethaw.api import Spec, backbone, hookimpl, importer

Name = Literal["DRUNet", "DnCNN", "FFDNet", "SCUNet", "SwinIR", "Restormer"]


@dataclass(frozen=True)
class Denoiser:
    """A denoiser of deepinv, against core.gaussian_noise with process: ve and the same sigma_min and sigma_max.

    model: its class in deepinv. DRUNet and FFDNet are told the noise level; the others find it.
    options: of that class; channels are the pipeline's, and nothing is downloaded.
    path: a file with trained weights; a pipeline with them needs no training.
    sigma_min: of the noise, on the scale of images in [-1, 1], twice that of deepinv.
    sigma_max: of the noise at t = 1.
    """

    model: Name = "DRUNet"
    options: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None
    sigma_min: Annotated[float, Gt(0)] = 0.02
    sigma_max: Annotated[float, Gt(0)] = 0.4

    def __post_init__(self) -> None:
        if self.sigma_min >= self.sigma_max:
            raise ValueError(f"sigma_min {self.sigma_min} must be below sigma_max {self.sigma_max}")


@dataclass(frozen=True)
class File:
    """A file with the weights of a denoiser of deepinv, which does not say whose they are.

    model: its class in deepinv.
    options: of that class.
    channels: of the images: 3 for colour, 1 for grey.
    sigma_max: of the noise at t = 1, on the scale of images in [-1, 1], twice that of deepinv.
    """

    model: Name = "DRUNet"
    options: dict[str, Any] = field(default_factory=dict)
    channels: Literal[1, 3] = 3
    sigma_max: Annotated[float, Gt(0.02)] = 0.4


@hookimpl
def rethaw_backbones() -> list[Spec]:
    """The networks."""
    summary = "A denoiser of deepinv: DRUNet, DnCNN, FFDNet, SCUNet, SwinIR, Restormer."
    return [backbone("denoiser", Denoiser, target="rethaw_deepinv.denoiser:Denoiser", summary=summary)]


@hookimpl
def rethaw_importers() -> list[Spec]:
    """Their weights."""
    return [
        importer(
            "denoiser",
            File,
            target="rethaw_deepinv.importing:DenoiserImporter",
            summary="Weights of a denoiser of deepinv, which has to be named.",
            files='a .pth or .safetensors file, whose model --importer "{use: deepinv.denoiser, model: DRUNet}" names',
        )
    ]
