"""Annealed Langevin dynamics and consistent annealed sampling, for any D = α x0 + σ z with Gaussian z.

Both work on the scaled image x = x_t/α, whose noise level is σ_t/α_t; there the score is (x̂0 - x) / σ².
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from rethaw.api import Degradation, Observation, Restore, Rng, State, Step
from rethaw.builtin.samplers.params import ConsistentAnnealed as ConsistentParams
from rethaw.builtin.samplers.params import Langevin as LangevinParams
from rethaw.builtin.samplers.restoration import last_step
from rethaw.builtin.samplers.spacing import Spaced, below
from rethaw.ops import randn, reciprocal, schedule


class Annealed(Spaced):
    """What the two have in common: levels of x/α, so that where α vanishes the walk begins just below."""

    def severities(self, degradation: Degradation, start: float = 1.0) -> Tensor:
        return below(degradation, super().severities(degradation, start))


class Langevin(Annealed):
    """Annealed Langevin dynamics (NCSN, 1907.05600, Algorithm 1): at each noise level σ_i, T times x ← x + α_i/2 s + √α_i z.

    The step is α_i = ε σ_i²/σ_L²; `step_size` is ε/σ_L², so that α_i = step_size · σ_i². At the end x keeps the last
    level's noise, or is denoised (2006.09011, technique 5's companion; 2009.05475, section 3.1).
    """

    params: LangevinParams

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
        times, α, scale = schedule(degradation, severities, x)
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


class ConsistentAnnealed(Annealed):
    """Consistent annealed sampling (2009.05475, Algorithm 2): x ← x + η (x̂0 - x) + β z, η = ε/σ_L².

    β is such that exactly the noise of the next level is left: β² = σ_s² - (1-η)² σ_t². Where the levels are so far
    apart that η alone would leave more, η is 1 - σ_s/σ_t; so the step to σ = 0 is the denoising of section 3.1.
    """

    params: ConsistentParams

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
        times, α, scale = schedule(degradation, severities, x)
        dtype, σ = x.dtype, scale * reciprocal(α)
        η = (1 - σ[1:] * reciprocal(σ[:-1])).clamp_min(self.params.step_size)
        η = torch.where(σ[1:] > 0, η, 1.0)
        β = (σ[1:].square() - ((1 - η) * σ[:-1]).square()).clamp_min(0).sqrt()
        x = x / α[0].to(dtype)
        for t, α_t, η_t, β_t in zip(times[:-1], *(c.to(dtype) for c in (α[:-1], η, β)), strict=True):
            x0_hat = restore(α_t * x, t).x0
            yield Step(t, α_t * x, x0_hat)
            x = torch.addcmul(torch.lerp(x, x0_hat, η_t), β_t, randn(x, generator))
        yield last_step(α[-1].to(dtype) * x)
