"""Pixelation: sums over blocks as small matrix products, and their means repeated."""

from __future__ import annotations

import torch
from torch import Tensor

from rethaw.api import SVD, Rng, State
from rethaw_kornia.plugin import Pixelate as Params
from rethaw_kornia.two_blocks import blended_svd


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
        b = (1 + u.to(x0.dtype) * (self.params.block_max - 1)).view(-1, 1, 1, 1)
        below = b.floor()
        coarser = blocks(x0, below.flatten() + 1)
        fine = torch.where(below > 1, blocks(x0, below.flatten().clamp_min(2)), x0)
        return fine.lerp_(coarser, b - below)

    adjoint = degrade  # a mean over blocks is a projection, and symmetric

    def svd(self, like: Tensor, u: Tensor, state: State) -> SVD:
        return blended_svd(like, 1 + u.to(like.dtype) * (self.params.block_max - 1))


def blocks(x: Tensor, side: Tensor) -> Tensor:
    """The mean over blocks of `side` (B,) pixels, two at least, of images (B, C, H, W)."""
    batch, channels, height, width = x.shape
    rows, down = block_means(height, side)
    columns, across = (rows, down) if width == height else block_means(width, side)
    means = (x.reshape(batch, channels * height, width) @ columns.mT).view(batch, channels, height, -1)
    means = rows.unsqueeze(1) @ means  # one value for each block
    at = (down.unsqueeze(2) * columns.shape[1] + across.unsqueeze(1)).view(batch, 1, -1)
    return means.flatten(2).gather(2, at.expand(-1, channels, -1)).view(x.shape)


def block_means(size: int, side: Tensor) -> tuple[Tensor, Tensor]:
    """For a line of `size` pixels: the (B, N, size) matrices of its blocks' means, and each pixel's block (B, size).

    N is the number of blocks of two pixels; where blocks are larger, the last rows are zero.
    """
    block = torch.arange(size, device=side.device, dtype=side.dtype).div(side[:, None], rounding_mode="floor")
    number = torch.arange((size + 1) // 2, device=side.device, dtype=side.dtype)
    inside = (block.unsqueeze(1) == number.unsqueeze(1)).to(side.dtype)
    return inside / inside.sum(-1, keepdim=True).clamp_min(1), block.long()
