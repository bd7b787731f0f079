"""The sampler of EDM (Karras et al. 2022, arXiv 2206.00364), for any D = α x0 + σ z."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from rethaw.api import Degradation, Observation, Restore, Rng, State, Step
from rethaw.builtin.samplers.params import EDM as Params
from rethaw.builtin.samplers.restoration import last_step
from rethaw.builtin.samplers.spacing import Spaced, spaced
from rethaw.ops import inverse, randn, schedule, severity_at


class EDM(Spaced):
    """Algorithms 1 and 2 of 2206.00364, in the paper's noise level σ = σ_t/α_t and image x = x_t/α_t.

    Heun's method on dx/dσ = (x - D(x; σ)) / σ, with 2 calls of the restorer a step but 1 in the last. With churn, each
    step first adds noise to reach σ̂ = (1 + γ) σ. The state is float64, as in the paper's experiments.
    """

    params: Params

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        self.gaussian = params.churn > 0

    def severities(self, degradation: Degradation, start: float = 1.0) -> Tensor:
        p = self.params
        return spaced(degradation, p.spacing, p.steps, start, p.sigma_min, p.sigma_max, p.rho)

    def trajectory(
        self, restore: Restore, x: Tensor, severities: Tensor, degradation: Degradation, state: State | None,
        generator: Rng, observation: Observation | None = None,
    ) -> Iterator[Step]:  # fmt: skip
        times, α, scale = schedule(degradation, severities, x)
        dtype, σ = x.dtype, scale * inverse(α)
        churned, α_hat, σ_hat = self.churned(degradation, times, α, σ)
        added = self.params.churn_noise * (σ_hat.square() - σ[:-1].square()).clamp_min(0).sqrt()
        x = x.to(σ.dtype) / α[0]
        for i, t in enumerate(churned):
            station = (α[i] * x).to(dtype)
            if self.params.churn:
                x = x + added[i] * randn(station, generator)
            x0_hat = restore((α_hat[i] * x).to(dtype), t).x0
            yield Step(times[i], station, x0_hat)
            d = (x - x0_hat) / σ_hat[i]
            dσ = σ[i + 1] - σ_hat[i]
            x_next = torch.addcmul(x, dσ, d)
            if self.params.solver == "heun" and i < len(churned) - 1:
                x0_next = restore((α[i + 1] * x_next).to(dtype), times[i + 1]).x0
                d = (d + (x_next - x0_next) / σ[i + 1]) / 2
                x_next = torch.addcmul(x, dσ, d)
            x = x_next
        yield last_step((α[-1] * x).to(dtype))

    def churned(self, degradation: Degradation, times: Tensor, α: Tensor, σ: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Severity, α and σ of each step after its noise was added: t̂, α̂ and σ̂."""
        p = self.params
        if not p.churn:
            return times[:-1], α[:-1], σ[:-1]
        γ = min(p.churn / len(σ[1:]), math.sqrt(2) - 1) * ((σ[:-1] >= p.churn_min) & (σ[:-1] <= p.churn_max))
        t = severity_at(degradation, σ[:-1] * (1 + γ))
        α_hat, scale = degradation.coefficients(t.flatten())  # type: ignore[attr-defined]
        return t.view_as(times[:-1]).to(times.dtype), α_hat.view_as(t), scale.view_as(t) * inverse(α_hat.view_as(t))
