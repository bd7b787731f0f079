"""A list of degradations as one, and what is known of a state."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from rethaw.api import SVD, Rng, State, has_adjoint, has_coefficients, has_prior, has_svd, infers_state
from rethaw.engine.degradation.fields import Fields
from rethaw.engine.degradation.hosted import PROMISES, Hosted, HostedComponent


class Composition(Hosted):
    """Degradations applied in order, one t for all; their states are prefixed with their ids."""

    def __init__(self, members: Sequence[HostedComponent]) -> None:
        self.members = list(members)
        first = members[0]
        self.name = " + ".join(m.name for m in members)
        self.linear, self.continuous = all(m.linear for m in members), all(m.continuous for m in members)
        self.gaussian = len(members) == 1 and first.gaussian
        self.t_min = max(m.t_min for m in members)
        self.levels = max((m.levels for m in members if m.levels), default=None)
        self.fields = tuple(dict.fromkeys(field for m in members for field in m.fields))
        self.channels = next((m.channels for m in members if m.channels), None)
        self.z_key = f"{first.id}.{first.z_key}"
        for trait in PROMISES:
            setattr(self, trait, all(getattr(m, trait) for m in members))
        self.offer()

    def offer(self) -> None:
        """infer is asked of the last member, prior of the first; coefficients and svd need a single one."""
        first, last, single = self.members[0], self.members[-1], len(self.members) == 1
        if infers_state(last):
            self.infer = self._infer
        if has_prior(first):
            self.prior = self._prior
        if all(has_adjoint(m) for m in self.members):
            self.adjoint = self._adjoint
        if single and has_svd(first):
            self.svd = self._svd
        if single and has_coefficients(first):
            self.coefficients = self._coefficients

    def settle(self, t: Tensor) -> Tensor:
        """Where all members go by the same levels; else some member tells severities of one level apart."""
        first = self.members[0]
        return first.settle(t) if all(m.stairs == first.stairs for m in self.members) else t

    def for_items(self, items: Fields) -> Self:
        bound = copy.copy(self)
        bound.members = [m.for_items(items) for m in self.members]
        bound.offer()
        return bound

    def along(self, severities: Tensor) -> Self:
        if len(self.members) > 1 or not has_coefficients(self):
            return self
        prepared = copy.copy(self)
        prepared.members = [self.members[0].along(severities)]
        prepared.walk = prepared.members[0].walk
        prepared.offer()
        return prepared

    def draw(self, like: Tensor, generator: Rng) -> State:
        return {key: value for m in self.members for key, value in prefixed(m, m.draw(like, generator)).items()}

    def degrade(self, x0: Tensor, t: Tensor, state: State) -> Tensor:
        """D_n(… D_1(x0, t, ξ_1) …, t, ξ_n)."""
        return self.up_to(x0, t, state, len(self.members))

    def up_to(self, x0: Tensor, t: Tensor, state: State, count: int) -> Tensor:
        """The first `count` members applied."""
        for m in self.members[:count]:
            x0 = m.degrade(x0, t, part_of(state, m))
        return x0

    def _infer(self, x_t: Tensor, x0_hat: Tensor, t: Tensor, state: State) -> State:
        """The last member's state; those before it must be known."""
        last = self.members[-1]
        before = self.up_to(x0_hat, t, state, len(self.members) - 1)
        return {**state, **prefixed(last, last.infer(x_t, before, t, part_of(state, last)))}

    def _prior(self, like: Tensor, generator: Rng) -> tuple[Tensor, State]:
        """The first member's x_1, degraded fully by the others."""
        first, rest = self.members[0], self.members[1:]
        x, drawn = first.prior(like, generator)
        state = dict(prefixed(first, drawn))
        t = torch.ones(like.shape[0], device=like.device, dtype=like.dtype)
        for m in rest:
            drawn = m.draw(like, generator)
            x = m.degrade(x, t, drawn)
            state |= prefixed(m, drawn)
        return x, state

    def _coefficients(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return self.members[0].coefficients(t)

    def _adjoint(self, y: Tensor, t: Tensor, state: State) -> Tensor:
        for m in reversed(self.members):
            y = m.adjoint(y, t, part_of(state, m))
        return y

    def _svd(self, like: Tensor, t: Tensor, state: State) -> SVD:
        return self.members[0].svd(like, t, part_of(state, self.members[0]))


def prefixed(member: HostedComponent, state: State) -> State:
    """A member's state as it stands in the composition's."""
    return {f"{member.id}.{key}": value for key, value in state.items()}


def part_of(state: State, member: HostedComponent) -> State:
    """A member's part of a composition's state."""
    start = f"{member.id}."
    return {key.removeprefix(start): value for key, value in state.items() if key.startswith(start)}


# --- states that are known, or not ---------------------------------------------------------------------------------


def before_last(degradation: Hosted, state: State) -> list[str]:
    """The members of a composition with a part in the state that they cannot infer, because others come after them."""
    members = degradation.members[:-1] if isinstance(degradation, Composition) else []
    return [m.name for m in members if part_of(state, m)]


def without_infer(degradation: Hosted) -> Hosted:
    """A degradation that does not infer, as a sampler should see it where that could not find the whole state."""
    if not infers_state(degradation):
        return degradation
    blind = copy.copy(degradation)
    del blind.infer
    return blind


def known(degradation: Hosted, state: State) -> State | None:
    """A state that was drawn just now, as samplers should get it: None where they are to infer it."""
    return None if state and infers_state(degradation) and not before_last(degradation, state) else state
