"""How to sample: what a user says in place of what the pipeline says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypedDict

import torch

from rethaw import __version__
from rethaw.api import RethawError
from rethaw.config.components import parse_component
from rethaw.config.dump import component_tree, plain
from rethaw.config.model import Component, Guidance
from rethaw.engine.parts import Parts
from rethaw.engine.restorer.conditioners import Values
from rethaw.engine.restorer.guidance import pipeline_guidance
from rethaw.engine.run import plugins_used


class Options(TypedDict, total=False):
    """The fields of `How`, as keyword arguments."""

    sampler: str | Component | None
    steps: int | None
    cond: Values | None
    guidance: Guidance | float | None
    seed: int | None


@dataclass(frozen=True)
class How:
    """How to sample; what is None is as the pipeline says.

    sampler: by name, or a whole component. steps: of the sampler. cond: values by field, one an image. guidance: all
    of it, or only its scale. seed: of everything random; image i depends on (seed, i) alone.
    """

    sampler: str | Component | None = None
    steps: int | None = None
    cond: Values | None = field(default=None)
    guidance: Guidance | float | None = None
    seed: int | None = None

    @property
    def values(self) -> Values:
        """The conditions; {} if there are none."""
        return self.cond or {}

    def with_values(self, values: Mapping[str, Any]) -> How:
        """The same with other conditions."""
        return replace(self, cond=values)

    def of_images(self, first: int, count: int) -> How:
        """The same for some images of the batch."""
        return self.with_values({key: each[first : first + count] for key, each in self.values.items()})

    def repeated(self, count: int) -> How:
        """The same for so many images, where the conditions are one value a field."""
        return self.with_values({key: [value] * count for key, value in self.values.items()})


AS_PIPELINE = How()


def with_drawn_state(how: How, parts: Parts) -> How:
    """The same, with a state that the sampler draws for the walk. Raises RethawError where it needs none."""
    item = parts.sampler_item(how.sampler, how.steps)
    if not hasattr(item.params, "state"):
        raise RethawError(f"{item.use} asks for no state", "Leave out --state drawn, or use core.cold or core.naive.")
    params = {**vars(item.params), "state": "drawn"}
    return replace(how, sampler=parse_component(item.use, "sampler", parts.registry, params))


def described(parts: Parts, how: How) -> dict[str, Any]:
    """All that made a result, for a report: sampler with its parameters, seed, conditions, and what the run says."""
    config = parts.config
    guidance = pipeline_guidance(config, how.guidance)
    return {
        "sampler": component_tree(parts.sampler_item(how.sampler, how.steps)),
        "seed": config.seed if how.seed is None else how.seed,
        "conditions": {key: list(map(str, values)) for key, values in how.values.items()},
        "guidance": plain(guidance),
        "guide": [component_tree(item) for item in config.guide],
        "measurement": component_tree(config.measurement) if config.measurement else None,
        "consistency": plain(config.consistency),
        "observation": plain(config.observation),
        "rethaw": __version__,
        "torch": torch.__version__,
        "plugins": plugins_used(config, parts.registry),
    }
