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


SPECS: list[Spec] = [prior("mixture", GaussianMixture, target=f"{AT}.mixture:GaussianMixture",
              summary="A Gaussian mixture on small thumbnails of x_1.")]  # fmt: skip
