"""Pseudoinverse-guided diffusion models, ΠGDM (Song, Vahdat, Mardani and Kautz, ICLR 2023)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from rethaw.api import HasCoefficients, Observation, Restore, Step
from rethaw.builtin.samplers.measured.measured import MeasuredSampler
from rethaw.builtin.samplers.measured.params import PiGDM as Params
from rethaw.ops import Walk, last_step, least_squares, noise_of, posterior, randn, reciprocal, schedule

Solve = Callable[[Tensor, Tensor], Tensor]
"""(r, λ) to (AᵀA + λ)⁻¹ Aᵀ r."""


LEAST = 1e-12
"""Of r_t²: where there is no noise, y has nothing more to say."""


class PiGDM(MeasuredSampler[Params]):
    """Algorithm 1 of the paper: steps of DDIM with guidance g, x_s = α_s x̂0 + c1 ε + c2 ε̂ + α_t g.

    p(x0 | x_t) is taken for N(x̂0, r_t² I), so that ∇ log p(y | x_t) = g / r_t² with g = ∂x̂0/∂x_tᵀ (AᵀA + σ_y²/r_t²)⁻¹
    Aᵀ (y - A x̂0) (eq. 7 and 8). Of white Gaussian data of deviation c it is that, with r_t² = c² σ_t² / (c² α_t² +
    σ_t²). `weight: score` puts this score where it belongs, into x̂0 and ε̂ (Tweedie's formula): of such data many steps
    draw from the posterior, which the weights of the algorithm do not.
    """

    needs = ("svd", "adjoint")

    def steps(self, walk: Walk[HasCoefficients]) -> Iterator[Step]:
        restore, x, generator, observation = walk.restore, walk.x, walk.generator, walk.observation
        assert observation is not None
        solve = least_squares(observation.degradation, x, observation.t, observation.state, self.params.iterations)
        times, α, σ = schedule(walk.degradation, walk.severities, x)
        c1 = self.params.eta * posterior(α[:-1], σ[:-1], α[1:], σ[1:])[2].sqrt()
        c2 = (σ[1:].square() - c1.square()).clamp_min(0).sqrt()
        rows = (c.to(x.dtype) for c in (α[:-1], σ[:-1], α[1:], c1, c2, *self.weights(α, σ)))
        for t, α_t, σ_t, α_s, c1_s, c2_s, r2, of_x0, of_x in zip(times[:-1], *rows, strict=True):
            x0_hat, g = self.guide(restore, x, t, r2, observation, solve)
            yield Step(t, x, x0_hat)
            x0_hat = x0_hat + of_x0 * g
            ε = noise_of(x, x0_hat, α_t, σ_t)
            x = α_s * x0_hat + c1_s * randn(x, generator) + c2_s * ε + of_x * g
        yield last_step(x)

    def weights(self, α: Tensor, σ: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of each step: r_t², and the weights of g in x̂0 and in x_s."""
        α, σ, precision = α[:-1], σ[:-1], self.params.spread**-2
        r2 = (precision + (α / σ).square()).reciprocal().clamp_min(LEAST)
        if self.params.weight == "adaptive":
            return r2, torch.zeros_like(α), α
        return r2, (precision * σ.square() + α.square()) * reciprocal(α), torch.zeros_like(α)

    def guide(
        self, restore: Restore, x: Tensor, t: Tensor, r2: Tensor, observation: Observation, solve: Solve
    ) -> tuple[Tensor, Tensor]:
        """x̂0 and g, r_t² times the gradient of log p(y | x_t)."""
        y, measured, t_y, ξ, σ_y = observation
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            x0_hat = restore(x, t).x0
            found = x0_hat.detach()
            (g,) = torch.autograd.grad(x0_hat, x, solve(y - measured.degrade(found, t_y, ξ), σ_y**2 / r2))
        return found, g
