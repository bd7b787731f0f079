"""Flow solvers for any D = α x0 + σ z: rectified flow (2209.03003) and flow matching (2210.02747), Euler and Heun."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from rethaw.api import HasCoefficients, Step
from rethaw.builtin.samplers.noise.coefficient_sampler import CoefficientSampler
from rethaw.builtin.samplers.noise.params import Flow as Params
from rethaw.ops import Walk, combine, last_step, reciprocal, schedule


class Flow(CoefficientSampler[Params]):
    """The probability flow along the degradation's own path, dx = x̂0 dα + ẑ dσ with ẑ = (x - α x̂0) / σ.

    For α = 1 - t, σ = t it is dx/dt = ẑ - x̂0. Over a step dα and dσ are differences, exact where the path is straight,
    and no derivative is needed; Euler's step then is DDIM's. Heun averages it with the move as seen from its end. A
    step to σ = 0 is Euler's.
    """

    gaussian = False

    def steps(self, walk: Walk[HasCoefficients]) -> Iterator[Step]:
        restore, x = walk.restore, walk.x
        times, α, σ = schedule(walk.degradation, walk.severities, x)
        dα, dσ = α.diff(dim=0), σ.diff(dim=0)
        here, there = dσ * reciprocal(σ[:-1]), dσ * reciprocal(σ[1:])  # dx = dσ/σ x + (dα - α dσ/σ) x̂0
        half = torch.where(σ[1:] > 0, 0.5, 0.0)
        rows = (c.to(x.dtype) for c in (1 + here, dα - α[:-1] * here, there, dα - α[1:] * there, half))
        last = len(dσ) - 1 if self.params.solver == "heun" else 0
        for i, (t, s, of_x, of_x0, of_next, of_next_x0, half_i) in enumerate(
            zip(times, times[1:], *rows, strict=False)
        ):
            x0_hat = restore(x, t).x0
            yield Step(t, x, x0_hat)
            x_next = combine(of_x, x, of_x0, x0_hat)
            if i < last:
                dx_next = combine(of_next, x_next, of_next_x0, restore(x_next, s).x0)
                x_next = torch.lerp(x_next, dx_next.add_(x), half_i)
            x = x_next
        yield last_step(x)
