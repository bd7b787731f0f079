"""The light module of the plugin `diffusers`: parameters and hooks. Imports neither torch nor diffusers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge

from rethaw.api import Spec, backbone, hookimpl, importer


@dataclass(frozen=True)
class UNet:
    """The pixel-space U-Net of diffusers, UNet2DModel.

    path: a folder in diffusers' layout, whose trained weights it has; a pipeline with them needs no training.
    config: without a path, the network as in diffusers' config.json, by default a small one; the weights are random.
    timesteps: of the schedule that it is for: it is told timestep t·timesteps - 1, rounded up.
    """

    path: Path | None = None
    config: dict[str, Any] = field(default_factory=dict)
    timesteps: Annotated[int, Ge(1)] = 1000

    def __post_init__(self) -> None:
        if self.path and self.config:
            raise ValueError("path and config do not go together: the folder has a config.json")


@dataclass(frozen=True)
class Folder:
    """A folder as diffusers saves pipelines: a U-Net in pixel space and its scheduler."""


@hookimpl
def rethaw_backbones() -> list[Spec]:
    """The network."""
    return [backbone("unet", UNet, target="rethaw_diffusers.unet:UNet", summary="The pixel-space U-Net of diffusers.")]


@hookimpl
def rethaw_importers() -> list[Spec]:
    """Its weights and its schedule."""
    return [
        importer(
            "folder",
            Folder,
            target="rethaw_diffusers.importing:FolderImporter",
            summary="Pixel-space diffusion models in diffusers' layout.",
            files="a folder with model_index.json, scheduler/scheduler_config.json, unet/config.json and "
            "unet/diffusion_pytorch_model.safetensors, or all four side by side",
        )
    ]
