"""Degradations D = α x0 + σ z, all that follows from their coefficients, and the α² of variance-preserving ones."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from rethaw.api import SVD, Rng, State
from rethaw.ops.coefficients import reciprocal
from rethaw.ops.linear import Constant, diagonal_svd
from rethaw.ops.severities import per_image

__all__ = ["AlphaBar", "Blending", "exploding_sigma"]

COSINE_OFFSET = 0.008  # s of 2102.09672, eq. 17
BETA_FIRST, BETA_LAST = 1e-4, 0.02  # at 1000 levels: DDPM, section 4
BETA_MAX = 0.999  # 2102.09672, section 3.2
SIGMOID_END = 3.0


class Blending:
    """D(x0, u, z) = α(u) x0 + σ(u) z, state {"z": (B, C, H, W)}: a base for classes with `draw` and `coefficients`."""

    def draw(self, like: Tensor, generator: Rng) -> State:
        raise NotImplementedError

    def coefficients(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """α and σ at strengths u, each (B,)."""
        raise NotImplementedError

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        α, σ = self.coefficients(u)
        return torch.addcmul(x0 * per_image(α, x0), state["z"], per_image(σ, x0))

    def infer(self, x_u: Tensor, x0_hat: Tensor, u: Tensor, state: State) -> State:
        """z = (x_u - α x0) / σ; where σ = 0 the image says nothing about z, and z is 0."""
        α, σ = self.coefficients(u)
        return {"z": (x_u - per_image(α, x_u) * x0_hat) * per_image(reciprocal(σ), x_u)}

    def prior(self, like: Tensor, generator: Rng) -> tuple[Tensor, State]:
        state = self.draw(like, generator)
        one = torch.ones(like.shape[0], device=like.device, dtype=like.dtype)
        return self.degrade(torch.zeros_like(like), one, state), state

    def adjoint(self, y: Tensor, u: Tensor, state: State) -> Tensor:
        return y * per_image(self.coefficients(u)[0], y)

    def svd(self, like: Tensor, u: Tensor, state: State) -> SVD:
        return diagonal_svd(per_image(self.coefficients(u)[0], like))


class AlphaBar:
    """u (B,) → ᾱ (B,), 1 where u = 0: a continuous curve, or with `levels` the published table of that length.

    curve: cosine (2102.09672, eq. 17), linear (DDPM's β) or sigmoid (2212.11972, algorithm 1, from -3 to 3); or the
    values of ᾱ at each level.
    """

    def __init__(self, curve: str | Sequence[float], levels: int | None = None) -> None:
        if isinstance(curve, str):
            self.curve, table = CURVES[curve], published_table(curve, levels) if levels else None
        else:
            table = torch.tensor([1.0, *curve], dtype=torch.float64)
        self.table = None if table is None else Constant(table)

    def __call__(self, u: Tensor) -> Tensor:
        if self.table:
            return self.table.like(u)[(u * (len(self.table.values) - 1)).round().long()]
        return torch.where(u == 0, 1.0, self.curve(u))


def exploding_sigma(u: Tensor, low: float, high: float) -> Tensor:
    """σ(u) of variance-exploding noise, √(σ²(u) - σ²(0)) of a geometric series from low on (2011.13456, eq. 29)."""
    return low * torch.expm1(2 * math.log(high / low) * u).sqrt()


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


CURVES = {"cosine": cosine, "linear": linear, "sigmoid": sigmoid}


def published_table(curve: str, levels: int) -> Tensor:
    """ᾱ at u = 0 and at each of the published levels, (levels + 1,) in float64."""
    if curve == "linear":
        β = torch.linspace(BETA_FIRST, BETA_LAST, levels, dtype=torch.float64)
    else:
        f = CURVES[curve](torch.arange(levels + 1, dtype=torch.float64) / levels)
        β = (1 - f[1:] / f[:-1]).clamp_max(BETA_MAX)
    return torch.cat([torch.ones(1, dtype=torch.float64), torch.cumprod(1 - β, 0)])
