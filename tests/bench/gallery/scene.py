"""What pictures and figures of an exhibit are made from: its pipeline, real images, and what became of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

import rethaw
from rethaw.api import State, Step
from rethaw.config.components import parse_component
from rethaw.engine.sampling.editing import generation
from rethaw.engine.sampling.how import How
from rethaw.engine.sampling.walking import last
from tests.bench.gallery.exhibits import Exhibit
from tests.bench.gallery.judges import Judges

SEED, BATCH = 7, 256


@dataclass
class Scene:
    """An exhibit with its trained pipeline; held_out and train: real images (N, C, H, W) each, labels: of the former.

    count: of the images that are made. wanted: what they should be, where a label or caption asks for it.
    """

    exhibit: Exhibit
    pipeline: rethaw.Pipeline
    held_out: Tensor
    labels: list[str]
    train: Tensor
    judges: Judges | None
    count: int
    wanted: list[str] = field(default_factory=list)

    def how(self, label: str, first: int = 0, count: int = 0) -> How:
        """The contestant of that label, on some images."""
        tree: dict[str, Any] = dict(self.exhibit.contestants[label])
        guidance, use = tree.pop("guidance", None), tree.pop("use")
        cond = self.conditions(self.wanted[first : first + count]) if self.wanted else None
        sampler = parse_component(use, "sampler", self.pipeline.parts.registry, tree)
        return How(sampler, cond=cond, guidance=guidance, seed=SEED)

    def conditions(self, labels: list[str]) -> Mapping[str, list[str]]:
        """What the conditioner is given for images of these labels."""
        given = self.exhibit.condition
        return {given["field"]: [given["template"].replace("{label}", label) for label in labels]}

    @cached_property
    def degraded(self) -> tuple[Tensor, State]:
        """The held-out images, degraded, and their states."""
        return self.pipeline.degrade(self.held_out, seed=SEED)

    @cached_property
    def starts(self) -> Tensor:
        """What walks start from: the held-out images degraded, or samples of x_1."""
        if self.exhibit.kind == "restoration":
            return self.degraded[0]
        return torch.cat([self.pipeline.walker.start(n, None, SEED, first)[0] for first, n in self.batches()])

    def batches(self) -> Iterator[tuple[int, int]]:
        """First and number of the images of each batch."""
        yield from ((first, min(BATCH, self.count - first)) for first in range(0, self.count, BATCH))

    def walk(self, label: str, first: int, count: int) -> Iterator[Step]:
        """A contestant's stations for some of the images."""
        walker, how = self.pipeline.walker, self.how(label, first, count)
        if self.exhibit.kind == "generation":
            return generation(walker, count, how, None, first)
        x, state = self.degraded
        known = walker.parts.known({key: value[first : first + count] for key, value in state.items()})
        rng = walker.draws(how, count, first)
        return walker.restoration(x[first : first + count], 1.0, how, state=known, generator=rng)

    @cached_property
    def made(self) -> dict[str, Tensor]:
        """What each contestant makes, as many images as are held out."""
        return {
            label: torch.cat([last(self.walk(label, first, n)).x for first, n in self.batches()])
            for label in self.exhibit.contestants
        }
