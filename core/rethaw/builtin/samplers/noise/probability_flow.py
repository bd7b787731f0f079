"""The probability-flow ODE of any D = α x0 + σ z (2011.13456, section 4.3), by fixed or adaptive steps."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from rethaw.api import HasCoefficients, Step
from rethaw.builtin.samplers.noise.coefficient_sampler import CoefficientSampler
from rethaw.builtin.samplers.noise.params import ProbabilityFlow as Params
from rethaw.ops import FlowSolver, Walk, adaptive_solver, last_step, schedule


class ProbabilityFlow(CoefficientSampler[Params]):
    """dx/dt = f x - ½ g² ∇log p(x) (2011.13456, eq. 13), solved from each severity to the next; to σ = 0, x̂0.

    solver: euler, heun and rk4 take one step for each severity; adaptive takes as many as its tolerance needs, and
    gives the stations asked for.
    """

    smooth = scaled = True  # where α is 0, the flow may be infinitely steep

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        if params.solver == "adaptive":
            adaptive_solver()

    def steps(self, walk: Walk[HasCoefficients]) -> Iterator[Step]:
        restore, x, degradation = walk.restore, walk.x, walk.degradation
        p, (times, α, σ) = self.params, schedule(walk.degradation, walk.severities, x)
        flow = FlowSolver(degradation, noisy(times, σ), p.solver, x.dtype, x.dim() - 1, p.rtol, p.atol)
        denoises, α = (σ[1:] == 0) & (σ[:-1] > 0), α.to(x.dtype)
        flags = torch.stack([σ[1:] > 0, denoises]).flatten(2).any(2)
        moving, ending = flags.tolist()  # the only wait for the device, before the walk

        def slope(x: Tensor, t: Tensor, p: Tensor, q: Tensor) -> Tensor:
            return torch.addcmul(p * x, q, restore(x, t).x0)

        for k, t in enumerate(times[:-1]):
            x0_hat = restore(x, t).x0
            yield Step(t, x, x0_hat)
            if moving[k]:
                _, p_k, q_k = (c[k] for c in flow.rows[0])
                x = flow.advance(k, x, slope, torch.addcmul(p_k * x, q_k, x0_hat))
            if ending[k]:
                x = torch.where(denoises[k], α[k + 1] * x0_hat, x)
        yield last_step(x)


def noisy(times: Tensor, σ: Tensor) -> Tensor:
    """The severities (N+1, B) of a walk down, held at the last before σ = 0: nothing flows beyond."""
    return torch.where(σ.view_as(times) > 0, times, 1.0).cummin(0).values
