"""Denoising diffusion for plug-and-play image restoration, DiffPIR (Zhu et al. 2023, arXiv 2305.08995)."""

from __future__ import annotations

import math

from torch import Tensor

from rethaw.api import Observation, Rng
from rethaw.builtin.samplers.measured.measured import MeasuredSampler, Move, Noise
from rethaw.builtin.samplers.measured.params import DiffPIR as Params
from rethaw.ops import least_squares, noise_of, randn

LEAST = 1e-6
"""Of σ_t: where there is no noise, y has nothing more to say."""


class DiffPIR(MeasuredSampler[Params]):
    """Algorithm 1 of 2305.08995.

    Its data step is x̂0 = argmin |y - A x|² + ρ_t |x - x0|², ρ_t = λ σ_y² / σ̄_t² and σ̄_t = σ_t / α_t; in closed form
    x0 + (AᵀA + ρ_t)⁻¹ Aᵀ (y - A x0). Bias: with λ = 1 it takes the restorer's error for white, of deviation σ̄_t; and
    what it finds is a mean, not a draw (docs/measurements.md measures how much).
    """

    needs = ("svd", "adjoint")

    def move(self, observation: Observation, x: Tensor) -> Move:
        y, measured, t_y, ξ, σ_y = observation
        solve = least_squares(measured, x, t_y, ξ, self.params.iterations)
        λ, ζ = self.params.scale, self.params.zeta

        def step(x: Tensor, x0: Tensor, here: Noise, there: Noise, generator: Rng) -> Tensor:
            (α_t, σ_t), (α_s, σ_s) = here, there
            ρ = λ * (σ_y * α_t / σ_t.clamp_min(LEAST)).square()
            x0 = x0 + solve(y - measured.degrade(x0, t_y, ξ), ρ)
            ε = noise_of(x, x0, α_t, σ_t)
            return α_s * x0 + σ_s * (math.sqrt(1 - ζ) * ε + math.sqrt(ζ) * randn(x, generator))

        return step
