"""A rethaw plugin with a sampler, a metric and a guide."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Le

from rethaw.api import guide, hookimpl, metric, sampler


@dataclass(frozen=True)
class Damped:
    """Naive sampling that moves only a part of the way in each step.

    steps: of the walk from the severity of the input to 0.
    damping: the part of x_t that stays.
    """

    steps: int = 10
    damping: Annotated[float, Ge(0), Le(1)] = 0.2


@dataclass(frozen=True)
class Worst:
    """The largest error of any pixel, pixels in [0, 1]."""


@dataclass(frozen=True)
class Colour:
    """The mean colour of the result.

    colour: red, green and blue, in [-1, 1].
    """

    colour: tuple[float, float, float] = (0.6, 0.2, -0.4)


@hookimpl
def rethaw_samplers():
    return [sampler("damped", Damped, target="rethaw_extra_ops:DampedSampler", summary="Naive sampling, damped.")]


@hookimpl
def rethaw_metrics():
    return [metric("worst", Worst, target="rethaw_extra_ops:WorstPixel", summary="The largest error of any pixel.")]


@hookimpl
def rethaw_guides():
    return [guide("colour", Colour, target="rethaw_extra_guide:ColourGuide", summary="Towards a mean colour.")]
