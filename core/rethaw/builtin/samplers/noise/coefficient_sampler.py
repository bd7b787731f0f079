"""What samplers of D = α x0 + σ z have in common: where they stop, and the loop of those that are one linear step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, TypeVar

from torch import Tensor

from rethaw.api import Degradation, HasCoefficients, Observation, Prediction, Rng, State, Step
from rethaw.builtin.samplers.noise.params import ByLevel
from rethaw.builtin.samplers.noise.spacing import below, spaced
from rethaw.ops import Walk, WalkSampler, combine, last_step, needs_coefficients, randn, schedule


class Spaced(Protocol):
    """What their parameters share."""

    @property
    def steps(self) -> int: ...
    @property
    def spacing(self) -> ByLevel: ...


Params = TypeVar("Params", bound=Spaced)


class CoefficientSampler(WalkSampler[Params, HasCoefficients]):
    """A sampler of degradations with coefficients.

    gaussian: of Gaussian z only. smooth: it needs their derivatives. scaled: it walks on x/α, so not from where α is 0.
    """

    gaussian, smooth, scaled = True, False, False

    def check(
        self, degradation: Degradation, state: State | None, observation: Observation | None = None
    ) -> str | None:
        return needs_coefficients(degradation, gaussian=self.gaussian, smooth=self.smooth)

    def severities(self, degradation: HasCoefficients, start: float = 1.0) -> Tensor:
        t = spaced(degradation, self.params.spacing, self.params.steps, start)
        return below(degradation, t) if self.scaled else t


class LinearStepSampler(CoefficientSampler[Params]):
    """x_s = a x_t + b x̂0 + c z, with fresh z if it is for Gaussian noise. A subclass has `rows`."""

    def rows(self, degradation: HasCoefficients, times: Tensor, α: Tensor, σ: Tensor) -> tuple[Tensor, ...]:
        """a, b and c of all N steps, (N, B, 1, 1, 1) each; times (N+1, B), α and σ (N+1, B, 1, 1, 1)."""
        raise NotImplementedError

    def step(self, x: Tensor, found: Prediction, generator: Rng, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """x_s."""
        x = combine(a, x, b, found.x0)
        return x.addcmul_(c, randn(x, generator)) if self.gaussian else x

    def steps(self, walk: Walk[HasCoefficients]) -> Iterator[Step]:
        restore, x, degradation, generator = walk.restore, walk.x, walk.degradation, walk.generator
        times, α, σ = schedule(walk.degradation, walk.severities, x)
        rows = (c.to(x.dtype) for c in self.rows(degradation, times, α, σ))
        for t, *row in zip(times[:-1], *rows, strict=True):
            found = restore(x, t)
            yield Step(t, x, found.x0)
            x = self.step(x, found, generator, *row)
        yield last_step(x)
