"""Gaussian noise: the degradation that makes cold diffusion hot."""

from __future__ import annotations

import torch
from torch import Tensor

from rethaw.api import Rng, State
from rethaw.builtin.degradations.params import Blend
from rethaw.builtin.degradations.params import GaussianNoise as Params
from rethaw.builtin.degradations.photo_params import AdditiveNoise as AdditiveParams
from rethaw.ops import AlphaBar, Blending, exploding_sigma, per_image, rand, randn


class GaussianNoise(Blending):
    """D(x0, u, z) = α(u) x0 + σ(u) z with z ~ N(0, I); vp: α = √ᾱ, σ = √(1-ᾱ) (DDPM, eq. 4)."""

    gaussian = True

    def __init__(self, params: Params | Blend) -> None:
        self.params = params
        self.alpha_bar = AlphaBar(params.alpha_bar, params.levels if params.process == "vp" else None)

    def draw(self, like: Tensor, generator: Rng) -> State:
        return {"z": randn(like, generator)}

    def coefficients(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """α and σ, each (B,); exactly 1 and 0 where u = 0, so that D(x0, 0) = x0."""
        if self.params.process == "flow":
            return 1 - u, u
        if self.params.process == "ve":
            return torch.ones_like(u), exploding_sigma(u, self.params.sigma_min, self.params.sigma_max)
        ᾱ = self.alpha_bar(u)
        σ2 = (1 - ᾱ).clamp_min(0)
        return ᾱ.sqrt(), σ2 if self.params.process == "sub_vp" else σ2.sqrt()  # sub-VP: 2011.13456, eq. 29


class AdditiveNoise(Blending):
    """D(x0, u, z) = x0 + u·sigma·z with z ~ N(0, I), or one z for all channels."""

    def __init__(self, params: AdditiveParams) -> None:
        self.params = params
        self.gaussian = params.grey == 0

    def draw(self, like: Tensor, generator: Rng) -> State:
        z = randn(like, generator)
        if self.params.grey == 0:
            return {"z": z}
        grey = rand(like, generator, ()) < self.params.grey
        return {"z": torch.where(per_image(grey, like) > 0, z[:, :1], z)}

    def coefficients(self, u: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones_like(u), u * self.params.sigma
