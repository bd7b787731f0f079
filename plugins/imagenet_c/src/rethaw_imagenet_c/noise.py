"""Noise: Gaussian, shot, impulse and speckle."""

from __future__ import annotations

import torch
from torch import Tensor

from rethaw.api import Rng, State
from rethaw.ops import rand, randn
from rethaw_imagenet_c.levels import Corruption, clip, constants, table

GAUSSIAN = table([[0.0], [0.08], [0.12], [0.18], [0.26], [0.38]])  # σ
SHOT = table([[0.0], [1 / 60], [1 / 25], [1 / 12], [1 / 5], [1 / 3]])  # 1 / photons of a white pixel
IMPULSE = table([[0.0], [0.03], [0.06], [0.09], [0.17], [0.27]])  # share of the values hit
SPECKLE = table([[0.0], [0.15], [0.2], [0.35], [0.45], [0.6]])  # σ at white
FEW, TAPS = 10.0, 32  # up to FEW photons the quantile is summed over TAPS counts; P(N > TAPS) < 1e-8 there


class GaussianNoise(Corruption):
    """D = clip(x0 + σ z), state z ~ N(0, I)."""

    def draw(self, like: Tensor, generator: Rng) -> State:
        return {"z": randn(like, generator)}

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        (σ,) = constants(GAUSSIAN, self.level(u, x0))
        return clip(torch.addcmul(x0, state["z"], σ.to(x0.dtype)), x0)


class SpeckleNoise(GaussianNoise):
    """D = clip(x0 + σ z x0), state z ~ N(0, I)."""

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        (σ,) = constants(SPECKLE, self.level(u, x0))
        return clip(torch.addcmul(x0, state["z"] * x0, σ.to(x0.dtype)), x0)


class ImpulseNoise(Corruption):
    """Salt where the state w ~ U[0, 1) is below half the share of values hit, pepper where it is above one minus that."""

    def draw(self, like: Tensor, generator: Rng) -> State:
        return {"w": rand(like, generator)}

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        (share,) = constants(IMPULSE, self.level(u, x0))
        w = state["w"]
        salted = torch.where(w < share / 2, 1.0, x0)
        return torch.where(w > 1 - share / 2, 0.0, salted).to(x0.dtype)


class ShotNoise(GaussianNoise):
    """D = clip(N / c), N the quantile Φ(z) of the Poisson distribution of mean c x0, state z ~ N(0, I)."""

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        (per_photon,) = constants(SHOT, self.level(u, x0))
        step = per_photon.clamp_min(1e-6)
        photons = poisson_quantile(x0.clamp_min(0) / step, state["z"].to(step.dtype))
        return torch.where(per_photon > 1e-6, clip(photons * step, x0), x0)


def poisson_quantile(λ: Tensor, z: Tensor) -> Tensor:
    """The quantile Φ(z) of the Poisson distribution of mean λ, as whole numbers."""
    return torch.where(λ < FEW, _quantile_by_sum(λ.clamp_max(FEW), z), _quantile_by_expansion(λ.clamp_min(FEW), z))


def _quantile_by_sum(λ: Tensor, z: Tensor) -> Tensor:
    """Counts how many k have P(N ≤ k) < Φ(z); from above for z > 0, where 1 - Φ(z) keeps its digits."""
    upper = z > 0
    tail = torch.special.ndtr(-z.abs())  # the smaller of Φ(z) and 1 - Φ(z)
    mass = torch.exp(-λ)
    cumulative, count = mass, torch.zeros_like(λ)
    for k in range(1, TAPS + 1):
        reached = torch.where(upper, 1 - cumulative > tail, cumulative < tail)
        count = count + reached.to(λ.dtype)
        mass = mass * (λ / k)
        cumulative = cumulative + mass
    return count


def _quantile_by_expansion(λ: Tensor, z: Tensor) -> Tensor:
    """Giles 2016 (Algorithm 955), the normal expansion of the quantile to order 1/λ, rounded down."""
    root, z2 = λ.sqrt(), z.square()
    near = λ + root * z + (2 + z2) / 6
    far = -z * (2 + z2) / 72 / root + (-8 / 405 + z2 * (7 / 810 + z2 / 270)) / λ
    return (near + far).floor().clamp_min(0)
