"""A mixture of degradations: each image meets one of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import copy
from typing import Any, Self

import torch
from torch import Tensor

from rethaw.api import Rng, State, has_adjoint
from rethaw.builtin.degradations.params import Mixture as Params
from rethaw.ops import Constant, rand

SHARED = ("bounded", "differentiable", "compilable", "linear", "continuous")
"""Traits that a mixture has if all its members have them."""


class Mixture:
    """D(x0, u, ξ) = D_choice(x0, u, ξ_choice); state: each member's, prefixed with its number, and "choice" (B,)."""

    memory = 6.0  # what a member may take, the result so far and the next one

    def __init__(self, params: Params) -> None:
        weights = params.weights or (1.0,) * len(params.of)
        if len(weights) != len(params.of):
            raise ValueError(f"{len(weights)} weights for {len(params.of)} members")
        self.members = params.of
        for trait in SHARED:
            setattr(self, trait, all(getattr(member, trait) for member in params.of))
        self.fields = tuple(dict.fromkeys(field for member in self.members for field in member.fields))
        self.channels = next((member.channels for member in self.members if member.channels), None)
        if all(has_adjoint(member) for member in self.members):
            self.adjoint = self._adjoint
        self.edges = Constant(torch.tensor(weights, dtype=torch.float64).cumsum(0) / sum(weights))

    def for_items(self, items: Mapping[str, Tensor]) -> Self:
        """This mixture for images that have these fields, which members may ask for."""
        bound = copy(self)
        bound.members = tuple(member.for_items(items) for member in self.members)
        return bound

    def draw(self, like: Tensor, generator: Rng) -> State:
        at = rand(like, generator, ()).to(torch.float64)
        choice = torch.bucketize(at, self.edges.like(at), right=True).clamp_max(len(self.members) - 1)
        drawn = {
            f"{i}.{key}": value
            for i, member in enumerate(self.members)
            for key, value in member.draw(like, generator).items()
        }
        return {"choice": choice, **drawn}

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        return self.chosen((member.degrade(x0, u, own) for member, own in self.each(state)), state)

    def _adjoint(self, y: Tensor, u: Tensor, state: State) -> Tensor:
        return self.chosen((member.adjoint(y, u, own) for member, own in self.each(state)), state)

    def each(self, state: State) -> Iterator[tuple[Any, State]]:
        """Each member with its own state."""
        for i, member in enumerate(self.members):
            yield member, {k.removeprefix(f"{i}."): v for k, v in state.items() if k.startswith(f"{i}.")}

    def chosen(self, results: Iterator[Tensor], state: State) -> Tensor:
        """Each image's own result."""
        choice = state["choice"].view(-1, 1, 1, 1)
        result = next(results)
        for i, other in enumerate(results, 1):
            result = torch.where(choice == i, other, result)
        return result
