"""Host keys: what every component of a kind takes beside its own parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, MinLen

UnitInterval = Annotated[float, Ge(0), Le(1)]
Knot = tuple[UnitInterval, UnitInterval]


@dataclass(frozen=True)
class DegradationHost:
    """Keys that every degradation takes beside its own.

    id: names the item for overrides and states; by default the last part of its component's name.
    span: [a, b], the part of t in which its strength u goes from 0 to 1 (full strength after b).
    schedule: the warp from t to u: linear, cosine, exponential, or knots [[t, u], …] from [0, 0] on.
    levels: u takes that many values, as published discrete degradations do; level i is t = (i+1)/levels.
    chance: how often an image meets it at all; the other images are left as they are, at every t.
    strengths: [low, high]: what u is multiplied by, drawn uniformly once for each image.
    """

    id: str | None = None
    span: Knot = (0.0, 1.0)
    schedule: Literal["linear", "cosine", "exponential"] | Annotated[tuple[Knot, ...], MinLen(2)] = "linear"
    levels: Annotated[int, Ge(1)] | None = None
    chance: Annotated[float, Gt(0), Le(1)] = 1.0
    strengths: Knot = (1.0, 1.0)

    def __post_init__(self) -> None:
        low, high = self.strengths
        if low > high or high == 0:
            raise ValueError(f"strengths is [low, high] with low <= high and high above 0, not {[low, high]}")
        if self.span[0] >= self.span[1]:
            raise ValueError(f"span is [a, b] with a < b, not {list(self.span)}")
        if not isinstance(self.schedule, str):
            ts, us = zip(*self.schedule, strict=True)
            if ts[0] != 0 or us[0] != 0 or ts[-1] != 1 or any(b <= a for a, b in pairwise(ts)):
                raise ValueError("the knots of a schedule go from [0, 0] to [1, u] with t increasing")
            if any(b < a for a, b in pairwise(us)):
                raise ValueError("the u of a schedule's knots must not fall")

    @property
    def varies(self) -> bool:
        """Whether each image has a strength of its own."""
        return self.chance < 1 or self.strengths != (1.0, 1.0)


@dataclass(frozen=True)
class ConditionerHost:
    """Keys that every conditioner takes beside its own.

    id: names the item for overrides; by default the last part of its component's name.
    drop: how often training replaces the condition by the null one, which guidance needs.
    of: degradations, in order, that make what it is given from the clean image in training; a user then gives it
        degraded already.
    """

    id: str | None = None
    drop: UnitInterval = 0.1
    of: tuple[Any, ...] = ()


@dataclass(frozen=True)
class GuideHost:
    """Keys that every guide takes beside its own.

    id: names the item for overrides; by default the last part of its component's name.
    scale: how strongly it is followed; 1 is what Bayes' rule says, 0 not at all.
    interval: [low, high], the severities at which it is followed.
    gradient: with respect to the estimate of the clean image alone, which works with every degradation, or through the
        network (Gaussian noise only; the backward pass takes about twice the time of a step).
    """

    id: str | None = None
    scale: Annotated[float, Ge(0)] = 1.0
    interval: Knot = (0.0, 1.0)
    gradient: Literal["estimate", "network"] = "estimate"

    def __post_init__(self) -> None:
        if self.interval[0] >= self.interval[1]:
            raise ValueError(f"interval is [low, high] with low < high, not {list(self.interval)}")


@dataclass(frozen=True)
class PlainHost:
    """Keys that every other component takes beside its own.

    id: names the item for overrides; by default the last part of its component's name.
    """

    id: str | None = None


@dataclass(frozen=True)
class Precision:
    """How exactly degraded images are known; training, `--degrade` and evaluation all degrade this way.

    bits: 8 or 16 where they come as files of that depth; null for floating-point values.
    noise: standard deviation of white noise on them, on the scale of images in [-1, 1].
    """

    bits: Literal[8, 16] | None = None
    noise: Annotated[float, Ge(0)] = 0.0

    @property
    def deviation(self) -> float:
        """Standard deviation of what separates an observation from D(x0): noise, and rounding to so many bits."""
        rounding = 2 / (2**self.bits - 1) / math.sqrt(12) if self.bits else 0.0
        return math.hypot(self.noise, rounding)


@dataclass(frozen=True)
class MeasurementHost(Precision, DegradationHost):
    """Keys that a measurement takes beside its degradation's own."""


HOSTS: dict[str, type] = {
    "degradation": DegradationHost,
    "conditioner": ConditionerHost,
    "guide": GuideHost,
    "measurement": MeasurementHost,
}
"""The host keys of a kind, or of one key of the pipeline; all others take PlainHost's."""


def host_of(key: str, kind: str) -> type:
    """The host keys of a component of that kind, which stands under that key of the pipeline."""
    return HOSTS.get(key) or HOSTS.get(kind, PlainHost)
