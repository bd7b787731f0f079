"""What samplers that restore from a measurement y = D(x0) + σ_y n, with a restorer of Gaussian noise, have in common.

All walk x_t = α_t x0 + σ_t z from x_1 down, in this notation: papers in variance-exploding form have σ_t/α_t for σ_t.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from rethaw.api import Degradation, HasCoefficients, Observation, Rng, State, Step, has_adjoint, has_svd
from rethaw.ops import Walk, WalkSampler, last_step, needs_coefficients, schedule

Noise = tuple[Tensor, Tensor]
"""α and σ, (B, 1, 1, 1) each."""
Move = Callable[[Tensor, Tensor, Noise, Noise, Rng], Tensor]
"""(x_t, x̂0, α_t and σ_t, α_s and σ_s, generator) to x_s."""
HAS: dict[str, Callable[[Degradation], bool]] = {"svd": has_svd, "adjoint": has_adjoint}


class Stepped(Protocol):
    """What their parameters share."""

    @property
    def steps(self) -> int: ...


Params = TypeVar("Params", bound=Stepped)


def unfit(degradation: Degradation, observation: Observation | None, *needs: str, because: str = "") -> str | None:
    """Why a measurement cannot be restored from, or None. needs: svd, adjoint, of which one suffices; because: why."""
    lacking = needs_coefficients(degradation, gaussian=True)
    if lacking or observation is None:
        return lacking or "no measurement is given"
    measured = observation.degradation
    name = getattr(measured, "name", type(measured).__name__)
    if needs and not getattr(measured, "linear", False):
        return f"the measurement {name} is not linear"
    if needs and not any(HAS[method](measured) for method in needs):
        return f"the measurement {name} has no {' and no '.join(needs)}{because}"
    return None


class MeasuredSampler(WalkSampler[Params, HasCoefficients]):
    """A sampler that restores from a measurement, in even steps. A subclass has `move`, or its own `steps`.

    needs: what the measurement must have, as of `unfit`.
    """

    measures = True
    needs: tuple[str, ...] = ()

    def check(
        self, degradation: Degradation, state: State | None, observation: Observation | None = None
    ) -> str | None:
        return unfit(degradation, observation, *self.needs)

    def severities(self, degradation: HasCoefficients, start: float = 1.0) -> Tensor:
        return torch.linspace(start, 0.0, self.params.steps + 1, dtype=torch.float64)

    def move(self, observation: Observation, x: Tensor) -> Move:
        """The step, for a measurement and images in the shape of x."""
        raise NotImplementedError

    def steps(self, walk: Walk[HasCoefficients]) -> Iterator[Step]:
        restore, x, generator, observation = walk.restore, walk.x, walk.generator, walk.observation
        assert observation is not None
        move = self.move(observation, x)
        times, *coefficients = schedule(walk.degradation, walk.severities, x)
        noises = list(zip(*(c.to(x.dtype) for c in coefficients), strict=True))
        for t, here, there in zip(times[:-1], noises[:-1], noises[1:], strict=True):
            x0_hat = restore(x, t).x0
            yield Step(t, x, x0_hat)
            x = move(x, x0_hat, here, there, generator)
        yield last_step(x)
