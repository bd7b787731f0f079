"""Diffusion Posterior Sampling (Chung et al. 2023, arXiv 2209.14687)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from rethaw.api import HasCoefficients, Observation, Restore, Step
from rethaw.builtin.samplers.measured.measured import MeasuredSampler
from rethaw.builtin.samplers.measured.params import DPS as Params
from rethaw.ops import Walk, last_step, posterior, randn, schedule


class DPS(MeasuredSampler[Params]):
    """Algorithm 1 of 2209.14687.

    x_s = α_s x̂0 + … (an ancestral step of DDPM) - ζ ∇_{x_t} |y - D(x̂0(x_t))|² with ζ = ζ' / |y - D(x̂0)|. The
    degradation of the measurement need only be differentiable. Bias: x̂0 stands for all that x_t may have come from
    (eq. 11).
    """

    def steps(self, walk: Walk[HasCoefficients]) -> Iterator[Step]:
        restore, x, generator, observation = walk.restore, walk.x, walk.generator, walk.observation
        assert observation is not None
        times, α, σ = schedule(walk.degradation, walk.severities, x)
        a, b, variance, _ = posterior(α[:-1], σ[:-1], α[1:], σ[1:])
        coefficients = (c.to(x.dtype) for c in (a, b, variance.sqrt()))
        for t, of_x, of_x0, std in zip(times[:-1], *coefficients, strict=True):
            x0_hat, pull = self.gradient(restore, x, t, observation)
            yield Step(t, x, x0_hat)
            x = of_x * x + of_x0 * x0_hat + std * randn(x, generator) - self.params.scale * pull
        yield last_step(x)

    def gradient(self, restore: Restore, x: Tensor, t: Tensor, observation: Observation) -> tuple[Tensor, Tensor]:
        """x̂0 and ∇_{x_t} |y - D(x̂0)|, for each image its own."""
        y, measured, t_y, ξ, _ = observation
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            x0_hat = restore(x, t).x0
            distance = torch.linalg.vector_norm((y - measured.degrade(x0_hat, t_y, ξ)).flatten(1), dim=1)
            (pull,) = torch.autograd.grad(distance.sum(), x)
        return x0_hat.detach(), pull
