"""Zoom blur, and the zoom that snow shares with it."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from rethaw.api import State
from rethaw.ops import Constant, separable
from rethaw_imagenet_c.levels import TOP, Corruption, shares

ZOOMS = (
    tuple(range(100, 112)),
    tuple(range(100, 116)),
    tuple(range(100, 121, 2)),
    tuple(range(100, 125, 2)),
    tuple(range(100, 131, 3)),
)
"""The factors of each level, in per cent."""
ABOVE = 1 + 1e-12  # where a size times a factor ends in exactly one half, it is rounded up
FACTORS = sorted({factor for level in ZOOMS for factor in level})


class ZoomBlur(Corruption):
    """D = Σ_f w_f Z_f x0 Z_fᵀ, the mean of the image and its enlargements by the factors of its level."""

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        return self.mean(x0, u, enlarged)

    def adjoint(self, y: Tensor, u: Tensor, state: State) -> Tensor:
        return self.mean(y, u, enlarged_adjoint)

    def mean(self, x: Tensor, u: Tensor, zoom: Callable[[Tensor, float], Tensor]) -> Tensor:
        level = self.level(u, x)
        weights = (shares(level) @ WEIGHTS.like(level)).to(x.dtype)
        result = x * weights[:, 0].view(-1, 1, 1, 1)  # a factor of one is the image itself
        for i, factor in enumerate(FACTORS[1:], 1):
            result = torch.addcmul(result, zoom(x, factor / 100 * ABOVE), weights[:, i].view(-1, 1, 1, 1))
        return result


def enlarged(x: Tensor, factor: float) -> Tensor:
    """Z x Zᵀ: the middle of x (B, C, H, W), enlarged to its size."""
    height, width = x.shape[-2:]
    rows, columns = cropped(height, factor), cropped(width, factor)
    seen = x[..., (height - rows) // 2 :, (width - columns) // 2 :][..., :rows, :columns]
    size = round(rows * factor), round(columns * factor)
    return F.interpolate(seen, size, mode="bilinear", align_corners=True)[..., :height, :width]


def enlarged_adjoint(y: Tensor, factor: float) -> Tensor:
    """Zᵀ y Z, by matrices."""
    rows, columns = (zoom_rows(size, factor, y).mT for size in y.shape[-2:])
    return separable(y, rows, columns)


def zoom_weights() -> Tensor:
    """The weight of each factor at levels 0 … 5, (6, F); the image itself counts once more."""
    rows = torch.zeros(TOP + 1, len(FACTORS), dtype=torch.float64)
    rows[:, 0] = 1
    for row, factors in zip(rows[1:], ZOOMS, strict=True):
        row[[FACTORS.index(factor) for factor in factors]] += 1
        row /= len(factors) + 1
    return rows


def cropped(size: int, factor: float) -> int:
    """How many pixels of a line an enlargement by `factor` shows."""
    return math.ceil(size / factor)


def places(size: int, crop: int, factor: float, like: Tensor, centred: bool = False) -> Tensor:
    """Where the `size` pixels of an enlargement lie between its `crop` source pixels, (size,).

    An enlargement may be some pixels longer than `size`: its first ones are shown, or the middle if `centred`.
    """
    whole = round(crop * factor)
    skip = (whole - size) // 2 if centred else 0
    return (torch.arange(size, device=like.device, dtype=like.dtype) + skip) * ((crop - 1) / max(whole - 1, 1))


def zoom_rows(size: int, factor: float, like: Tensor) -> Tensor:
    """The (1, size, size) matrix that enlarges the middle of a line by `factor`, linear between its pixels."""
    crop = cropped(size, factor)
    at = places(size, crop, factor, like) + (size - crop) // 2
    pixel = torch.arange(size, device=like.device, dtype=like.dtype)
    return (1 - (at[:, None] - pixel).abs()).clamp_min(0).unsqueeze(0)


def enlarge(x: Tensor, height: int, width: int, factor: float, centred: bool = False) -> Tensor:
    """x (…, rows, columns) enlarged by `factor`, of which (…, height, width) are shown, linear between its pixels."""
    for axis, size in ((-1, width), (-2, height)):
        at = places(size, x.shape[axis], factor, x, centred)
        low = at.long().clamp_max(max(x.shape[axis] - 2, 0))
        part = (at - low).view(-1, 1) if axis == -2 else at - low
        high = (low + 1).clamp_max(x.shape[axis] - 1)
        x = torch.lerp(x.index_select(axis, low), x.index_select(axis, high), part)
    return x


WEIGHTS = Constant(zoom_weights())
