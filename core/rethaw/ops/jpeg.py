"""JPEG: blocks of cosine coefficients, rounded to multiples of the tables that every encoder uses.

The tables are those of ITU-T T.81, K.1 and K.2: rows of 8 × 8 cosine coefficients, for quality 50.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from rethaw.ops.linear import Constant

JPEG_LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
JPEG_CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
TO_YCC = ((0.299, 0.587, 0.114), (-0.168735892, -0.331264108, 0.5), (0.5, -0.418687589, -0.081312411))
TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136286, -0.714136286), (1.0, 1.772, 0.0))  # JFIF, full range


def jpeg_table(base: Tensor, quality: Tensor) -> Tensor:
    """libjpeg's tables for whole qualities (B,) from 1 to 100, from that of quality 50 (8, 8): (B, 1, 8, 8)."""
    percent = torch.where(quality < 50, (5000 / quality).floor(), 200 - 2 * quality).view(-1, 1, 1, 1)
    return ((base * percent + 50) / 100).floor().clamp(1, 255)


def jpeg_coded(x: Tensor, luminance: Tensor, chrominance: Tensor) -> list[Tensor]:
    """The channels of images x (B, C, H, W) in [0, 1] after JPEG with these tables (B, 1, 8, 8), not clipped.

    Three channels are coded as YCbCr with chroma at half the size, others each as luminance. The gradient passes
    straight through the rounding.
    """

    def grey(x: Tensor) -> Tensor:
        return code(x * 255 - 128, luminance).add_(128)

    if x.shape[1] != 3:
        planes = [grey(channel) for channel in x.split(1, 1)]
    else:
        y, blue, red = mix(list(x.split(1, 1)), TO_YCC)
        planes = [grey(y), half_size(blue, chrominance), half_size(red, chrominance)]
        del y, blue, red
        planes = mix(planes, TO_RGB)
    return [plane.div_(255) for plane in planes]


def mix(channels: list[Tensor], matrix: tuple[tuple[float, ...], ...]) -> list[Tensor]:
    """A 3 x 3 matrix on three channels (B, 1, H, W)."""
    first, second, third = channels
    return [torch.add(first * a, second, alpha=b).add_(third, alpha=c) for a, b, c in matrix]


def half_size(chroma: Tensor, table: Tensor) -> Tensor:
    """Codes chroma at half the size, and enlarges it again with a triangle filter, as libjpeg does."""
    height, width = chroma.shape[-2:]
    small = F.avg_pool2d(F.pad(chroma * 255, (0, width % 2, 0, height % 2), mode="replicate"), 2)
    return F.interpolate(code(small, table), scale_factor=2.0, mode="bilinear")[..., :height, :width]


def code(x: Tensor, table: Tensor) -> Tensor:
    """Rounds the cosine coefficients of 8 x 8 blocks to multiples of table (B, 1, 8, 8); the last blocks are filled.

    A block is a vector of 64 values, so that its transform is one product with a 64 x 64 matrix.
    """
    batch, channels, height, width = x.shape
    padded = F.pad(x, (0, -width % 8, 0, -height % 8), mode="replicate")
    down, across = padded.shape[-2] // 8, padded.shape[-1] // 8
    blocks = padded.view(batch, channels * down, 8, across, 8).transpose(2, 3).reshape(batch, -1, 64)
    dct, table = COSINES.like(x), table.reshape(batch, 1, 64)
    scaled = blocks @ dct.T / table
    rounded = scaled + (scaled.round() - scaled).detach() if scaled.requires_grad else scaled.round_()
    pixels = ((rounded * table) @ dct).view(batch, channels * down, across, 8, 8).transpose(2, 3)
    return pixels.reshape(batch, channels, down * 8, across * 8)[..., :height, :width]


def cosines() -> Tensor:
    """The orthonormal DCT-II of 8 x 8 values, (64, 64)."""
    k, n = torch.arange(8, dtype=torch.float64)[:, None], torch.arange(8, dtype=torch.float64)
    rows = torch.cos(math.pi * k * (2 * n + 1) / 16) / 2
    rows[0] /= math.sqrt(2)
    return torch.kron(rows, rows)


COSINES = Constant(cosines())
