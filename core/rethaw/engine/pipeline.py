"""`rethaw.Pipeline`: degradation, restorer and sampler as one, from a YAML file or a run folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, Unpack

import torch
from torch import Tensor

from rethaw.api import RethawError, Rng, State, Step
from rethaw.config import load_config
from rethaw.config.find import SUFFIXES
from rethaw.config.model import Config
from rethaw.engine.evaluation.tune import check_tuning, tune_trained
from rethaw.engine.parts import Parts, assemble
from rethaw.engine.run import Run, find_run
from rethaw.engine.sampling import editing
from rethaw.engine.sampling.files import restore_images
from rethaw.engine.sampling.how import AS_PIPELINE, How, Options
from rethaw.engine.sampling.likelihood import Likelihood
from rethaw.engine.sampling.walking import Walker, last
from rethaw.engine.training.progress import Outcome
from rethaw.engine.training.train import train
from rethaw.engine.training.trainer import Watch
from rethaw.images import to_picture
from rethaw.registry import Registry

Severity = float | Tensor | None
Known = State | None
Draws = Rng | None


class Pipeline:
    """A degradation and the restorer that undoes it: `parts` is what the YAML says, `walker` has the weights.

    Images are tensors (B, C, H, W) in [-1, 1], or pictures of any size: files, PIL images, arrays (H, W, C), or lists.
    """

    def __init__(self, config: Config, registry: Registry, device: str | torch.device | None = None) -> None:
        self.parts = assemble(config, registry, device)
        self.trained: Walker | None = None

    def __repr__(self) -> str:
        return f"<Pipeline of {self.parts.degradation.name}, {'trained' if self.trained else 'not trained'}>"

    @property
    def config(self) -> Config:
        """The validated YAML."""
        return self.parts.config

    @property
    def walker(self) -> Walker:
        """The parts with trained weights. Raises RethawError where there are none."""
        if self.trained is None:
            raise RethawError("this pipeline is not trained", "Train it, or load a run: Pipeline.load('runs/…').")
        return self.trained

    @classmethod
    def from_yaml(cls, name: str | Path, overrides: Sequence[str] = (), device: str | None = None) -> Self:
        """An untrained pipeline from a YAML file or recipe, with `key.path=value` overrides."""
        return cls(*load_config(str(name), overrides), device=device)

    @classmethod
    def load(cls, run: str | Path, overrides: Sequence[str] = (), device: str | None = None) -> Self:
        """A trained pipeline from a run folder, or from the hub by `owner/name`; tuned, it restores as was chosen.

        Or from a YAML file whose backbone brings its weights.
        """
        if Path(run).suffix in SUFFIXES:
            pipeline = cls(*load_config(str(run), overrides, optional=("data", "metrics")), device=device)
            pipeline.trained = Walker.untrained(pipeline.parts)
            return pipeline
        found = find_run(run)
        pipeline = cls(*found.config(overrides), device=device)
        pipeline.trained = replace(Walker.load(pipeline.parts, found), tuned=found.tuned(overrides))
        return pipeline

    def save(self, folder: str | Path) -> None:
        """Writes resolved.yaml, lock.json and model.safetensors: all that `load` needs."""
        self.walker.save(Run(Path(folder)))

    def train(self, folder: str | Path, resume: bool = False, watch: Watch | None = None) -> Outcome:
        """Trains into a run folder, and tunes it if `train.tune` says so; see `rethaw.engine.training.train.train`."""
        outcome, self.trained = train_and_tune(self.parts, Path(folder), resume, watch)
        self.parts = self.trained.parts
        return outcome

    def measured(self, use: str, **given: Any) -> Self:
        """This pipeline, restoring from measurements by another degradation: `use`, its parameters, bits, noise."""
        other, parts = copy(self), self.parts.measured(use, **given)
        other.parts, other.trained = parts, self.trained and self.trained.of(parts)
        return other

    def degrade(
        self, x0: Tensor, severity: float = 1.0, seed: int | None = None, **fields: Tensor
    ) -> tuple[Tensor, State]:
        """Degrades clean images (B, C, H, W) as they are observed, or measured if there is a measurement; x_t and ξ.

        fields: of the data's items that the degradation asks for, batch first: degraded=y for core.pair.
        """
        return self.parts.degrade(x0, severity, self.parts.config.seed if seed is None else seed, items=fields)

    def trajectory(
        self, x: Tensor, severity: Severity = 1.0, state: Known = None, generator: Draws = None, **how: Unpack[Options]
    ) -> Iterator[Step]:
        """Walks from degraded images (B, C, H, W) to restored ones; yields each station. See `Walker.trajectory`."""
        return self.walker.restoring.trajectory(x, severity, How(**how), state=state, generator=generator)

    def restore(
        self,
        images: Any,
        severity: Severity = None,
        state: Known = None,
        enlarge: int | None = None,
        **how: Unpack[Options],
    ) -> Any:
        """Restores images that are degraded already; see `rethaw.engine.sampling.files.restore_images`."""
        return restore_images(self.walker.restoring, images, severity, How(**how), state, enlarge)

    def estimate(self, x: Tensor) -> Tensor:
        """The severity (B,) of degraded images (B, C, H, W), by the run's own estimate; 1 where it learnt none."""
        return self.walker.estimate(x)

    def generate(self, n: int, *, size: tuple[int, int] | None = None, **how: Unpack[Options]) -> Tensor:
        """Generates n images (n, C, H, W), from samples of x_1; size: (H, W), as in training if None."""
        return last(editing.generation(self.walker, n, How(**how), size)).x

    def encode(self, x0: Tensor, severity: float = 1.0, **how: Unpack[Options]) -> Tensor:
        """The x_t that DDIM would walk from to images x0 (B, C, H, W); see `editing.encode`."""
        return editing.encode(self.walker, x0, severity, How(**how))

    def edit(self, images: Any, strength: float = 0.6, **how: Unpack[Options]) -> Tensor:
        """New images after references of one size (SDEdit, 2108.01073); see `editing.variation`."""
        given = images if isinstance(images, (Tensor, list, tuple)) else [images]
        x0 = given if isinstance(given, Tensor) else torch.stack([self.tensor(image) for image in given])
        return last(editing.variation(self.walker, x0, strength, How(**how))).x

    def interpolate(
        self, a: Any, b: Any, count: int = 8, strength: float = 0.6, own: bool = False, **how: Unpack[Options]
    ) -> Tensor:
        """`count` images from one picture to another; see `editing.interpolate`. cond: one value a field, for all."""
        ends = self.tensor(a), self.tensor(b)
        return editing.interpolate(self.walker, ends, count, strength, How(**how).repeated(count), own)

    def log_likelihood(self, images: Tensor, how: How = AS_PIPELINE, **options: Any) -> Likelihood:
        """log p of clean images (B, C, H, W) in nats and in bits a dimension; see `editing.log_likelihood`."""
        return editing.log_likelihood(self.walker, images, how, **options)

    def tensor(self, image: Any) -> Tensor:
        """One image of any kind as a tensor (C, H, W) in [-1, 1]."""
        return to_picture(image, self.parts.config.restorer.channels).pixels


def train_and_tune(parts: Parts, folder: Path, resume: bool, watch: Watch | None) -> tuple[Outcome, Walker]:
    """Trains into a run folder, and chooses how the run restores if `train.tune` says so."""
    check_tuning(parts)
    found = train(parts, folder, resume, watch)
    walker = Walker(found.parts, found.restorer, found.fitted, found.image_shape)
    choice = tune_trained(walker, Run(folder)) if found.outcome.finished else None
    return found.outcome, replace(walker, tuned=choice.config if choice else None)
