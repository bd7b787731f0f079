"""Loss of colour."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rethaw.api import SVD, Rng, State
from rethaw.builtin.degradations.params import Desaturate as Params
from rethaw.ops import LUMA, Constant, channel_svd, per_image

WEIGHTS = {"mean": (1 / 3, 1 / 3, 1 / 3), "luma": LUMA}


class Desaturate:
    """D(x0, u) = x0 + a(u) (grey(x0) - x0), grey a weighted mean of the channels; nothing is random."""

    def __init__(self, params: Params) -> None:
        self.params = params
        self.weights = WEIGHTS[params.weights]
        self.column = Constant(self.weights)

    def draw(self, like: Tensor, generator: Rng) -> State:
        return {}

    def lost(self, u: Tensor) -> Tensor:
        """a, the part of the colour that is gone, (B,)."""
        p = self.params
        return p.amount * (u if p.keep is None else 1 - torch.exp(u * (p.steps * math.log(p.keep))))

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        r, g, b = self.weights
        grey = r * x0[:, 0:1] + g * x0[:, 1:2] + b * x0[:, 2:3]
        return torch.lerp(x0, grey.expand_as(x0), per_image(self.lost(u), x0))

    def adjoint(self, y: Tensor, u: Tensor, state: State) -> Tensor:
        a = per_image(self.lost(u), y)
        w = self.column.like(y).view(1, 3, 1, 1)
        return (1 - a) * y + a * w * y.sum(1, keepdim=True)

    def svd(self, like: Tensor, u: Tensor, state: State) -> SVD:
        a = self.lost(u).to(like.dtype).view(-1, 1, 1)
        return channel_svd((1 - a) * torch.eye(3, device=like.device, dtype=like.dtype) + a * self.column.like(like))
