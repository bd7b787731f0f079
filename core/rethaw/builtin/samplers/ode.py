"""The probability-flow ODE of any D = α x0 + σ z (2011.13456, section 4.3), by fixed or adaptive steps."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from rethaw.api import Degradation, Observation, Restore, Rng, State, Step
from rethaw.builtin.samplers.params import ProbabilityFlow as Params
from rethaw.builtin.samplers.restoration import last_step
from rethaw.builtin.samplers.spacing import Spaced
from rethaw.ops import FlowSolver, adaptive_solver, needs_coefficients, schedule


class ProbabilityFlow(Spaced):
    """dx/dt = f x - ½ g² ∇log p(x) (2011.13456, eq. 13), solved from each severity to the next; at the end, x̂0.

    solver: euler, heun and rk4 take one step for each severity; adaptive takes as many as its tolerance needs, and
    gives the stations asked for.
    """

    params: Params

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        if params.solver == "adaptive":
            adaptive_solver()

    def check(
        self, degradation: Degradation, state: State | None, observation: Observation | None = None
    ) -> str | None:
        return needs_coefficients(degradation, gaussian=True, smooth=True)

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
        p, (times, _, σ) = self.params, schedule(degradation, severities, x)
        flow = FlowSolver(degradation, times, p.solver, x.dtype, x.dim() - 1, p.rtol, p.atol)
        to_zero = bool((σ[-1] == 0).all())  # the only wait for the device, before the walk

        def slope(x: Tensor, t: Tensor, p: Tensor, q: Tensor) -> Tensor:
            return torch.addcmul(p * x, q, restore(x, t).x0)

        for k, t in enumerate(times[:-1]):
            x0_hat = restore(x, t).x0
            yield Step(t, x, x0_hat)
            if to_zero and k == len(times) - 2:
                x = x0_hat
            else:
                _, p_k, q_k = (c[k] for c in flow.rows[0])
                x = flow.advance(k, x, slope, torch.addcmul(p_k * x, q_k, x0_hat))
        yield last_step(x)
