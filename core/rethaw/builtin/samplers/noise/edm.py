"""The sampler of EDM (Karras et al. 2022, arXiv 2206.00364), for any D = α x0 + σ z."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from rethaw.api import HasCoefficients, Step
from rethaw.builtin.samplers.noise.coefficient_sampler import CoefficientSampler
from rethaw.builtin.samplers.noise.params import EDM as Params
from rethaw.builtin.samplers.noise.spacing import below, spaced
from rethaw.ops import Walk, last_step, randn, reciprocal, schedule, severity_at


class EDM(CoefficientSampler[Params]):
    """Algorithms 1 and 2 of 2206.00364, in the paper's noise level σ = σ_t/α_t and image x = x_t/α_t.

    Heun's method on dx/dσ = (x - D(x; σ)) / σ, with 2 calls of the restorer a step but 1 in the last; a step to σ = 0
    is Euler's. With churn, each step first adds noise to reach σ̂ = (1 + γ) σ. Noise levels are computed in float64.
    """

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        self.gaussian = params.churn > 0

    def severities(self, degradation: HasCoefficients, start: float = 1.0) -> Tensor:
        p = self.params
        t = spaced(degradation, p.spacing, p.steps, start, p.sigma_min, p.sigma_max, p.rho)
        return below(degradation, t, p.sigma_max) if p.spacing == "uniform" else t

    def steps(self, walk: Walk[HasCoefficients]) -> Iterator[Step]:
        restore, x, degradation, generator = walk.restore, walk.x, walk.degradation, walk.generator
        churn, last = self.params.churn > 0, len(walk.severities) - 2 if self.params.solver == "heun" else 0
        times, α, scale = schedule(walk.degradation, walk.severities, x)
        σ = scale * reciprocal(α)
        t_hat, α_hat, σ_hat = self.churned(degradation, times, α, σ) if churn else (times[:-1], α[:-1], σ[:-1])
        half = torch.where(σ[1:] > 0, 0.5, 0.0)  # of Heun's step is the slope at its end
        per_σ = (reciprocal(σ_hat), reciprocal(σ[1:]))
        rows = (c.to(x.dtype) for c in (α[:-1], self.added(σ, σ_hat), α_hat, σ[1:] - σ_hat, α[1:], half, *per_σ))
        x = x / α[0].to(x.dtype)
        for i, (t, α_t, more, α_hat, dσ, α_s, half, per_σ_hat, per_σ_s) in enumerate(zip(t_hat, *rows, strict=True)):
            seen = station = α_t * x
            if churn:
                x = torch.addcmul(x, more, randn(x, generator))
                seen = α_hat * x
            x0_hat = restore(seen, t).x0
            yield Step(times[i], station, x0_hat)
            d = (x - x0_hat).mul_(per_σ_hat)
            x_next = torch.addcmul(x, dσ, d)
            if i < last:
                d_next = (x_next - restore(α_s * x_next, times[i + 1]).x0).mul_(per_σ_s)
                x_next = torch.addcmul(x, dσ, torch.lerp(d, d_next, half))
            x = x_next
        yield last_step(α[-1].to(x.dtype) * x)

    def added(self, σ: Tensor, σ_hat: Tensor) -> Tensor:
        """The standard deviation of each step's churn."""
        return self.params.churn_noise * (σ_hat.square() - σ[:-1].square()).clamp_min(0).sqrt()

    def churned(
        self, degradation: HasCoefficients, times: Tensor, α: Tensor, σ: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Severity, α and σ of each step after its noise was added: t̂, α̂ and σ̂."""
        p = self.params
        γ = min(p.churn / len(σ[1:]), math.sqrt(2) - 1)
        churned = (σ[:-1] >= p.churn_min) & (σ[:-1] <= p.churn_max) & (σ[:-1] > 0)
        t = torch.where(churned, severity_at(degradation, σ[:-1] * (1 + γ)), times[:-1].view_as(α[1:]).to(σ.dtype))
        α_hat, scale = (c.view_as(t) for c in degradation.coefficients(t.flatten()))
        return t.view_as(times[:-1]).to(times.dtype), α_hat, scale * reciprocal(α_hat)
