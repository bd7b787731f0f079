"""Ancestral sampling and its deterministic relative, for any D = α x0 + σ z: DDPM, Improved DDPM and DDIM."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from rethaw.api import Degradation, Observation, Prediction, Restore, RethawError, Rng, State, Step
from rethaw.builtin.samplers.params import DDIM as DDIMParams
from rethaw.builtin.samplers.params import DDPM as DDPMParams
from rethaw.builtin.samplers.restoration import last_step
from rethaw.builtin.samplers.spacing import Spaced
from rethaw.ops import combine, posterior, randn, reciprocal, schedule


class DDPM(Spaced):
    """Algorithm 2 of 2006.11239, whose origin is 1503.03585: x_s ~ N(a x_t + b x̂0, Σ).

    Σ is β̃ (small), β (large), or between them where the restorer says (learned: 2102.09672, eq. 15). Fewer steps than
    levels are a strided chain, with the β between the severities of the walk (2102.09672, section 4).
    """

    params: DDPMParams

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
        times, α, σ = schedule(degradation, severities, x)
        a, b, small, large = posterior(α[:-1], σ[:-1], α[1:], σ[1:])
        noisy = σ[1:] > 0  # no z in the step to x_0
        coefficients = (c.to(x.dtype) for c in (a, b, small.sqrt() * noisy, large.sqrt() * noisy))
        for t, a_t, b_t, least, most in zip(times[:-1], *coefficients, strict=True):
            found = restore(x, t)
            yield Step(t, x, found.x0)
            mean = combine(a_t, x, b_t, found.x0)
            x = mean.addcmul_(self.std(found, least, most), randn(x, generator))
        yield last_step(x)

    def std(self, found: Prediction, least: Tensor, most: Tensor) -> Tensor:
        """√Σ from √β̃ and √β; learned: log Σ = v log β + (1 - v) log β̃."""
        if self.params.variance != "learned":
            return least if self.params.variance == "small" else most
        if found.log_var is None:
            raise RethawError(
                "core.ddpm: variance: learned needs a restorer that has learned it",
                "Train with restorer.variance=learned, or sample with variance: small.",
            )
        return most**found.log_var * least ** (1 - found.log_var)


class DDIM(Spaced):
    """2010.02502, eq. 12 and 16: x_s = α_s x̂0 + √(σ_s² - η² β̃) ε̂ + η √β̃ z, with ε̂ = (x_t - α_t x̂0) / σ_t.

    η = 1 is DDPM, η = 0 deterministic: then z may be anything, and `encode` goes the other way.
    """

    params: DDIMParams

    def __init__(self, params: DDIMParams) -> None:
        super().__init__(params)
        self.gaussian = params.eta > 0

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
        η = self.params.eta
        times, α, σ = schedule(degradation, severities, x)
        β̃ = posterior(α[:-1], σ[:-1], α[1:], σ[1:])[2]
        k = (σ[1:].square() - η**2 * β̃).clamp_min(0).sqrt() * reciprocal(σ[:-1])
        coefficients = (c.to(x.dtype) for c in (k, α[1:] - α[:-1] * k, η * β̃.sqrt()))
        for t, of_x, of_x0, std in zip(times[:-1], *coefficients, strict=True):
            x0_hat = restore(x, t).x0
            yield Step(t, x, x0_hat)
            x = combine(of_x, x, of_x0, x0_hat)
            if η:
                x = x.addcmul_(std, randn(x, generator))
        yield last_step(x)

    def encode(self, restore: Restore, x: Tensor, severities: Tensor, degradation: Degradation) -> Iterator[Step]:
        """The same ODE from an image x at severity 0 up to the last of `severities` (ascending): DDIM inversion.

        Near 0 the noise that an image of a smooth distribution is expected to hold vanishes, so x_s = α_s x first.
        """
        times, α, σ = schedule(degradation, severities, x)
        k = σ[1:] * reciprocal(σ[:-1])
        coefficients = (c.to(x.dtype) for c in (k, α[1:] - α[:-1] * k))
        for i, (t, of_x, of_x0) in enumerate(zip(times[:-1], *coefficients, strict=True)):
            x0_hat = restore(x, t).x0 if i else x
            yield Step(t, x, x0_hat)
            x = combine(of_x, x, of_x0, x0_hat)
        yield Step(times[-1], x, restore(x, times[-1]).x0)
