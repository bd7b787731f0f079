"""Runs from weights of deepinv's denoisers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from rethaw.api import Imported
from rethaw_deepinv.plugin import Denoiser
from rethaw_deepinv.plugin import File as Params


class DenoiserImporter:
    """The importer `deepinv.denoiser`. A file does not say whose weights it has, so it is to be asked for by name."""

    def __init__(self, params: Params) -> None:
        self.params = params

    def knows(self, source: Path) -> bool:
        return False

    def read(self, source: Path) -> Imported:
        """The run of a file: against noise of up to `sigma_max`, in one step."""
        from rethaw_deepinv.denoiser import build, load

        given = self.params
        network = build(given.model, given.options, given.channels)
        load(network, source, given.model)
        like = replace(Denoiser(), sigma_max=given.sigma_max)
        noise: dict[str, Any] = {"sigma_min": like.sigma_min, "sigma_max": like.sigma_max}
        pipeline = {
            "version": 1,
            "degradation": {"id": "noise", "use": "core.gaussian_noise", "process": "ve", **noise},
            "backbone": {"use": "deepinv.denoiser", "model": given.model, "options": given.options, **noise},
            "restorer": {"prediction": "x0", "channels": given.channels},
            "sampler": {"use": "core.direct"},
        }
        return Imported(pipeline, {f"network.{key}": value for key, value in network.state_dict().items()})
