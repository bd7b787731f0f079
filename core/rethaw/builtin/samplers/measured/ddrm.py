"""Denoising Diffusion Restoration Models (Kawar et al. 2022, arXiv 2201.11793)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rethaw.api import Observation, Rng, has_svd
from rethaw.builtin.samplers.measured.measured import MeasuredSampler, Move, Noise
from rethaw.builtin.samplers.measured.params import DDRM as Params
from rethaw.ops import gains, linear_part, noise_of, randn


class DDRM(MeasuredSampler[Params]):
    """Eq. 7 and 8 of 2201.11793.

    With A = U diag(s) Vᵀ, each component of Vᵀx is a one-pixel measurement (Uᵀy)_i = s_i x̄_i + σ_y n_i: where it is
    less noisy than x_s may be, η_b weighs it; where it is noisier, it only steers; where s_i = 0 the walk is DDIM's.
    Bias: it is exact for neither mean nor covariance of the posterior (docs/measurements.md measures how much).
    """

    needs = ("svd",)

    def move(self, observation: Observation, x: Tensor) -> Move:
        y, measured, t_y, ξ, σ_y = observation
        assert has_svd(measured)
        svd = measured.svd(x, t_y, ξ)
        ȳ = svd.Ut(y - linear_part(measured, x, t_y, ξ)[1])

        def step(x: Tensor, x0_hat: Tensor, here: Noise, there: Noise, generator: Rng) -> Tensor:
            x0, z, ε = svd.Vt(x0_hat), svd.Vt(noise_of(x, x0_hat, *here)), svd.Vt(randn(x, generator))
            found: Tensor = svd.V(self.update(*there, x0, z, ε, ȳ - svd.s * x0, svd.s, σ_y))
            return found

        return step

    def update(
        self, α: Tensor, σ: Tensor, x0: Tensor, z: Tensor, ε: Tensor, apart: Tensor, s_i: Tensor, σ_y: float
    ) -> Tensor:
        """Vᵀx_s, of Vᵀ times x̂0, z and fresh noise ε, and of apart = Uᵀ(y - A x̂0)."""
        η, η_b = self.params.eta, self.params.eta_b
        gain = gains(s_i)
        seen = gain > 0
        steer = torch.where(seen, apart / (σ_y or 1.0), z)
        noisy = α * x0 + σ * (math.sqrt(1 - η**2) * steer + η * ε)
        left = σ.square() - (η_b * α * σ_y * gain).square()
        clear = α * (x0 + η_b * gain * apart) + left.clamp_min(0).sqrt() * ε
        return torch.where(seen & (σ * s_i >= α * σ_y), clear, noisy)
