"""DDPM (Ho et al. 2020, arXiv 2006.11239) and Improved DDPM (2102.09672), for any D = α x0 + σ z."""

from __future__ import annotations

from torch import Tensor

from rethaw.api import HasCoefficients, Prediction, RethawError, Rng
from rethaw.builtin.samplers.noise.coefficient_sampler import LinearStepSampler
from rethaw.builtin.samplers.noise.params import DDPM as Params
from rethaw.ops import posterior


class DDPM(LinearStepSampler[Params]):
    """Algorithm 2 of 2006.11239, whose origin is 1503.03585: x_s ~ N(a x_t + b x̂0, Σ).

    Σ is β̃ (small), β (large), or between them where the restorer says (learned: 2102.09672, eq. 15). Fewer steps than
    levels are a strided chain, with the β between the severities of the walk (2102.09672, section 4).
    """

    def rows(self, degradation: HasCoefficients, times: Tensor, α: Tensor, σ: Tensor) -> tuple[Tensor, ...]:
        a, b, small, large = posterior(α[:-1], σ[:-1], α[1:], σ[1:])
        return a, b, small.sqrt(), large.sqrt() * (σ[1:] > 0)  # no z in a step to σ = 0

    def step(self, x: Tensor, found: Prediction, generator: Rng, a: Tensor, b: Tensor, *stds: Tensor) -> Tensor:
        return super().step(x, found, generator, a, b, self.std(found, *stds))

    def std(self, found: Prediction, small: Tensor, large: Tensor) -> Tensor:
        """√Σ from √β̃ and √β; learned: log Σ = v log β + (1 - v) log β̃, with a network's v kept between the two."""
        if self.params.variance != "learned":
            return small if self.params.variance == "small" else large
        if found.log_var is None:
            raise RethawError(
                "core.ddpm: variance: learned needs a restorer that has learned it",
                "Train with restorer.variance=learned, or sample with variance: small.",
            )
        v = found.log_var.clamp(0, 1)
        return large**v * small ** (1 - v)
