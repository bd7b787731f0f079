"""`rethaw.Pipeline`: degradation, restorer and sampler as one, from a YAML file or a run folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self, TypedDict, Unpack

import torch
from torch import Tensor

from rethaw.api import RethawError, Rng, State, Step
from rethaw.config import load_config
from rethaw.config.model import Component, Config, Guidance
from rethaw.engine.parts import assemble
from rethaw.engine.restorer.conditioners import Values
from rethaw.engine.run import CONFIG, Run, find_run
from rethaw.engine.sampling import editing
from rethaw.engine.sampling.files import Job, restore_picture
from rethaw.engine.sampling.likelihood import Likelihood
from rethaw.engine.sampling.walking import How, Walker, last
from rethaw.engine.training.progress import Outcome
from rethaw.engine.training.train import train
from rethaw.engine.training.trainer import Watch
from rethaw.images import ImageLike, Picture, to_picture
from rethaw.registry import Registry


class Options(TypedDict, total=False):
    """How to sample; what is left out is as the pipeline says. See `rethaw.engine.sampling.walking.How`."""

    sampler: str | Component | None
    steps: int | None
    cond: Values
    guidance: Guidance | float | None
    seed: int | None


class Pipeline:
    """A degradation and the restorer that undoes it, made by `from_yaml` (untrained), `load` (a run folder or hub id) or `train`.

    Images are tensors (B, C, H, W) in [-1, 1], or pictures of any size: files, PIL images, numpy arrays (H, W, C), tensors
    (C, H, W), one or a list. `options` of the methods are those of `Options`. `parts` has what the YAML says, `walker` the
    weights.
    """

    def __init__(self, config: Config, registry: Registry, device: str | torch.device | None = None) -> None:
        self.parts, self._walker = assemble(config, registry, device), None

    _walker: Walker | None

    def __repr__(self) -> str:
        parts, state = self.parts, "trained" if self._walker else "not trained"
        return f"<Pipeline of {parts.degradation.name}: {parts.config.backbone.use}, {parts.config.sampler.use}, {state}>"

    @property
    def walker(self) -> Walker:
        """The parts with trained weights. Raises RethawError where there are none."""
        if self._walker is None:
            raise RethawError("this pipeline is not trained", "Train it, or load a run: Pipeline.load('runs/…').")
        return self._walker

    @classmethod
    def from_yaml(cls, name: str | Path, overrides: Sequence[str] = (), device: str | None = None) -> Self:
        """An untrained pipeline from a YAML file or recipe, with `key.path=value` overrides."""
        return cls(*load_config(str(name), overrides), device=device)

    @classmethod
    def load(cls, run: str | Path, overrides: Sequence[str] = (), device: str | None = None) -> Self:
        """A trained pipeline from a run folder, or from the hub by `owner/name`."""
        found = find_run(run)
        pipeline = cls.from_yaml(found.path(CONFIG), overrides, device)
        pipeline._walker = Walker.load(pipeline.parts, found)
        return pipeline

    def save(self, folder: str | Path) -> None:
        """Writes resolved.yaml, lock.json and model.safetensors: all that `load` needs."""
        self.walker.save(Run(Path(folder)))

    def train(self, folder: str | Path, resume: bool = False, watch: Watch | None = None) -> Outcome:
        """Trains into a run folder; see `rethaw.engine.training.train.train`."""
        found = train(self.parts, Path(folder), resume, watch)
        self.parts = found.parts
        self._walker = Walker(found.parts, found.restorer, found.fitted, found.image_shape)
        return found.outcome

    def measured(self, use: str, **given: Any) -> Self:
        """This pipeline, restoring from measurements by a degradation (`use`, its parameters, bits, noise), not its own."""
        other = type(self)(self.parts.config, self.parts.registry, self.parts.device)
        other.parts = self.parts.measured(use, **given)
        other._walker = self._walker and self._walker.of(other.parts)
        return other

    def trajectory(
        self,
        x: Tensor,
        severity: float | Tensor | None = 1.0,
        *,
        state: State | None = None,
        generator: Rng | None = None,
        **options: Unpack[Options],
    ) -> Iterator[Step]:
        """Walks from degraded images x (B, C, H, W) to restored ones; yields each station. See `Walker.trajectory`."""
        return self.walker.trajectory(x, severity, How(**options), state=state, generator=generator)

    def restore(
        self,
        images: Any,
        severity: float | Tensor | None = None,
        *,
        state: State | None = None,
        **options: Unpack[Options],
    ) -> Any:
        """Restores images that are degraded already: by the measurement, if there is one.

        A tensor (B, C, H, W) gives a tensor. A picture (a path, PIL image or numpy array) gives a `Picture` as `rethaw restore`
        would write it, with `save(path)`, a tensor (C, H, W) a tensor; a list gives a list. severity: one for all, one for
        each image (B,), or None for what the run estimates (1 where it has not learnt to).
        """
        how = How(**options)
        if isinstance(images, Tensor) and images.dim() == 4:
            return last(self.walker.restoration(images, severity, how, state=state)).x
        if not isinstance(images, (list, tuple)):
            return restore_any(self.walker, images, how, state, severity, 0)
        each = severity.tolist() if isinstance(severity, Tensor) else [severity] * len(images)
        return [
            restore_any(self.walker, image, how.of_image(i), state, each[i], i) for i, image in enumerate(images)
        ]

    def estimate(self, x: Tensor) -> Tensor:
        """The severity (B,) of degraded images (B, C, H, W), by the run's own estimate; 1 where it learnt none."""
        return self.walker.estimate(x)

    def degrade(
        self, x0: Tensor, severity: float = 1.0, seed: int | None = None, first: int = 0
    ) -> tuple[Tensor, State]:
        """Degrades clean images (B, C, H, W) as they are observed, or measured if there is a measurement; x_t and ξ."""
        return self.parts.degrade(x0, severity, self.parts.config.seed if seed is None else seed, first)

    def known(self, state: State) -> State | None:
        """The state that `degrade` drew, as `restore` should get it: None where samplers are to infer it."""
        return self.parts.known(state)

    def start(self, n: int, size: tuple[int, int] | None = None, seed: int | None = None) -> tuple[Tensor, State]:
        """Draws n samples of x_1, with their states, to generate from."""
        return self.walker.start(n, size, self.walker.seed(How(seed=seed)))

    def generate(self, n: int, *, size: tuple[int, int] | None = None, **options: Unpack[Options]) -> Tensor:
        """Generates n images (n, C, H, W), from samples of x_1."""
        return last(editing.generation(self.walker, n, How(**options), size)).x

    def encode(
        self, x0: Tensor, severity: float = 1.0, *, steps: int | None = None, cond: Values | None = None
    ) -> Tensor:
        """The x_t that DDIM would walk from to images x0 (B, C, H, W); see `editing.encode`."""
        return editing.encode(self.walker, x0, severity, How(steps=steps, cond=cond or {}))

    def edit(self, images: Any, strength: float = 0.6, **options: Unpack[Options]) -> Tensor:
        """New images after references of one size (SDEdit, 2108.01073); see `editing.variation`."""
        x0 = images if isinstance(images, Tensor) else torch.stack([self.tensor(image) for image in images])
        return last(editing.variation(self.walker, x0, strength, How(**options))).x

    def interpolate(
        self,
        first: ImageLike,
        second: ImageLike,
        count: int = 8,
        strength: float = 0.6,
        *,
        own: bool = False,
        **options: Unpack[Options],
    ) -> Tensor:
        """`count` images from one picture to another; see `editing.interpolate`. cond: a value by field, the same for all."""
        how = How(**{**options, "cond": {k: [v] * count for k, v in (options.get("cond") or {}).items()}})
        return editing.interpolate(self.walker, (self.tensor(first), self.tensor(second)), count, strength, how, own)

    def log_likelihood(
        self, images: Tensor, *, cond: Values | None = None, generator: Rng | None = None, **options: Any
    ) -> Likelihood:
        """log p of clean images (B, C, H, W) in nats and in bits a dimension; see `editing.log_likelihood`."""
        return editing.log_likelihood(self.walker, images, How(cond=cond or {}), generator, **options)

    def tensor(self, image: ImageLike) -> Tensor:
        """One image of any kind as a tensor (C, H, W) in [-1, 1]."""
        return to_picture(image, self.parts.config.restorer.channels).pixels


def restore_any(
    walker: Walker, image: ImageLike, how: How, state: State | None, severity: float | None, index: int
) -> Picture | Tensor:
    """One image of any kind, restored: a tensor to a tensor, everything else to a picture."""
    picture = to_picture(image, walker.parts.config.restorer.channels)
    restored = restore_picture(walker, picture, Job(severity, how), index, state).picture
    return restored.pixels if isinstance(image, Tensor) else restored
