"""Predictor-corrector sampling (Song et al. 2020, arXiv 2011.13456) of any D = α x0 + σ z with Gaussian z."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from rethaw.api import HasCoefficients, Step
from rethaw.builtin.samplers.noise.params import PredictorCorrector as Params
from rethaw.builtin.samplers.noise.reverse_sde import ReverseSDE
from rethaw.ops import Walk, last_step, quotient, randn, reciprocal, schedule


class PredictorCorrector(ReverseSDE):
    """Algorithms 2 to 5 of 2011.13456: each severity is reached by the predictor, then corrected by Langevin steps.

    The corrector's step is ε = 2 α_i (r ‖z‖/‖s‖)², α_i = (α_t/α_s)² of the next step down and r = `snr`, with each
    image's own norms.
    """

    params: Params

    def steps(self, walk: Walk[HasCoefficients]) -> Iterator[Step]:
        restore, x, degradation, generator = walk.restore, walk.x, walk.degradation, walk.generator
        times, α, σ = schedule(walk.degradation, walk.severities, x)
        factors = 2 * (quotient(α[:-1], α[1:]) * self.params.snr).square()
        rows = (c.to(x.dtype) for c in (α, reciprocal(σ).square(), factors, *self.rows(degradation, times, α, σ)))
        for i, (t, α_t, per_σ2, factor, *row) in enumerate(zip(times, *rows, strict=False)):
            for _ in range(self.params.corrections if i else 0):
                x = self.corrected(x, restore(x, t).x0, α_t, per_σ2, factor, randn(x, generator))
            found = restore(x, t)
            yield Step(t, x, found.x0)
            x = self.step(x, found, generator, *row)
        yield last_step(x)

    @staticmethod
    def corrected(x: Tensor, x0_hat: Tensor, α: Tensor, per_σ2: Tensor, factor: Tensor, z: Tensor) -> Tensor:
        """x + ε s + √(2ε) z (Algorithms 4 and 5)."""
        s = (α * x0_hat - x) * per_σ2
        axes = tuple(range(1, x.dim()))
        ε = factor * (z.square().sum(axes, keepdim=True) * reciprocal(s.square().sum(axes, keepdim=True)))
        return torch.addcmul(torch.addcmul(x, ε, s), (2 * ε).sqrt(), z)
