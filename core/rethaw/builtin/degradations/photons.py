"""Photon noise: what a sensor counts in poor light."""

from __future__ import annotations

import torch
from torch import Tensor

from rethaw.api import Rng, State
from rethaw.builtin.degradations.params import PoissonNoise as Params
from rethaw.ops import per_image, poisson_quantile, randn

LEAST = 1e-8  # a photon this small leaves x0 as it is


class PoissonNoise:
    """D(x0, u, z) = N s with s = u²/photons, N the quantile Φ(z) of Poisson(x0 / s), on [0, 1]; state z ~ N(0, I).

    Mean x0 and variance s x0, so that the noise grows in proportion to u. Given z, D is a function of x0 and u.
    """

    def __init__(self, params: Params) -> None:
        self.photons = params.photons

    def draw(self, like: Tensor, generator: Rng) -> State:
        return {"z": randn(like, generator)}

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        wide = x0.to(torch.promote_types(x0.dtype, torch.float32))
        size = per_image(u, wide).square() / self.photons
        step = size.clamp_min(LEAST)
        counted = poisson_quantile(wide.clamp_min(0) / step, state["z"].to(wide.dtype)) * step
        return torch.where(size > LEAST, counted, wide).to(x0.dtype)
