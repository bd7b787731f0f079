"""Annealed Langevin dynamics and consistent annealed sampling, for any D = α x0 + σ z with Gaussian z.

Both work on the scaled image x_t/α, whose noise level is σ_t/α_t; there the score is (x̂0 - x) / σ².
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from rethaw.api import HasCoefficients, Step
from rethaw.builtin.samplers.noise.coefficient_sampler import CoefficientSampler, LinearStepSampler
from rethaw.builtin.samplers.noise.params import ConsistentAnnealed as ConsistentParams
from rethaw.builtin.samplers.noise.params import Langevin as LangevinParams
from rethaw.ops import Walk, last_step, quotient, randn, reciprocal, schedule


class Langevin(CoefficientSampler[LangevinParams]):
    """Annealed Langevin dynamics (NCSN, 1907.05600, Algorithm 1).

    At each noise level σ_i, T times x ← x + α_i/2 s + √α_i z. The step is α_i = ε σ_i²/σ_L²; `step_size` is ε/σ_L², so
    that α_i = step_size · σ_i². At the end x keeps the last level's noise, or is denoised (2009.05475,
    section 3.1).
    """

    scaled = True

    def steps(self, walk: Walk[HasCoefficients]) -> Iterator[Step]:
        restore, x, generator = walk.restore, walk.x, walk.generator
        times, α, scale = schedule(walk.degradation, walk.severities, x)
        ε, dtype = self.params.step_size, x.dtype
        std = (ε**0.5 * scale * reciprocal(α)).to(dtype)
        α = α.to(dtype)
        x = x / α[0]
        for t, α_t, std_t in zip(times[:-1], α, std, strict=False):
            for i in range(self.params.repeats):
                x0_hat = restore(α_t * x, t).x0
                if i == 0:
                    yield Step(t, α_t * x, x0_hat)
                x = torch.addcmul(torch.lerp(x, x0_hat, ε / 2), std_t, randn(x, generator))
        yield last_step(restore(α_t * x, t).x0 if self.params.denoise else x)


class ConsistentAnnealed(LinearStepSampler[ConsistentParams]):
    """Consistent annealed sampling (2009.05475, Algorithm 2): x ← x + η (x̂0 - x) + β z, η = ε/σ_L².

    β is such that exactly the noise of the next level is left: β² = σ_s² - (1-η)² σ_t². Where the levels are so far
    apart that η alone would leave more, η is 1 - σ_s/σ_t; so a step to σ = 0 is the denoising of section 3.1.
    """

    scaled = True

    def rows(self, degradation: HasCoefficients, times: Tensor, α: Tensor, σ: Tensor) -> tuple[Tensor, ...]:
        σ = σ * reciprocal(α)
        σ_t, σ_s, α_s = σ[:-1], σ[1:], α[1:]
        η = (1 - quotient(σ_s, σ_t)).clamp_min(self.params.step_size)
        η = torch.where(σ_s > 0, η, torch.where(σ_t > 0, 1.0, 0.0))
        β = (σ_s.square() - ((1 - η) * σ_t).square()).clamp_min(0).sqrt()
        return (1 - η) * α_s * reciprocal(α[:-1]), η * α_s, β * α_s  # x is x_t/α_t before the step, x_s/α_s after it
