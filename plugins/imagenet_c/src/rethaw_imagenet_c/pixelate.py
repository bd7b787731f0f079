"""Pixelation as a separable linear operator."""

from __future__ import annotations

import torch
from torch import Tensor

from rethaw.api import SVD, State
from rethaw.ops import separable_svd
from rethaw_imagenet_c.convolve import apply_rows, for_both
from rethaw_imagenet_c.levels import Corruption, each_channel, shares

KEPT = (1.0, 0.6, 0.5, 0.4, 0.3, 0.25)  # the share of each side's pixels


class Pixelate(Corruption):
    """D = P_h x0 P_wᵀ, P the mean over the pixels of each of n boxes, n whole at the published levels.

    Between them n is linear, and the operators of the two whole n next to it are blended.
    """

    def rows(self, like: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """P_h and P_w, (B, H, H) and (B, W, W)."""
        share = shares(self.level(u, like))
        return for_both(like, lambda size: pixel_rows(size, boxes(size, share)))

    def degrade(self, x0: Tensor, u: Tensor, state: State, adjoint: bool = False) -> Tensor:
        rows, columns = self.rows(x0, u)
        return each_channel(lambda x: apply_rows(x, rows, columns, adjoint), x0)

    def adjoint(self, y: Tensor, u: Tensor, state: State) -> Tensor:
        return self.degrade(y, u, state, adjoint=True)

    def svd(self, like: Tensor, u: Tensor, state: State) -> SVD:
        return separable_svd(*self.rows(like, u))


def boxes(size: int, share: Tensor) -> Tensor:
    """The number of boxes along a side, (B,), not whole between levels."""
    return sum((max(int(size * kept), 1) * share[:, i] for i, kept in enumerate(KEPT)), torch.zeros_like(share[:, 0]))


def pixel_rows(size: int, count: Tensor) -> Tensor:
    """The (B, size, size) matrices of pixelation to `count` (B,) boxes."""
    fewer = (count + 1e-5).floor()
    part = (count - fewer).clamp_min(0)[:, None, None]
    return torch.lerp(whole_rows(size, fewer.long(), count), whole_rows(size, fewer.long() + 1, count), part)


def whole_rows(size: int, count: Tensor, like: Tensor) -> Tensor:
    """The same for whole counts: pixel i shows the box that its middle lies in, the mean of the pixels in it."""
    middle = (2 * torch.arange(size, device=like.device) + 1) * count[:, None]
    shown, member = middle // (2 * size), (middle - 1) // (2 * size)
    same = (shown[:, :, None] == member[:, None, :]).to(like.dtype)
    return same / same.sum(-1, keepdim=True).clamp_min(1)
