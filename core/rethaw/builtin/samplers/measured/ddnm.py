"""Denoising Diffusion Null-Space Models (Wang et al. 2023, arXiv 2212.00490)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from rethaw.api import Degradation, Observation, Rng, State, has_svd
from rethaw.builtin.samplers.measured.measured import MeasuredSampler, Move, Noise, unfit
from rethaw.builtin.samplers.measured.params import DDNM as Params
from rethaw.ops import gains, noise_of, pseudo_inverse, randn

Correction = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(x̂0, ε, α_s, the standard deviation due) to the x̂0 that agrees with the measurement, and the fresh noise."""


def floor(x: Tensor) -> float:
    """λ of pseudo-inverses: below √λ, singular values are lost in the rounding of y."""
    return float((4 * torch.finfo(x.dtype).eps) ** 2)


class DDNM(MeasuredSampler[Params]):
    """Eq. 13 of 2212.00490, in DDIM steps; eq. 17 to 19 where the measurement is noisy.

    x̂0 + A⁺(y - A x̂0) has what is measured in the range space of Aᵀ, and the restorer's guess in the null space. Noise
    of the measurement comes in with it: of each singular component no more is taken than the step's own noise may hide.
    """

    def check(
        self, degradation: Degradation, state: State | None, observation: Observation | None = None
    ) -> str | None:
        if observation is None or not observation.noise:
            return unfit(degradation, observation, "svd", "adjoint")
        if self.params.eta == 0:
            return "a noisy measurement is hidden in the fresh noise of each step, so eta must be above 0"
        return unfit(degradation, observation, "svd", because=", which a noisy one must have")

    def move(self, observation: Observation, x: Tensor) -> Move:
        η = self.params.eta
        corrected = (self.noisy if observation.noise else self.exact)(observation, x)

        def step(x: Tensor, x0_hat: Tensor, here: Noise, there: Noise, generator: Rng) -> Tensor:
            (α, σ), z = there, noise_of(x, x0_hat, *here)
            x0, fresh = corrected(x0_hat, randn(x, generator), α, η * σ)
            return α * x0 + math.sqrt(1 - η**2) * σ * z + fresh

        return step

    def exact(self, observation: Observation, x: Tensor) -> Correction:
        """x̂0 + A⁺(y - A x̂0), and all of the noise that is due."""
        y, measured, t_y, ξ, _ = observation
        inverse = pseudo_inverse(measured, x, t_y, ξ, floor(x), self.params.iterations)

        def correct(x0: Tensor, ε: Tensor, α: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
            return x0 + inverse(y - measured.degrade(x0, t_y, ξ)), std * ε

        return correct

    def noisy(self, observation: Observation, x: Tensor) -> Correction:
        """x̂0 + V Λ Σ⁺ Uᵀ(y - A x̂0) with Λ = min(1, std s_i / (α σ_y)), and so much less fresh noise."""
        y, measured, t_y, ξ, σ_y = observation
        assert has_svd(measured)
        svd = measured.svd(x, t_y, ξ)
        gain = gains(svd.s)

        def correct(x0: Tensor, ε: Tensor, α: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
            brought = α * σ_y * gain  # the standard deviation that the measurement's noise would have in x_s
            Λ = torch.where(brought > std, std / brought.clamp_min(1e-12), 1.0)
            apart = svd.Ut(y - measured.degrade(x0, t_y, ξ))
            left = (std.square() - (Λ * brought).square()).clamp_min(0).sqrt()
            return x0 + svd.V(Λ * gain * apart), svd.V(left * svd.Vt(ε))

        return correct
