"""`rethaw.Pipeline`: degradation, restorer and sampler as one, from a YAML file or a run folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rethaw.api import RethawError
from rethaw.config import load_config
from rethaw.config.model import Config
from rethaw.engine.degradation.hosted import AnyDegradation, build_degradation
from rethaw.engine.parts import complete
from rethaw.engine.restorer.conditioners import Conditioners
from rethaw.engine.restorer.network import Restorer, build_restorer
from rethaw.engine.restorer.parameterization import Parameterization
from rethaw.engine.run import CONFIG, MODEL, find_run, load_tensors, read_lock, save_tensors, write_description
from rethaw.engine.sampling.editing import Editing
from rethaw.engine.sampling.measurement import Measurement
from rethaw.engine.training.progress import Outcome, Progress
from rethaw.files import only_one
from rethaw.registry import Registry


class Pipeline(Editing):
    """A degradation and the restorer that undoes it.

    Made by `from_yaml` (untrained), `load` (a run folder or hub id) or `train`. Images are tensors (B, C, H, W) in
    [-1, 1], or lists of files, PIL images and tensors (C, H, W) of any size.
    """

    def __init__(self, config: Config, registry: Registry, device: str | torch.device | None = None) -> None:
        self.config, self.registry = config, registry
        self.device = usable(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.degradation: AnyDegradation = build_degradation(config, registry)
        self.measurement = Measurement(config.measurement, registry) if config.measurement else None
        self.parameterization = Parameterization(config.restorer, self.degradation, config.observation)
        self.conditioners = Conditioners(config, registry)
        self.restorer: Restorer | None = None
        self.fitted: dict[str, Tensor] = {}
        self.image_shape: tuple[int, ...] = ()
        self.folder: Path | None = None
        self.data: Any = None

    @classmethod
    def from_yaml(cls, name: str | Path, overrides: Sequence[str] = (), device: str | None = None) -> Pipeline:
        """An untrained pipeline from a YAML file or recipe, with `key.path=value` overrides."""
        return cls(*load_config(str(name), overrides), device=device)

    @classmethod
    def load(cls, run: str | Path, overrides: Sequence[str] = (), device: str | None = None) -> Pipeline:
        """A trained pipeline from a run folder, or from the hub by `owner/name`."""
        folder = find_run(run)
        pipeline = cls(*load_config(str(folder / CONFIG), overrides), device=device)
        pipeline.folder = folder
        pipeline.image_shape = tuple(read_lock(folder).get("image_shape", ()))
        tensors = load_tensors(folder / MODEL)
        pipeline.fitted = {k.removeprefix("prior."): v for k, v in tensors.items() if k.startswith("prior.")}
        weights = {k.removeprefix("restorer."): v for k, v in tensors.items() if k.startswith("restorer.")}
        pipeline.restorer = pipeline.new_restorer(initial=False)
        try:
            pipeline.restorer.load_state_dict(weights)
        except RuntimeError as error:
            raise RethawError(
                f"{folder / MODEL} does not fit the pipeline in {CONFIG}: {str(error).splitlines()[-1].strip()}",
                "The two must come from one training.",
            ) from error
        pipeline.restorer.to(pipeline.device).eval()
        return pipeline

    def save(self, folder: str | Path) -> None:
        """Writes resolved.yaml, lock.json and model.safetensors: all that `load` needs."""
        write_description(Path(folder), self.config, self.registry, self.image_shape)
        self.save_weights(Path(folder), self._trained())

    def train(
        self, folder: str | Path, resume: bool = False, watch: Callable[[Progress], None] | None = None
    ) -> Outcome:
        """Trains into a run folder, or takes up an interrupted training there.

        watch: called after every step. SIGINT and SIGTERM end the training between two steps, with a checkpoint.
        Raises RethawError where the data, the degradation or the folder is not fit for it.
        """
        from rethaw.engine.training.trainer import Trainer, fit_prior, preflight, rehearse

        folder = Path(folder)
        data = self.data = self._prepare_data()
        self.image_shape = preflight(self.config, data, self.degradation)
        restorer = self.new_restorer()
        rehearse(self, restorer)
        if self.config.prior and not hasattr(self.degradation, "prior"):
            prior = self.registry.build("prior", self.config.prior.use, self.config.prior.params)
            self.fitted = fit_prior(self.config, data, self.degradation, prior)
        trainer = Trainer(self, data, restorer, folder)
        if resume:
            trainer.resume()
        if trainer.is_main:
            write_description(folder, self.config, self.registry, self.image_shape)
        with only_one(folder):
            outcome = trainer.run(watch)
        self.folder, self.restorer = (
            folder,
            trainer.accelerator.unwrap_model(trainer.best, keep_fp32_wrapper=False).eval(),
        )
        return outcome

    def build_data(self) -> Any:
        """The training data."""
        if self.config.data is None:
            raise RethawError("the pipeline has no data to train on", "Add data: {use: core.folder, path: photos/}.")
        data = self.registry.build("dataset", self.config.data.use, self.config.data.params)
        if len(data) == 0:
            raise RethawError(f"{self.config.data.use} has no images")
        return data

    def _prepare_data(self) -> Any:
        """Builds the dataset, and completes conditioners from it (which classes there are)."""
        data = self.build_data()
        items = [complete(item, data, self.registry) for item in self.config.conditioner]
        self.config = replace(self.config, conditioner=tuple(items))
        self.conditioners = Conditioners(self.config, self.registry)
        return data

    def new_restorer(self, initial: bool = True) -> Restorer:
        """An untrained restorer. initial: False where weights of a run follow."""
        return build_restorer(
            self.config, self.registry, self.conditioners, self.parameterization.out_channels, initial
        )

    def save_weights(self, folder: Path, restorer: Restorer) -> None:
        """Writes model.safetensors: a restorer's weights and the fitted prior."""
        weights = {f"restorer.{key}": value for key, value in restorer.state_dict().items()}
        save_tensors(folder / MODEL, weights | {f"prior.{key}": value for key, value in self.fitted.items()})


def usable(device: str | torch.device) -> torch.device:
    """A device that exists and works. Raises RethawError for any other."""
    try:
        torch.empty(1, device=device)
        return torch.device(device)
    except (RuntimeError, AssertionError) as error:
        raise RethawError(
            f"the device {str(device)!r} cannot be used: {str(error).splitlines()[0]}",
            "Leave --device out to take a GPU if there is one, else the CPU.",
        ) from error
