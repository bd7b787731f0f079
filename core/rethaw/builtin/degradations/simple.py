"""The plainest degradations: nothing at all, and a fade to one colour."""

from __future__ import annotations

import torch
from torch import Tensor

from rethaw.api import RethawError, Rng, State
from rethaw.builtin.degradations.params import Fade as FadeParams
from rethaw.builtin.degradations.params import Identity as IdentityParams
from rethaw.ops import Constant, per_image, rand


class Identity:
    """D(x0, u) = x0."""

    def __init__(self, params: IdentityParams) -> None:
        self.params = params

    def draw(self, like: Tensor, generator: Rng) -> State:
        return {}

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        return x0.clone()

    def adjoint(self, y: Tensor, u: Tensor, state: State) -> Tensor:
        return y.clone()


class Fade:
    """D(x0, u) = (1 - u) x0 + u c, c one colour: a parameter, or the state {"colour": (B, C, 1, 1)}."""

    def __init__(self, params: FadeParams) -> None:
        self.params = params
        self.colour = Constant(params.colour) if params.colour else None

    def draw(self, like: Tensor, generator: Rng) -> State:
        if self.colour:
            return {}
        return {"colour": (2 * rand(like, generator, (like.shape[1], 1, 1)) - 1) * self.params.spread}

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        if not self.colour:
            return torch.lerp(x0, state["colour"].to(x0.dtype).expand_as(x0), per_image(u, x0))
        if len(self.colour.values) != x0.shape[1]:
            raise RethawError(
                f"core.fade: colour has {len(self.colour.values)} values, the images {x0.shape[1]} channels"
            )
        return torch.lerp(x0, self.colour.like(x0).view(1, -1, 1, 1).expand_as(x0), per_image(u, x0))

    def adjoint(self, y: Tensor, u: Tensor, state: State) -> Tensor:
        return y * (1 - per_image(u, y))
