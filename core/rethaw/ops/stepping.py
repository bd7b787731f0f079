"""Bases of samplers: one whose whole algorithm is a step, and one whose algorithm is a walk."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor

from rethaw.api import Degradation, Observation, Restore, RethawError, Rng, State, Step, infers_state
from rethaw.ops.severities import severity_pairs

Params = TypeVar("Params")
D = TypeVar("D")

UNKNOWN_STATE = "the degradation's random state is not known, and the degradation cannot infer it"


def last_step(x: Tensor) -> Step:
    """Where every trajectory ends: severity 0, the image, and the image again."""
    return Step(x.new_zeros(x.shape[0]), x, x)


def known_or_inferred(
    degradation: Degradation, x: Tensor, x0_hat: Tensor, t: Tensor, state: State | None, inferred: bool = False
) -> State:
    """ξ if it is given, else (or if it is to be inferred) the state that explains x_t by x̂0.

    Raises RethawError where it is not given and the degradation has no `infer`.
    """
    if state is not None and not inferred:
        return state
    if not infers_state(degradation):
        raise RethawError(UNKNOWN_STATE)
    return degradation.infer(x, x0_hat, t, state or {})


class Walk(NamedTuple, Generic[D]):
    """What `trajectory` of `rethaw.api.Sampler` is called with."""

    restore: Restore
    x: Tensor
    severities: Tensor
    degradation: D
    state: State | None
    generator: Rng
    observation: Observation | None = None


class WalkSampler(Generic[Params, D]):
    """A sampler of degradations D that has `steps`, the whole of its algorithm, and `severities`."""

    def __init__(self, params: Params) -> None:
        self.params = params

    def steps(self, walk: Walk[D]) -> Iterator[Step]:
        """N+1 steps, as of `rethaw.api.Sampler.trajectory`."""
        raise NotImplementedError(f"{type(self).__name__} has no steps")

    def trajectory(
        self,
        restore: Restore,
        x: Tensor,
        severities: Tensor,
        degradation: D,
        state: State | None,
        generator: Rng,
        observation: Observation | None = None,
    ) -> Iterator[Step]:
        return self.steps(Walk(restore, x, severities, degradation, state, generator, observation))


class StepSampler(WalkSampler[Params, Degradation]):
    """A sampler that goes from t to s by one `step` of x_t and x̂0 = R(x_t, t), in even steps: `params.steps`, else one.

    state: the ξ that `step` gets. "fixed": the one given, inferred only where none is; "inferred": at each step the one
    that explains x_t by x̂0; "drawn": one that is drawn for the walk; "unused": {} where none is given. Parameters may
    have it.
    """

    state: Literal["fixed", "inferred", "drawn", "unused"] = "fixed"

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        self.state = getattr(params, "state", self.state)

    def step(
        self, x: Tensor, x0_hat: Tensor, t: Tensor, s: Tensor, degradation: Degradation, ξ: State, generator: Rng
    ) -> Tensor:
        """x_s of images x = x_t and x̂0 (B, C, H, W), t > s (B,)."""
        raise NotImplementedError(f"{type(self).__name__} has no step")

    def begin(self, x: Tensor, generator: Rng) -> Tensor:
        """What the walk begins with, of the degraded images x."""
        return x

    def end(self, x: Tensor, first: Tensor) -> Tensor:
        """The image that the walk gives, of the images x where it ended and the estimates that it began with."""
        return x

    def check(
        self, degradation: Degradation, state: State | None, observation: Observation | None = None
    ) -> str | None:
        given = state is not None and self.state == "fixed"
        needless = self.state in ("drawn", "unused")
        return None if given or needless or infers_state(degradation) else UNKNOWN_STATE

    def severities(self, degradation: Degradation, start: float = 1.0) -> Tensor:
        return torch.linspace(start, 0.0, getattr(self.params, "steps", 1) + 1, dtype=torch.float64)

    def steps(self, walk: Walk[Degradation]) -> Iterator[Step]:
        restore, degradation, generator = walk.restore, walk.degradation, walk.generator
        known = {} if self.state == "unused" and walk.state is None else walk.state
        if self.state == "drawn":
            known = degradation.draw(walk.x, generator)
        x, first = self.begin(walk.x, generator), None
        for t, s in severity_pairs(walk.severities, x):
            x0_hat = restore(x, t).x0
            first = x0_hat if first is None else first
            yield Step(t, x, x0_hat)
            ξ = known_or_inferred(degradation, x, x0_hat, t, known, self.state == "inferred")
            x = self.step(x, x0_hat, t, s, degradation, ξ, generator)
        yield last_step(x if first is None else self.end(x, first))
