"""Runs from checkpoints that spandrel knows: what the network is says what it undoes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rethaw.api import Imported, RethawError
from rethaw_spandrel.plugin import File as Params

if TYPE_CHECKING:
    from rethaw_spandrel.model import Described

ENDINGS = (".safetensors", ".pth", ".pt", ".ckpt", ".bin")


class FileImporter:
    """The importer `spandrel.file`."""

    def __init__(self, params: Params) -> None:
        self.params = params

    def knows(self, source: Path) -> bool:
        return source.is_file() and source.suffix.lower() in ENDINGS

    def read(self, source: Path) -> Imported:
        """The run of a file. Raises RethawError for what spandrel does not know, and for faces."""
        from spandrel import ModelTiling

        from rethaw_spandrel.model import hyperparameters, read

        found = read(source)
        if found.purpose == "FaceSR" or found.input_channels != found.output_channels:
            raise RethawError(
                f"{source} is a {found.architecture.name} for {found.purpose}, from {found.input_channels} channels to "
                f"{found.output_channels}: it cannot be imported",
                "Networks that give a picture for a picture can: a face would have to be found and aligned first.",
            )
        degradation, note = undoes(found)
        backbone = {
            "use": "spandrel.model",
            "architecture": str(found.architecture.id),
            "network": type(found.model).__name__,
            "hyperparameters": hyperparameters(found.model),
        }
        size = {} if found.tiling is ModelTiling.SUPPORTED else {"tile": 0}
        size |= {"enlarge": found.scale} if found.scale > 1 else {}
        pipeline = {
            "version": 1,
            "degradation": degradation,
            "backbone": backbone,
            "restorer": {"prediction": "x0", "channels": found.input_channels, **size},
            "sampler": {"use": "core.direct"},
        }
        weights = {f"model.{key}": value for key, value in found.model.state_dict().items()}
        return Imported(pipeline, weights, (), (f"a {found.architecture.name} for {found.purpose}: {note}",))


def undoes(found: Described) -> tuple[dict[str, Any], str]:
    """The degradation that a network undoes, and what to say of it."""
    if found.purpose == "Inpainting":
        return {"use": "core.mask", "shape": "strokes"}, "it fills holes; give them with --state mask=FILE"
    if found.scale > 1:
        return (
            {"use": "kornia.pixelate", "block_max": found.scale},
            f"it enlarges {found.scale} times; --enlarge 1 is for pictures that are as large already",
        )
    return (
        {"use": "spandrel.unknown"},
        "the file does not say what it undoes, so it restores in one step only; to evaluate it against a degradation, "
        "name that: rethaw import … degradation='{use: kornia.jpeg}'",
    )
