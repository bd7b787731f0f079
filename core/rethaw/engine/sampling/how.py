"""How to sample: what a user says in place of what the pipeline says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypedDict

from rethaw.config.model import Component, Guidance
from rethaw.engine.restorer.conditioners import Values


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
