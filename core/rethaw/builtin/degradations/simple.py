"""The plainest degradations: nothing at all, and a fade to one colour."""

from __future__ import annotations

import torch
from torch import Tensor

from rethaw.api import SVD, RethawError, Rng, State
from rethaw.builtin.degradations.params import Fade as FadeParams
from rethaw.builtin.degradations.params import Identity as IdentityParams
from rethaw.ops import Constant, diagonal_svd, per_image, rand, reciprocal


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

    def svd(self, like: Tensor, u: Tensor, state: State) -> SVD:
        return diagonal_svd(like.new_ones(like.shape[0], 1, 1, 1))


class Fade:
    """D(x0, u) = (1 - u) x0 + u c, c one colour: a parameter, or the state {"colour": (B, C, 1, 1)}."""

    def __init__(self, params: FadeParams) -> None:
        self.params = params
        self.colour = Constant(params.colour) if params.colour else None

    def draw(self, like: Tensor, generator: Rng) -> State:
        if self.colour:
            return {}
        return {"colour": (2 * rand(like, generator, (like.shape[1], 1, 1)) - 1) * self.params.spread}

    def flat(self, like: Tensor, state: State) -> Tensor:
        """c, in the shape of `like`."""
        if not self.colour:
            return state["colour"].to(like.dtype).expand_as(like)
        if len(self.colour.values) != like.shape[1]:
            raise RethawError(
                f"core.fade: colour has {len(self.colour.values)} values, the images {like.shape[1]} channels"
            )
        return self.colour.like(like).view(1, -1, 1, 1).expand_as(like)

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        return torch.lerp(x0, self.flat(x0, state), per_image(u, x0))

    def infer(self, x_u: Tensor, x0_hat: Tensor, u: Tensor, state: State) -> State:
        """The mean of (x_u - (1 - u) x0) / u; where u = 0 the image says nothing about it, and it is 0."""
        if self.colour:
            return {}
        u = per_image(u, x_u)
        return {"colour": (x_u - (1 - u) * x0_hat).mean((-2, -1), keepdim=True) * reciprocal(u)}

    def prior(self, like: Tensor, generator: Rng) -> tuple[Tensor, State]:
        state = self.draw(like, generator)
        return self.flat(like, state).clone(), state

    def adjoint(self, y: Tensor, u: Tensor, state: State) -> Tensor:
        return y * (1 - per_image(u, y))

    def svd(self, like: Tensor, u: Tensor, state: State) -> SVD:
        return diagonal_svd(1 - per_image(u, like))
