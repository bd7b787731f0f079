"""Degradations that are made of others: of a mixture each image meets one, of a chain all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import copy
from typing import Any, Self

import torch
from torch import Tensor

from rethaw.api import Rng, State, has_adjoint
from rethaw.builtin.degradations.params import Chain as ChainParams
from rethaw.builtin.degradations.params import Mixture as MixtureParams
from rethaw.ops import Constant, only, rand

SHARED = ("bounded", "differentiable", "compilable", "linear", "continuous")
"""Traits that they have if all their members have them."""


class Members:
    """What both share; state: each member's, prefixed with its number."""

    memory = 6.0  # what a member may take, the result so far and the next one

    def __init__(self, members: tuple[Any, ...]) -> None:
        self.members = members
        for trait in SHARED:
            setattr(self, trait, all(getattr(member, trait) for member in members))
        self.fields = tuple(dict.fromkeys(field for member in members for field in member.fields))
        self.channels = next((member.channels for member in members if member.channels), None)
        if all(has_adjoint(member) for member in members):
            self.adjoint = self._adjoint

    def for_items(self, items: Mapping[str, Tensor]) -> Self:
        """The same for images that have these fields, which members may ask for."""
        bound = copy(self)
        bound.members = tuple(member.for_items(items) for member in self.members)
        return bound

    def draw(self, like: Tensor, generator: Rng) -> State:
        drawn = ((i, member.draw(like, generator)) for i, member in enumerate(self.members))
        return {f"{i}.{key}": value for i, state in drawn for key, value in state.items()}

    def each(self, state: State) -> Iterator[tuple[Any, State]]:
        """Each member with its own state."""
        for i, member in enumerate(self.members):
            yield member, {k.removeprefix(f"{i}."): v for k, v in state.items() if k.startswith(f"{i}.")}

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        raise NotImplementedError

    def _adjoint(self, y: Tensor, u: Tensor, state: State) -> Tensor:
        raise NotImplementedError


class Mixture(Members):
    """D(x0, u, ξ) = D_choice(x0, u, ξ_choice); state: the members', and "choice" (B,)."""

    def __init__(self, params: MixtureParams) -> None:
        super().__init__(params.of)
        weights = params.weights or (1.0,) * len(params.of)
        if len(weights) != len(params.of):
            raise ValueError(f"{len(weights)} weights for {len(params.of)} members")
        self.edges = Constant(torch.tensor(weights, dtype=torch.float64).cumsum(0) / sum(weights))

    def draw(self, like: Tensor, generator: Rng) -> State:
        at = rand(like, generator, ()).to(torch.float64)
        choice = torch.bucketize(at, self.edges.like(at), right=True).clamp_max(len(self.members) - 1)
        return {"choice": choice, **super().draw(like, generator)}

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        return self.chosen(lambda member: member.degrade, x0, u, state)

    def _adjoint(self, y: Tensor, u: Tensor, state: State) -> Tensor:
        return self.chosen(lambda member: member.adjoint, y, u, state)

    def chosen(self, method: Callable[[Any], Any], x: Tensor, u: Tensor, state: State) -> Tensor:
        """A method of each image's own member."""
        for i, (member, own) in enumerate(self.each(state)):
            x = only(state["choice"] == i, method(member), x, u, own)
        return x


class Chain(Members):
    """D(x0, u, ξ) = D_n(… D_1(x0, u, ξ_1) …, u, ξ_n); shuffled, each image has its own order, the state "order" (B, n).

    order[:, p] is the member that comes at place p.
    """

    def __init__(self, params: ChainParams) -> None:
        super().__init__(params.of)
        self.shuffle = params.shuffle

    def draw(self, like: Tensor, generator: Rng) -> State:
        drawn = super().draw(like, generator)
        if not self.shuffle:
            return drawn
        wide = like.to(torch.promote_types(like.dtype, torch.float32))
        return {"order": rand(wide, generator, (len(self.members),)).argsort(1), **drawn}

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        return self.passed(lambda member: member.degrade, x0, u, state, range(len(self.members)))

    def _adjoint(self, y: Tensor, u: Tensor, state: State) -> Tensor:
        return self.passed(lambda member: member.adjoint, y, u, state, range(len(self.members))[::-1])

    def passed(self, method: Callable[[Any], Any], x: Tensor, u: Tensor, state: State, places: range) -> Tensor:
        """A method of all members, place by place; at each place, every member sees the images that have it there."""
        members = list(self.each(state))
        for place in places:
            if not self.shuffle:
                member, own = members[place]
                x = method(member)(x, u, own)
                continue
            for i, (member, own) in enumerate(members):
                x = only(state["order"][:, place] == i, method(member), x, u, own)
        return x
