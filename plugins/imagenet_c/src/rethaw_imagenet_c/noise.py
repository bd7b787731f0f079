"""Noise: Gaussian, shot, impulse and speckle."""

from __future__ import annotations

import torch
from torch import Tensor

from rethaw.api import Rng, State
from rethaw.ops import poisson_quantile, rand, randn
from rethaw_imagenet_c.levels import Corruption, clip, constants, each_channel, table

GAUSSIAN = table([[0.0], [0.08], [0.12], [0.18], [0.26], [0.38]])  # σ
SHOT = table([[0.0], [1 / 60], [1 / 25], [1 / 12], [1 / 5], [1 / 3]])  # 1 / photons of a white pixel
IMPULSE = table([[0.0], [0.03], [0.06], [0.09], [0.17], [0.27]])  # share of the values hit
SPECKLE = table([[0.0], [0.15], [0.2], [0.35], [0.45], [0.6]])  # σ at white


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
    """Salt where the state w ~ U[0, 1) is below half the share of values hit, pepper where above one minus that."""

    def draw(self, like: Tensor, generator: Rng) -> State:
        return {"w": rand(like, generator)}

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        (share,) = constants(IMPULSE, self.level(u, x0))
        w = state["w"]
        hit = ((w - 0.5).abs_() > (1 - share) / 2).to(x0.dtype)
        return torch.lerp(x0, (w < 0.5).to(x0.dtype), hit)  # exact at both ends, and a `where` would branch at random


class ShotNoise(GaussianNoise):
    """D = clip(N / c), N the quantile Φ(z) of the Poisson distribution of mean c x0, state z ~ N(0, I)."""

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        (per_photon,) = constants(SHOT, self.level(u, x0))
        step = per_photon.clamp_min(1e-6)

        def shot(x: Tensor, z: Tensor) -> Tensor:
            photons = poisson_quantile(x.detach().clamp_min(0) / step, z.to(step.dtype))
            return torch.where(per_photon > 1e-6, clip(photons.mul_(step), x), x)

        return each_channel(shot, x0, state["z"])
