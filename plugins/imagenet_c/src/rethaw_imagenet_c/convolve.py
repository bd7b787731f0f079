"""Correlation with a kernel for each image, tap by tap or (from `rethaw.ops`) by FFT, and its adjoint."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from rethaw.ops import pad, separable, unpad

TINY = 1e-12  # smaller weights would become denormal products, which slow a CPU down


def smooth(x: Tensor, weights: Tensor, adjoint: bool = False) -> Tensor:
    """x (B, C, H, W) weighted along both axes by symmetric taps, those from the middle on: weights (B or 1, R + 1).

    Beyond the border the nearest pixel. Tap by tap: for few taps faster than a matrix, and an image's result has the
    same bits in a batch of any size.
    """
    reach = weights.shape[-1] - 1
    taps = weights.to(x.dtype).view(-1, reach + 1, 1, 1, 1).unbind(1)
    for axis in (-1, -2):
        rows, columns = ((reach, reach), (0, 0)) if axis == -2 else ((0, 0), (reach, reach))
        if adjoint:
            spread = F.pad(F.pad(x, (*columns, *rows)), (*columns, *rows))
            x = unpad(weighted(spread, taps, axis, x.shape[axis] + 2 * reach), rows, columns)
        else:
            x = weighted(pad(x, rows, columns), taps, axis, x.shape[axis])
    return x


def weighted(padded: Tensor, taps: tuple[Tensor, ...], axis: int, size: int) -> Tensor:
    """Σ_i taps[|i|] x[p + i] along one axis, of which the padded x has len(taps) - 1 more pixels on either side."""
    reach = len(taps) - 1
    result = padded.narrow(axis, reach, size) * taps[0]
    for i in range(1, reach + 1):
        result.addcmul_(padded.narrow(axis, reach - i, size) + padded.narrow(axis, reach + i, size), taps[i])
    return result


def gaussian_taps(sigma: Tensor, reach: int) -> Tensor:
    """The taps of a Gaussian of σ (B,) from the middle on, (B, reach + 1); with their mirror images they sum to one."""
    weights = torch.exp(-(torch.arange(reach + 1, device=sigma.device) / sigma.clamp_min(1e-3)[:, None]).square() / 2)
    weights = torch.where(weights < TINY, 0.0, weights)
    return weights / (2 * weights.sum(-1, keepdim=True) - 1)


def gaussian_rows(size: int, sigma: Tensor, radius: int) -> Tensor:
    """The (B, size, size) matrices of a 1-D Gaussian blur of σ (B,), whose border is the nearest pixel."""
    at = torch.arange(-radius, radius + 1, device=sigma.device)
    weights = torch.exp(-(at / sigma.clamp_min(1e-3)[:, None]).square() / 2)
    weights = torch.where(weights < TINY, 0.0, weights)
    weights = weights / weights.sum(-1, keepdim=True)
    line = torch.arange(size, device=sigma.device)
    tap = torch.arange(size + 2 * radius, device=sigma.device) - line[:, None]  # of each row, beyond the border too
    band = torch.where((tap >= 0) & (tap <= 2 * radius), weights[:, tap.clamp(0, 2 * radius)], 0.0)
    before, matrix, after = band.split([radius, size, radius], dim=-1)  # sums of no order that a GPU may choose
    ends = ((line == 0) * before.sum(-1, keepdim=True), (line == size - 1) * after.sum(-1, keepdim=True))
    rows: Tensor = matrix + ends[0] + ends[1]
    return rows


def for_both(x: Tensor, matrix: Callable[[int], Tensor]) -> tuple[Tensor, Tensor]:
    """The matrices of both sides of x, one for both if they are alike."""
    height, width = x.shape[-2:]
    rows = matrix(height).to(x.dtype)
    return rows, rows if height == width else matrix(width).to(x.dtype)


def apply_rows(x: Tensor, rows: Tensor, columns: Tensor, adjoint: bool = False) -> Tensor:
    """rows x columnsᵀ for each image, or its adjoint."""
    if adjoint:
        rows, columns = rows.transpose(-1, -2), columns.transpose(-1, -2)
    return separable(x, rows, columns)
