"""Runs from folders in diffusers' layout: the scheduler becomes a table of noise, a prediction type and a sampler."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rethaw.api import Imported, RethawError
from rethaw_diffusers.folder import CONFIG, INDEX, SCHEDULER, network_config, parts, read_json
from rethaw_diffusers.plugin import Folder as Params

PREDICTIONS = {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}
SAMPLERS = {"DDPMScheduler": "core.ddpm", "DDIMScheduler": "core.ddim", "PNDMScheduler": "core.ddim"}
STEPS = {"core.ddpm": 1000, "core.ddim": 50}
"""What the pipelines of diffusers take."""

VARIANCES = {"fixed_small": "small", "fixed_large": "large", "learned_range": "learned", "learned": "small"}
SPACINGS = {"leading": "leading", "linspace": "linspace", "trailing": "uniform"}


class FolderImporter:
    """The importer `diffusers.folder`."""

    def __init__(self, params: Params) -> None:
        self.params = params

    def knows(self, source: Path) -> bool:
        return any((source / name).is_file() for name in (INDEX, CONFIG, f"unet/{CONFIG}", SCHEDULER))

    def read(self, source: Path) -> Imported:
        """The run of a folder. Raises RethawError for all but a U-Net in pixel space with a scheduler of timesteps."""
        from rethaw_diffusers.unet import image_shape, trained

        unet, scheduler = parts(source)
        config, given = network_config(unet), read_json(scheduler / SCHEDULER)
        table, settings = noise_table(given, scheduler / SCHEDULER)
        network = trained(unet)
        learned = network.config.out_channels == 2 * network.config.in_channels
        backbone = {"use": "diffusers.unet", "config": config, "timesteps": len(table)}
        pipeline = {
            "version": 1,
            "degradation": {"id": "noise", "use": "core.gaussian_noise", "alpha_bar": table, "levels": len(table)},
            "backbone": backbone,
            "restorer": restorer(settings, network.config.in_channels, learned),
            "sampler": sampler(given["_class_name"], settings, len(table), learned),
        }
        weights = {f"network.{key}": value for key, value in network.state_dict().items()}
        return Imported(pipeline, weights, image_shape(network.config), notes(settings, given["_class_name"]))


def noise_table(given: Mapping[str, Any], path: Path) -> tuple[list[float], Mapping[str, Any]]:
    """ᾱ at each timestep, as the scheduler itself computes it, and all its settings."""
    import diffusers

    name = given.get("_class_name")
    if name not in SAMPLERS:
        raise RethawError(
            f"{path} is of {name!r}: that is no scheduler that can be imported", f"Those are: {', '.join(SAMPLERS)}."
        )
    try:
        scheduler = getattr(diffusers, name).from_config(dict(given))
        table = [float(value) for value in scheduler.alphas_cumprod.double()]
    except Exception as error:
        raise RethawError(f"{path} describes no scheduler: {type(error).__name__}: {error}", "Copy it anew.") from error
    if scheduler.config.prediction_type not in PREDICTIONS:
        raise RethawError(
            f"{path}: prediction_type {scheduler.config.prediction_type!r} is not known",
            f"Those are: {', '.join(PREDICTIONS)}.",
        )
    return table, scheduler.config


def restorer(settings: Mapping[str, Any], channels: int, learned: bool) -> dict[str, Any]:
    """How the network's output is read; a PNDM scheduler never clips."""
    return {
        "prediction": PREDICTIONS[settings["prediction_type"]],
        "variance": "learned" if learned else "fixed",
        "clip": bool(settings.get("clip_sample") or settings.get("thresholding")),
        "clip_range": float(settings.get("clip_sample_range", 1.0)),
        "channels": channels,
    }


def sampler(name: str, settings: Mapping[str, Any], levels: int, learned: bool) -> dict[str, Any]:
    """The sampler that the scheduler is, with the steps that its pipeline takes."""
    use = SAMPLERS[name]
    spacing = SPACINGS.get(settings.get("timestep_spacing", "leading"), "leading")
    found: dict[str, Any] = {"use": use, "steps": min(STEPS[use], levels), "spacing": spacing}
    if use == "core.ddpm":
        variance = VARIANCES.get(str(settings["variance_type"]).removesuffix("_log"), "small")
        found["variance"] = "small" if variance == "learned" and not learned else variance
    return found


def notes(settings: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """What differs from diffusers."""
    found = {
        "its thresholding is dynamic in diffusers; here estimates are clipped": settings.get("thresholding"),
        "its timesteps have an offset in diffusers, which is left out": settings.get("steps_offset"),
        "its last step ends at the first timestep in diffusers, here at the clean image": settings.get(
            "set_alpha_to_one"
        )
        is False,
        "its learned variance is not the range that core.ddpm knows: core.ddpm takes variance: small": settings.get(
            "variance_type"
        )
        == "learned",
        "PNDMScheduler is sampled with core.ddim": name == "PNDMScheduler",
    }
    return tuple(text for text, holds in found.items() if holds)
