"""The light module of the plugin `spandrel`: parameters and hooks. Imports neither torch nor spandrel."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rethaw.api import Spec, backbone, degradation, hookimpl, importer


@dataclass(frozen=True)
class Model:
    """A network of an architecture that spandrel knows; one that enlarges sees its input made small.

    path: a file with trained weights, which say what the network is; a pipeline with them needs no training.
    architecture: without a path, its name in spandrel; the weights are random.
    network: the class of that architecture.
    hyperparameters: of that class; the others are at their defaults.
    """

    path: Path | None = None
    architecture: str = "Compact"
    network: str = "SRVGGNetCompact"
    hyperparameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Unknown:
    """What nobody has written down: images come degraded, and clean ones stay as they are."""


@dataclass(frozen=True)
class File:
    """A checkpoint of an architecture that spandrel knows."""


@hookimpl
def rethaw_backbones() -> list[Spec]:
    """The networks."""
    summary = "A network that spandrel knows: Real-ESRGAN, SwinIR, NAFNet, SCUNet, …."
    return [backbone("model", Model, target="rethaw_spandrel.model:Model", summary=summary)]


@hookimpl
def rethaw_degradations() -> list[Spec]:
    """What checkpoints undo that do not say it."""
    return [
        degradation(
            "unknown",
            Unknown,
            target="rethaw_spandrel.unknown:Unknown",
            bounded=True,
            summary="What a checkpoint undoes that does not say it: direct restoring only.",
        )
    ]


@hookimpl
def rethaw_importers() -> list[Spec]:
    """Their weights."""
    return [
        importer(
            "file",
            File,
            target="rethaw_spandrel.importing:FileImporter",
            summary="Checkpoints of architectures that spandrel knows.",
            files="a .safetensors, .pth, .pt, .ckpt or .bin file of Real-ESRGAN, SwinIR, NAFNet, SCUNet and others",
        )
    ]
