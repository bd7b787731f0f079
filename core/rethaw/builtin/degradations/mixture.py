"""A mixture of degradations: each image meets one of them."""

from __future__ import annotations

import torch
from torch import Tensor

from rethaw.api import Rng, State
from rethaw.builtin.degradations.params import Mixture as Params
from rethaw.ops import Constant, per_image, rand


class Mixture:
    """D(x0, u, ξ) = D_choice(x0, u, ξ_choice); state: each member's, prefixed with its number, and "choice" (B,)."""

    def __init__(self, params: Params) -> None:
        weights = params.weights or (1.0,) * len(params.of)
        if len(weights) != len(params.of):
            raise ValueError(f"{len(weights)} weights for {len(params.of)} members")
        self.members = params.of
        self.edges = Constant(torch.tensor(weights, dtype=torch.float64).cumsum(0) / sum(weights))

    def draw(self, like: Tensor, generator: Rng) -> State:
        at = rand(like, generator, ()).to(torch.float64)
        choice = torch.bucketize(at, self.edges.like(at), right=True).clamp_max(len(self.members) - 1)
        drawn = {f"{i}.{key}": value for i, member in enumerate(self.members)
                 for key, value in member.draw(like, generator).items()}  # fmt: skip
        return {"choice": choice, **drawn}

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        result = x0
        for i, member in enumerate(self.members):
            own = {k.removeprefix(f"{i}."): v for k, v in state.items() if k.startswith(f"{i}.")}
            chosen = per_image(state["choice"] == i, x0).bool()
            result = torch.where(chosen, member.degrade(x0, u, own), result)
        return result
