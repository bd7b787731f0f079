"""Gaussian noise: the degradation that makes cold diffusion hot."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rethaw.api import SVD, Rng, State
from rethaw.builtin.degradations.params import Blend
from rethaw.builtin.degradations.params import GaussianNoise as Params
from rethaw.ops import Constant, diagonal_svd, per_image, randn

COSINE_OFFSET = 0.008  # s of 2102.09672, eq. 17
BETA_FIRST, BETA_LAST = 1e-4, 0.02  # at 1000 levels: DDPM, section 4
BETA_MAX = 0.999  # 2102.09672, section 3.2
SIGMOID_END = 3.0


class GaussianNoise:
    """D(x0, u, z) = α(u) x0 + σ(u) z with z ~ N(0, I), state {"z": (B, C, H, W)}; vp: α = √ᾱ, σ = √(1-ᾱ) (DDPM, eq. 4)."""

    gaussian = True

    def __init__(self, params: Params | Blend) -> None:
        self.params = params
        discrete = params.levels is not None and params.process == "vp"
        self.table = Constant(published_table(params.alpha_bar, params.levels or 1)) if discrete else None

    def draw(self, like: Tensor, generator: Rng) -> State:
        return {"z": randn(like, generator)}

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        α, σ = self.coefficients(u)
        return torch.addcmul(x0 * per_image(α, x0), state["z"], per_image(σ, x0))

    def infer(self, x_u: Tensor, x0_hat: Tensor, u: Tensor, state: State) -> State:
        """z = (x_u - α x0) / σ; where σ = 0 nothing can be told, and z is 0."""
        α, σ = self.coefficients(u)
        scale = torch.where(σ > 0, 1 / σ.clamp_min(1e-12), 0.0)
        return {"z": (x_u - per_image(α, x_u) * x0_hat) * per_image(scale, x_u)}

    def prior(self, like: Tensor, generator: Rng) -> tuple[Tensor, State]:
        state = self.draw(like, generator)
        one = torch.ones(like.shape[0], device=like.device, dtype=like.dtype)
        return self.degrade(torch.zeros_like(like), one, state), state

    def adjoint(self, y: Tensor, u: Tensor, state: State) -> Tensor:
        return y * per_image(self.coefficients(u)[0], y)

    def svd(self, like: Tensor, u: Tensor, state: State) -> SVD:
        return diagonal_svd(per_image(self.coefficients(u)[0], like))

    def coefficients(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """α and σ, each (B,); exactly 1 and 0 where u = 0, so that D(x0, 0) = x0."""
        if self.params.process == "flow":
            return 1 - u, u
        if self.params.process == "ve":
            low, growth = self.params.sigma_min, 2 * math.log(self.params.sigma_max / self.params.sigma_min)
            return torch.ones_like(u), low * torch.expm1(growth * u).sqrt()  # σ²(u) - σ²(0), 2011.13456 eq. 29
        ᾱ = torch.where(u == 0, 1.0, self.alpha_bar(u))
        σ2 = (1 - ᾱ).clamp_min(0)
        return ᾱ.sqrt(), σ2 if self.params.process == "sub_vp" else σ2.sqrt()  # sub-VP: 2011.13456, eq. 29

    def alpha_bar(self, u: Tensor) -> Tensor:
        """ᾱ = α² of the variance-preserving process."""
        if self.table:
            return self.table.like(u)[(u * len(self.table.values[1:])).round().long()]
        return ALPHA_BAR[self.params.alpha_bar](u)


def cosine(u: Tensor) -> Tensor:
    """2102.09672, eq. 17."""
    s = COSINE_OFFSET
    return (torch.cos((u + s) / (1 + s) * (math.pi / 2)) / math.cos(s / (1 + s) * math.pi / 2)).square()


def linear(u: Tensor) -> Tensor:
    """DDPM's linear β, in continuous time: exp(-∫β)."""
    first, last = BETA_FIRST * 1000, BETA_LAST * 1000
    return torch.exp(-(first * u + (last - first) * u.square() / 2))


def sigmoid(u: Tensor) -> Tensor:
    """2212.11972, algorithm 1, from -3 to 3 at temperature 1."""
    end = SIGMOID_END
    top, bottom = 1 / (1 + math.exp(-end)), 1 / (1 + math.exp(end))
    return ((top - torch.sigmoid(2 * end * u - end)) / (top - bottom)).clamp(0, 1)


ALPHA_BAR = {"cosine": cosine, "linear": linear, "sigmoid": sigmoid}


def published_table(alpha_bar: str, levels: int) -> Tensor:
    """ᾱ at t = 0 and at each of the published levels, (levels + 1,) in float64."""
    if alpha_bar == "linear":
        β = torch.linspace(BETA_FIRST, BETA_LAST, levels, dtype=torch.float64)
    else:
        f = ALPHA_BAR[alpha_bar](torch.arange(levels + 1, dtype=torch.float64) / levels)
        β = (1 - f[1:] / f[:-1]).clamp_max(BETA_MAX)
    return torch.cat([torch.ones(1, dtype=torch.float64), torch.cumprod(1 - β, 0)])
