"""DPM-Solver++ (Lu et al. 2022, arXiv 2211.01095): multistep solvers of the probability flow of any D = α x0 + σ z."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from rethaw.api import HasCoefficients, Step
from rethaw.builtin.samplers.noise.coefficient_sampler import CoefficientSampler
from rethaw.builtin.samplers.noise.params import DPMSolver as Params
from rethaw.ops import Walk, combine, last_step, quotient, schedule

FARTHEST = 10.0  # that an estimate is extrapolated, in steps before it; a step that much shorter says nothing


class DPMSolver(CoefficientSampler[Params]):
    """DPM-Solver++(2M), Algorithm 2: x_s = (σ_s/σ_t) x_t - α_s (e^(-h) - 1) D, h = λ_s - λ_t, λ = log α/σ.

    D = (1 + 1/2r) x̂0 - 1/2r x̂0' extrapolates from the estimate before, r = h'/h. The first step and that to σ = 0 take
    D = x̂0, which is DDIM.
    """

    gaussian = False

    def steps(self, walk: Walk[HasCoefficients]) -> Iterator[Step]:
        restore, x = walk.restore, walk.x
        times, α, σ = schedule(walk.degradation, walk.severities, x)
        ratio = quotient(σ[1:], σ[:-1])
        gain = α[1:] - α[:-1] * ratio  # -α_s (e^(-h) - 1)
        past = gain * extrapolation(α, σ)
        coefficients = (c.to(x.dtype) for c in (ratio, gain + past, -past))
        before = x  # its weight is 0 in the first step
        for t, of_x, of_x0, of_before in zip(times[:-1], *coefficients, strict=True):
            x0_hat = restore(x, t).x0
            yield Step(t, x, x0_hat)
            x = combine(of_x, x, of_x0, x0_hat).addcmul_(of_before, before)
            before = x0_hat
        yield last_step(x)


def extrapolation(α: Tensor, σ: Tensor) -> Tensor:
    """1/2r of each step; 0 in the first one, and where λ is infinite or stood still before."""
    h = (α.log() - σ.log()).diff(dim=0)
    half = h[1:] / (2 * h[:-1])
    return torch.cat([torch.zeros_like(h[:1]), torch.where(half.abs() <= FARTHEST / 2, half, 0.0)])
