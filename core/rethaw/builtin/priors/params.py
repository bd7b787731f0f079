"""The parameters and specs of the built-in priors; neither needs torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Le

from rethaw.api import Spec, prior

AT = "rethaw.builtin.priors"


@dataclass(frozen=True)
class GaussianMixture:
    """A Gaussian mixture on small thumbnails of x_1, made as large as the image again, with a little noise.

    components: of the mixture.
    size: side of the thumbnails; 1 is one mean colour, as the paper takes for blur.
    noise: standard deviation of white noise on x_1, which breaks its symmetry.
    """

    components: Annotated[int, Ge(1)] = 1
    size: Annotated[int, Ge(1), Le(16)] = 1
    noise: Annotated[float, Ge(0)] = 0.002


@dataclass(frozen=True)
class Gaussian:
    """Independent Gaussian values around the mean x_1, with the mean and spread that each place and channel has.

    size: side of the maps of mean and spread, which are made as large as the image; 1 is one of each a channel.
    """

    size: Annotated[int, Ge(1), Le(64)] = 1


@dataclass(frozen=True)
class FlatColour:
    """Images of one flat colour: a given one, or the mean colour of a training image's x_1, drawn at random.

    colour: of each channel in [-1, 1]; without it, colours come from the training images.
    count: how many colours are kept in the run.
    noise: standard deviation of white noise on x_1, which breaks its symmetry.
    """

    colour: tuple[Annotated[float, Ge(-1), Le(1)], ...] | None = None
    count: Annotated[int, Ge(1), Le(4096)] = 256
    noise: Annotated[float, Ge(0)] = 0.002


@dataclass(frozen=True)
class Images:
    """The degraded images of the dataset themselves: each x_1 is one of those kept in the run, drawn at random.

    count: how many are kept.
    size: longest side at which they are kept; larger ones are made smaller, and large again when they are drawn.
    noise: standard deviation of white noise on x_1.
    """

    count: Annotated[int, Ge(1), Le(256)] = 64
    size: Annotated[int, Ge(1), Le(256)] = 64
    noise: Annotated[float, Ge(0)] = 0.0


SPECS: list[Spec] = [
    prior(
        "mixture",
        GaussianMixture,
        target=f"{AT}.mixture:GaussianMixture",
        summary="A Gaussian mixture on small thumbnails of x_1.",
    ),
    prior("gaussian", Gaussian, target=f"{AT}.simple:Gaussian", summary="Independent Gaussian values."),
    prior("flat_colour", FlatColour, target=f"{AT}.simple:FlatColour", summary="Images of one flat colour."),
    prior("images", Images, target=f"{AT}.simple:Images", summary="The degraded images of the dataset."),
]
