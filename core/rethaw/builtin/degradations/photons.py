"""Photon noise: what a sensor counts in poor light."""

from __future__ import annotations

import torch
from torch import Tensor

from rethaw.api import Rng, State
from rethaw.builtin.degradations.params import PoissonNoise as Params
from rethaw.ops import LUMA, Constant, only, per_image, poisson_quantile, rand, randn

LEAST = 1e-8  # a photon this small leaves x0 as it is


class PoissonNoise:
    """D(x0, u, z) = N s with s = u²/photons, N the quantile Φ(z) of Poisson(x0 / s), on [0, 1]; state z ~ N(0, I).

    Mean x0 and variance s x0, so that the noise grows in proportion to u. Given z, D is a function of x0 and u.
    Where the state "grey" (B,) is set, D = x0 + N s - l, with N of the luma l.
    """

    def __init__(self, params: Params) -> None:
        self.photons, self.grey = params.photons, params.grey

    def draw(self, like: Tensor, generator: Rng) -> State:
        z = {"z": randn(like, generator)}
        return {**z, "grey": rand(like, generator, ()) < self.grey} if self.grey else z

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        wide = x0.to(torch.promote_types(x0.dtype, torch.float32))
        if not self.grey:
            return self.coloured(wide, u, state).to(x0.dtype)
        x = only(~state["grey"], self.coloured, wide, u, state)
        return only(state["grey"], self.alike, x, u, state).to(x0.dtype)

    def coloured(self, x: Tensor, u: Tensor, state: State) -> Tensor:
        """Noise of its own in each channel."""
        size = per_image(u, x).square() / self.photons
        step = size.clamp_min(LEAST)
        counted = poisson_quantile(x.clamp_min(0) / step, state["z"][:, : x.shape[1]].to(x.dtype)) * step
        return torch.where(size > LEAST, counted, x)

    def alike(self, x: Tensor, u: Tensor, state: State) -> Tensor:
        """The noise of the luma, in every channel."""
        weights = LUMA_WEIGHTS.like(x).view(1, -1, 1, 1)
        luma = (x * weights).sum(1, keepdim=True) if x.shape[1] == len(LUMA) else x.mean(1, keepdim=True)
        return x + (self.coloured(luma, u, state) - luma)


LUMA_WEIGHTS = Constant(LUMA)
