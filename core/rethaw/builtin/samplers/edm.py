"""The sampler of EDM (Karras et al. 2022, arXiv 2206.00364), for any D = α x0 + σ z."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from rethaw.api import Degradation, Observation, Restore, Rng, State, Step
from rethaw.builtin.samplers.params import EDM as Params
from rethaw.builtin.samplers.restoration import last_step
from rethaw.builtin.samplers.spacing import Spaced, below, spaced
from rethaw.ops import randn, reciprocal, schedule, severity_at


class EDM(Spaced):
    """Algorithms 1 and 2 of 2206.00364, in the paper's noise level σ = σ_t/α_t and image x = x_t/α_t.

    Heun's method on dx/dσ = (x - D(x; σ)) / σ, with 2 calls of the restorer a step but 1 in the last. With churn, each
    step first adds noise to reach σ̂ = (1 + γ) σ. All noise levels are computed in float64.
    """

    params: Params

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        self.gaussian = params.churn > 0

    def severities(self, degradation: Degradation, start: float = 1.0) -> Tensor:
        p = self.params
        t = spaced(degradation, p.spacing, p.steps, start, p.sigma_min, p.sigma_max, p.rho)
        return below(degradation, t, p.sigma_max) if p.spacing == "uniform" else t

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
        heun, churn, last = self.params.solver == "heun", self.params.churn > 0, len(severities) - 2
        times, α, scale = schedule(degradation, severities, x)
        σ = scale * reciprocal(α)
        t_hat, α_hat, σ_hat = self.churned(degradation, times, α, σ) if churn else (times[:-1], α[:-1], σ[:-1])
        added = self.params.churn_noise * (σ_hat.square() - σ[:-1].square()).clamp_min(0).sqrt()
        rows = (c.to(x.dtype) for c in (α[:-1], added, α_hat, σ_hat, σ[1:] - σ_hat, α[1:], σ[1:]))
        x = x / α[0].to(x.dtype)
        for i, (t, α_t, more, α_hat, σ_hat, dσ, α_s, σ_s) in enumerate(zip(t_hat, *rows, strict=True)):
            seen = station = α_t * x
            if churn:
                x = torch.addcmul(x, more, randn(x, generator))
                seen = α_hat * x
            x0_hat = restore(seen, t).x0
            yield Step(times[i], station, x0_hat)
            d = (x - x0_hat).div_(σ_hat)
            x_next = torch.addcmul(x, dσ, d)
            if heun and i < last:
                d_next = (x_next - restore(α_s * x_next, times[i + 1]).x0).div_(σ_s)
                x_next = torch.addcmul(x, dσ, d.add_(d_next), value=0.5)
            x = x_next
        yield last_step(α[-1].to(x.dtype) * x)

    def churned(self, degradation: Degradation, times: Tensor, α: Tensor, σ: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Severity, α and σ of each step after its noise was added: t̂, α̂ and σ̂."""
        p = self.params
        γ = min(p.churn / len(σ[1:]), math.sqrt(2) - 1) * ((σ[:-1] >= p.churn_min) & (σ[:-1] <= p.churn_max))
        t = severity_at(degradation, σ[:-1] * (1 + γ))
        α_hat, scale = degradation.coefficients(t.flatten())  # type: ignore[attr-defined]
        return t.view_as(times[:-1]).to(times.dtype), α_hat.view_as(t), scale.view_as(t) * reciprocal(α_hat.view_as(t))
