"""Iterated restoration: the samplers of Cold Diffusion (Bansal et al. 2022, arXiv 2208.09392)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from rethaw.api import Degradation, Observation, Restore, Rng, State, Step
from rethaw.builtin.samplers.params import Cold as ColdParams
from rethaw.builtin.samplers.params import Direct as DirectParams
from rethaw.builtin.samplers.params import Naive as NaiveParams
from rethaw.builtin.samplers.params import Renoise as RenoiseParams
from rethaw.ops import expand, randn, severity_pairs


def last_step(x: Tensor) -> Step:
    """Where every trajectory ends: severity 0, the image, and the image again."""
    return Step(x.new_zeros(x.shape[0]), x, x)


def unknown_state(degradation: Degradation, state: State | None) -> str | None:
    """Why a walk that degrades again cannot start, or None."""
    if state is None and not hasattr(degradation, "infer"):
        return "the degradation's random state is not known, and the degradation cannot infer it"
    return None


def explaining(
    degradation: Degradation, x: Tensor, x0_hat: Tensor, t: Tensor, state: State | None, inferred: bool = False
) -> State:
    """ξ if it is given, else (or if it is to be inferred) the one that explains x_t by x̂0."""
    if state is not None and not inferred:
        return state
    found: State = degradation.infer(x, x0_hat, t, state or {})  # type: ignore[attr-defined]
    return found


class Direct:
    """x̂0 = R(x_t, t)."""

    def __init__(self, params: DirectParams) -> None:
        self.params = params

    def check(
        self, degradation: Degradation, state: State | None, observation: Observation | None = None
    ) -> str | None:
        return None

    def severities(self, degradation: Degradation, start: float = 1.0) -> Tensor:
        return torch.tensor([start, 0.0], dtype=torch.float64)

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
        t = expand(severities[0], x)
        x0_hat = restore(x, t).x0
        yield Step(t, x, x0_hat)
        yield last_step(x0_hat)


class Naive:
    """Algorithm 1: x_s = D(R(x_t, t), s, ξ)."""

    def __init__(self, params: NaiveParams) -> None:
        self.params = params

    def check(
        self, degradation: Degradation, state: State | None, observation: Observation | None = None
    ) -> str | None:
        return unknown_state(degradation, state)

    def severities(self, degradation: Degradation, start: float = 1.0) -> Tensor:
        return torch.linspace(start, 0.0, self.params.steps + 1, dtype=torch.float64)

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
        for t, s in severity_pairs(severities, x):
            x0_hat = restore(x, t).x0
            yield Step(t, x, x0_hat)
            ξ = explaining(degradation, x, x0_hat, t, state)
            x = degradation.degrade(x0_hat, s, ξ)
        yield last_step(x)


class Cold:
    """Algorithm 2: x_s = x_t - D(x̂0, t, ξ) + D(x̂0, s, ξ), with ξ fixed, or inferred from x_t and x̂0 at each step.

    For a degradation linear in t it recovers x0 under any restorer (section 3.3 of the paper). With inferred ξ and
    Gaussian noise it is DDIM with η = 0 (2010.02502, eq. 12). White noise δ on x_1 breaks the symmetry of flat starts.
    """

    def __init__(self, params: ColdParams) -> None:
        self.params = params
        self.inferred = params.state == "inferred"

    def check(
        self, degradation: Degradation, state: State | None, observation: Observation | None = None
    ) -> str | None:
        return unknown_state(degradation, None if self.inferred else state)

    def severities(self, degradation: Degradation, start: float = 1.0) -> Tensor:
        return torch.linspace(start, 0.0, self.params.steps + 1, dtype=torch.float64)

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
        if self.params.noise:
            x = x + self.params.noise * randn(x, generator)
        for t, s in severity_pairs(severities, x):
            x0_hat = restore(x, t).x0
            yield Step(t, x, x0_hat)
            ξ = explaining(degradation, x, x0_hat, t, state, self.inferred)
            x = x - degradation.degrade(x0_hat, t, ξ) + degradation.degrade(x0_hat, s, ξ)
        yield last_step(x)


class Renoise:
    """x_s = D(R(x_t, t), s, ξ') with ξ' drawn anew at each step (2303.01469, Algorithm 1, for any degradation)."""

    def __init__(self, params: RenoiseParams) -> None:
        self.params = params

    def check(
        self, degradation: Degradation, state: State | None, observation: Observation | None = None
    ) -> str | None:
        return None

    def severities(self, degradation: Degradation, start: float = 1.0) -> Tensor:
        return torch.linspace(start, 0.0, self.params.steps + 1, dtype=torch.float64)

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
        for t, s in severity_pairs(severities, x):
            x0_hat = restore(x, t).x0
            yield Step(t, x, x0_hat)
            x = degradation.degrade(x0_hat, s, degradation.draw(x, generator))
        yield last_step(x)
