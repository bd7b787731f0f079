"""Reverse-time SDEs of any D = α x0 + σ z with Gaussian z, and predictor-corrector sampling (2011.13456)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from rethaw.api import Degradation, Observation, Restore, Rng, State, Step
from rethaw.builtin.samplers.params import PredictorCorrector as CorrectorParams
from rethaw.builtin.samplers.params import ReverseSDE as Params
from rethaw.builtin.samplers.restoration import last_step
from rethaw.builtin.samplers.spacing import Spaced
from rethaw.ops import needs_coefficients, posterior, randn, rates, reciprocal, schedule

BETA_MAX = 0.999  # of one step, where α → 0 (2102.09672, section 3.2)

Move = tuple[Tensor, Tensor, Tensor]
"""a, b and c of a predictor's step x_s = a x_t + b x̂0 + c z: all predictors are of this form."""


def euler_maruyama(degradation: Degradation, times: Tensor, α: Tensor, σ: Tensor) -> Move:
    """x_s = x - (f x - g² s) Δ + g √Δ z with the score s = (α x̂0 - x) / σ², Δ = t - s (2011.13456, eq. 6)."""
    here = rates(degradation, times[:-1].to(α.dtype))
    f, g2 = here.drift().view_as(α[1:]), here.diffusion().view_as(α[1:])
    Δ = -times.to(α.dtype).diff(dim=0).view_as(f)
    Δ = Δ * (BETA_MAX * reciprocal(-2 * f * Δ)).clamp_max(1).where(f < 0, 1.0)
    pull = g2 * Δ * reciprocal(σ[:-1]).square()
    return 1 - f * Δ - pull, pull * α[:-1], (g2 * Δ).clamp_min(0).sqrt()


def reverse_diffusion(degradation: Degradation, times: Tensor, α: Tensor, σ: Tensor) -> Move:
    """x_s = x - f(x) + G² s + G z, with the f and G of the forward step x_t = r x_s + √β z (appendix E, eq. 46)."""
    *_, β = posterior(α[:-1], σ[:-1], α[1:], σ[1:])
    pull = β * reciprocal(σ[:-1]).square()
    return 2 - α[:-1] * reciprocal(α[1:]) - pull, pull * α[:-1], β.sqrt()


def ancestral(degradation: Degradation, times: Tensor, α: Tensor, σ: Tensor) -> Move:
    """x_s ~ q(x_s | x_t, x̂0): the step of DDPM for any α and σ (appendix F, eq. 47 for α = 1)."""
    a, b, β̃, _ = posterior(α[:-1], σ[:-1], α[1:], σ[1:])
    return a, b, β̃.sqrt()


PREDICTORS: dict[str, Callable[[Degradation, Tensor, Tensor, Tensor], Move]] = {
    "euler_maruyama": euler_maruyama,
    "reverse_diffusion": reverse_diffusion,
    "ancestral": ancestral,
}


class ReverseSDE(Spaced):
    """The reverse-time SDE dx = (f x - g² ∇log p) dt + g dw (2011.13456, eq. 6), by a predictor; at the end, x̂0.

    It starts at x_1 and takes as many steps as there are severities; the last only denoises (appendix G).
    """

    params: Params | CorrectorParams

    def check(
        self, degradation: Degradation, state: State | None, observation: Observation | None = None
    ) -> str | None:
        return needs_coefficients(degradation, gaussian=True, smooth=self.params.predictor == "euler_maruyama")

    def moves(self, degradation: Degradation, times: Tensor, α: Tensor, σ: Tensor, dtype: Any) -> Iterator[Move]:
        """The predictor's coefficients for each step; those of a step to σ = 0 give x̂0."""
        found = PREDICTORS[self.params.predictor](degradation, times, α, σ)
        return zip(
            *(torch.where(σ[1:] > 0, c, end).to(dtype) for c, end in zip(found, (0.0, 1.0, 0.0), strict=True)),
            strict=True,
        )

    def trajectory(
        self,
        restore: Restore,
        x: Tensor,
        severities: Tensor,
        degradation: Degradation,
        state: State | None,
        generator: Rng,
        observation: Observation | None = None,
    ) -> Iterator[Step]:
        times, α, σ = schedule(degradation, severities, x)
        for t, (a, b, c) in zip(times, self.moves(degradation, times, α, σ, x.dtype), strict=False):
            x0_hat = restore(x, t).x0
            yield Step(t, x, x0_hat)
            x = torch.addcmul(torch.addcmul(a * x, b, x0_hat), c, randn(x, generator))
        yield last_step(x)


class PredictorCorrector(ReverseSDE):
    """Algorithms 2 to 5 of 2011.13456: each severity is reached by the predictor, then corrected by Langevin steps.

    The corrector's step is ε = 2 α_i (r ‖z‖/‖s‖)², α_i = (α_t/α_s)² of the next step down and r = `snr`, with each
    image's own norms.
    """

    params: CorrectorParams

    def trajectory(
        self,
        restore: Restore,
        x: Tensor,
        severities: Tensor,
        degradation: Degradation,
        state: State | None,
        generator: Rng,
        observation: Observation | None = None,
    ) -> Iterator[Step]:
        times, α, σ = schedule(degradation, severities, x)
        scores = zip(*(c.to(x.dtype) for c in (α, reciprocal(σ).square())), strict=True)
        factors = 2 * ((α[:-1] * reciprocal(α[1:])).square() * self.params.snr**2).to(x.dtype)
        moves = self.moves(degradation, times, α, σ, x.dtype)
        for i, (t, (α_t, per_σ2), factor, (a, b, c)) in enumerate(zip(times, scores, factors, moves, strict=False)):
            for _ in range(self.params.corrections if i else 0):
                x = self.corrected(x, restore(x, t).x0, α_t, per_σ2, factor, randn(x, generator))
            x0_hat = restore(x, t).x0
            yield Step(t, x, x0_hat)
            x = torch.addcmul(torch.addcmul(a * x, b, x0_hat), c, randn(x, generator))
        yield last_step(x)

    @staticmethod
    def corrected(x: Tensor, x0_hat: Tensor, α: Tensor, per_σ2: Tensor, factor: Tensor, z: Tensor) -> Tensor:
        """x + ε s + √(2ε) z (Algorithms 4 and 5)."""
        s = (α * x0_hat - x) * per_σ2
        axes = tuple(range(1, x.dim()))
        ε = factor * (z.square().sum(axes, keepdim=True) * reciprocal(s.square().sum(axes, keepdim=True)))
        return torch.addcmul(torch.addcmul(x, ε, s), (2 * ε).sqrt(), z)
