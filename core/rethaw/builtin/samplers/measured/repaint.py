"""Inpainting with a restorer of Gaussian noise: RePaint (Lugmayr et al. 2022, arXiv 2201.09865)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

from rethaw.api import Degradation, HasCoefficients, Observation, State, Step
from rethaw.builtin.samplers.measured.measured import MeasuredSampler, unfit
from rethaw.builtin.samplers.measured.params import RePaint as Params
from rethaw.ops import KNOWN, Walk, last_step, mask_of, posterior, quotient, randn, schedule


class RePaint(MeasuredSampler[Params]):
    """Algorithm 1: each step takes the known pixels from the picture, noised to x_s, and the others from the restorer.

    The two halves agree better when a stretch of `jump` steps is walked `resamples` times, noised back in between; the
    walk's severities say so, by going up again.
    """

    def check(
        self, degradation: Degradation, state: State | None, observation: Observation | None = None
    ) -> str | None:
        problem = unfit(degradation, observation)
        if problem or observation is None:
            return problem
        y, measured, t, ξ, _ = observation
        return (
            None
            if mask_of(measured, y, t, ξ)[2].all()
            else f"the measurement {getattr(measured, 'name', '')} is not a mask"
        )

    def stations(self) -> list[int]:
        """The numbers of steps that are left: down in stretches, each walked several times."""
        steps, jump = self.params.steps, self.params.jump
        found = [steps]
        for high in range(steps, 0, -jump):
            stretch = list(range(high - 1, max(high - jump, 0) - 1, -1))
            found += stretch + [high, *stretch] * (self.params.resamples - 1)
        return found

    def severities(self, degradation: HasCoefficients, start: float = 1.0) -> Tensor:
        return torch.tensor(self.stations(), dtype=torch.float64) * (start / self.params.steps)

    def steps(self, walk: Walk[HasCoefficients]) -> Iterator[Step]:
        restore, x, generator, observation = walk.restore, walk.x, walk.generator, walk.observation
        assert observation is not None
        y, measured, t_y, ξ, _ = observation
        known = mask_of(measured, y, t_y, ξ)[0] > KNOWN
        times, α, σ = schedule(walk.degradation, walk.severities, x)
        a, b, variance, _ = posterior(α[:-1], σ[:-1], α[1:], σ[1:])
        added = posterior(α[1:], σ[1:], α[:-1], σ[:-1])[3].sqrt()  # by a way back, q(x_t | x_s) with t above s
        ratio = quotient(α[1:], α[:-1])
        a, b, std, added, ratio, α, σ = (c.to(x.dtype) for c in (a, b, variance.sqrt(), added, ratio, α, σ))
        for i, (at, to) in enumerate(pairwise(self.stations())):
            x0_hat = restore(x, times[i]).x0
            yield Step(times[i], x, x0_hat)
            if to > at:
                x = ratio[i] * x + added[i] * randn(x, generator)
            else:
                guess = a[i] * x + b[i] * x0_hat + std[i] * randn(x, generator)
                x = torch.where(known, α[i + 1] * y + σ[i + 1] * randn(x, generator), guess)
        yield last_step(x)
