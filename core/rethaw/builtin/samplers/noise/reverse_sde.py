"""Reverse-time SDEs (Song et al. 2020, arXiv 2011.13456) of any D = α x0 + σ z with Gaussian z."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rethaw.api import HasCoefficients
from rethaw.builtin.samplers.noise.coefficient_sampler import LinearStepSampler
from rethaw.builtin.samplers.noise.params import PredictorCorrector as CorrectorParams
from rethaw.builtin.samplers.noise.params import ReverseSDE as Params
from rethaw.ops import posterior, quotient, rates, reciprocal

BETA_MAX = 0.999  # of one step, where α → 0 (2102.09672, section 3.2)

Rows = tuple[Tensor, Tensor, Tensor]
"""a, b and c of a predictor's step x_s = a x_t + b x̂0 + c z: all predictors are of this form."""


def euler_maruyama(degradation: HasCoefficients, times: Tensor, α: Tensor, σ: Tensor) -> Rows:
    """x_s = x - (f x - g² s) Δ + g √Δ z with the score s = (α x̂0 - x) / σ², Δ = t - s (2011.13456, eq. 6)."""
    here = rates(degradation, times[:-1].to(α.dtype))
    f, g2 = here.drift().view_as(α[1:]), here.diffusion().view_as(α[1:])
    Δ = -times.to(α.dtype).diff(dim=0).view_as(f)
    Δ = Δ * (BETA_MAX * reciprocal(-2 * f * Δ)).clamp_max(1).where(f < 0, 1.0)
    pull = g2 * Δ * reciprocal(σ[:-1]).square()
    return 1 - f * Δ - pull, pull * α[:-1], (g2 * Δ).clamp_min(0).sqrt()


def reverse_diffusion(degradation: HasCoefficients, times: Tensor, α: Tensor, σ: Tensor) -> Rows:
    """x_s = x - f(x) + G² s + G z, with the f and G of the forward step x_t = r x_s + √β z (appendix E, eq. 46)."""
    *_, β = posterior(α[:-1], σ[:-1], α[1:], σ[1:])
    pull = β * reciprocal(σ[:-1]).square()
    return 2 - quotient(α[:-1], α[1:]) - pull, pull * α[:-1], β.sqrt()


def ancestral(degradation: HasCoefficients, times: Tensor, α: Tensor, σ: Tensor) -> Rows:
    """x_s ~ q(x_s | x_t, x̂0): the step of DDPM for any α and σ (appendix F, eq. 47 for α = 1)."""
    a, b, β̃, _ = posterior(α[:-1], σ[:-1], α[1:], σ[1:])
    return a, b, β̃.sqrt()


PREDICTORS: dict[str, Callable[[HasCoefficients, Tensor, Tensor, Tensor], Rows]] = {
    "euler_maruyama": euler_maruyama,
    "reverse_diffusion": reverse_diffusion,
    "ancestral": ancestral,
}


class ReverseSDE(LinearStepSampler[Params | CorrectorParams]):
    """The reverse-time SDE dx = (f x - g² ∇log p) dt + g dw (2011.13456, eq. 6), by a predictor; at the end, x̂0.

    It starts at x_1 and takes as many steps as there are severities; a step to σ = 0 only denoises (appendix G).
    """

    def __init__(self, params: Params | CorrectorParams) -> None:
        super().__init__(params)
        self.smooth = params.predictor == "euler_maruyama"

    def rows(self, degradation: HasCoefficients, times: Tensor, α: Tensor, σ: Tensor) -> Rows:
        a, b, c = PREDICTORS[self.params.predictor](degradation, times, α, σ)
        denoises = (σ[1:] == 0) & (σ[:-1] > 0)
        return torch.where(denoises, 0.0, a), torch.where(denoises, α[1:], b), torch.where(denoises, 0.0, c)
