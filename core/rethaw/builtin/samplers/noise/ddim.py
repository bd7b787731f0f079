"""DDIM (Song et al. 2020, arXiv 2010.02502) and its inversion, for any D = α x0 + σ z."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from rethaw.api import HasCoefficients, Restore, Step
from rethaw.builtin.samplers.noise.coefficient_sampler import LinearStepSampler
from rethaw.builtin.samplers.noise.params import DDIM as Params
from rethaw.ops import combine, posterior, quotient, reciprocal, schedule


class DDIM(LinearStepSampler[Params]):
    """Eq. 12 and 16: x_s = α_s x̂0 + √(σ_s² - η² β̃) ε̂ + η √β̃ z, with ε̂ = (x_t - α_t x̂0) / σ_t.

    η = 1 is DDPM, η = 0 deterministic: then z may be anything, and `encode` goes the other way.
    """

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        self.gaussian = params.eta > 0

    def rows(self, degradation: HasCoefficients, times: Tensor, α: Tensor, σ: Tensor) -> tuple[Tensor, ...]:
        η, β̃ = self.params.eta, posterior(α[:-1], σ[:-1], α[1:], σ[1:])[2]
        a = quotient((σ[1:].square() - η**2 * β̃).clamp_min(0).sqrt(), σ[:-1])
        return a, α[1:] - α[:-1] * a, η * β̃.sqrt()

    def encode(self, restore: Restore, x: Tensor, severities: Tensor, degradation: HasCoefficients) -> Iterator[Step]:
        """The same ODE from an image x at severity 0 up to the last of `severities` (ascending): DDIM inversion.

        Near 0 the noise that an image of a smooth distribution is expected to hold vanishes, so there x_s = α_s x/α_t.
        """
        times, α, σ = schedule(degradation, severities, x)
        a = torch.where(σ[:-1] > 0, σ[1:] * reciprocal(σ[:-1]), α[1:] * reciprocal(α[:-1]))
        rows = (c.to(x.dtype) for c in (a, α[1:] - α[:-1] * a))
        for i, (t, of_x, of_x0) in enumerate(zip(times[:-1], *rows, strict=True)):
            x0_hat = restore(x, t).x0 if i else x
            yield Step(t, x, x0_hat)
            x = combine(of_x, x, of_x0, x0_hat)
        yield Step(times[-1], x, restore(x, times[-1]).x0)
