"""Loss of colour."""

from __future__ import annotations

import torch
from torch import Tensor

from rethaw.api import Rng, State
from rethaw.builtin.degradations.params import Desaturate as Params
from rethaw.ops import Constant, per_image

WEIGHTS = {"mean": (1 / 3, 1 / 3, 1 / 3), "luma": (0.299, 0.587, 0.114)}


class Desaturate:
    """D(x0, u) = x0 + u a (grey(x0) - x0), grey a weighted mean of the channels; nothing is random."""

    def __init__(self, params: Params) -> None:
        self.params = params
        self.weights = WEIGHTS[params.weights]
        self.column = Constant(self.weights)

    def draw(self, like: Tensor, generator: Rng) -> State:
        return {}

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        r, g, b = self.weights
        grey = r * x0[:, 0:1] + g * x0[:, 1:2] + b * x0[:, 2:3]
        return torch.lerp(x0, grey.expand_as(x0), per_image(u * self.params.amount, x0))

    def adjoint(self, y: Tensor, u: Tensor, state: State) -> Tensor:
        a = per_image(u * self.params.amount, y)
        w = self.column.like(y).view(1, 3, 1, 1)
        return (1 - a) * y + a * w * y.sum(1, keepdim=True)
