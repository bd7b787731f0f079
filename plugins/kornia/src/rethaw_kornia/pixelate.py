"""Pixelation as a separable linear operator."""

from __future__ import annotations

import torch
from torch import Tensor

from rethaw.api import Rng, State
from rethaw.ops import separable
from rethaw_kornia.plugin import Pixelate as Params


class Pixelate:
    """D(x0, u) = P_b x0 P_bᵀ, P_b the mean over blocks of b = 1 + u (block_max - 1) pixels.

    Between whole b the two images next to it are blended, so that D is continuous in u. The last block of a row is
    smaller where b does not divide the side.
    """

    def __init__(self, params: Params) -> None:
        self.params = params

    def draw(self, like: Tensor, generator: Rng) -> State:
        return {}

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        b = 1 + u.to(x0.dtype) * (self.params.block_max - 1)
        below = b.floor()
        part = (b - below).view(-1, 1, 1, 1)
        return self.blocks(x0, below).lerp_(self.blocks(x0, below + 1), part)

    adjoint = degrade  # a mean over blocks is a projection, and symmetric

    def blocks(self, x: Tensor, side: Tensor) -> Tensor:
        """The mean over blocks of `side` (B,) pixels."""
        height, width = x.shape[-2:]
        rows = block_mean(height, side)
        return separable(x, rows, rows if width == height else block_mean(width, side))


def block_mean(size: int, side: Tensor) -> Tensor:
    """The (B, size, size) matrices of the mean over blocks of `side` (B,) pixels."""
    block = torch.arange(size, device=side.device, dtype=side.dtype).div(side[:, None], rounding_mode="floor")
    same = (block[:, :, None] == block[:, None, :]).to(side.dtype)
    return same / same.sum(-1, keepdim=True)
