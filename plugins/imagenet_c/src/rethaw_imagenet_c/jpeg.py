"""JPEG compression: blocks of cosine coefficients, rounded to multiples of the tables that every encoder uses."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from rethaw.api import State
from rethaw.ops import JPEG_CHROMINANCE, JPEG_LUMINANCE, Constant
from rethaw_imagenet_c.levels import Corruption, clip, each_channel, shares

QUALITY = (100, 25, 18, 15, 10, 7)
TO_YCC = ((0.299, 0.587, 0.114), (-0.168735892, -0.331264108, 0.5), (0.5, -0.418687589, -0.081312411))
TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136286, -0.714136286), (1.0, 1.772, 0.0))  # JFIF, full range


class JpegCompression(Corruption):
    """Colours are YCbCr with chroma at half the size; other channels are all coded as luminance.

    The tables are linear between the published qualities; below level 1 the result is blended into x0, since even
    quality 100 is no identity. The gradient passes straight through the rounding.
    """

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        level = self.level(u, x0)
        share, weight = shares(level), level.clamp_max(1).view(-1, 1, 1, 1)
        luminance, chrominance = (torch.tensordot(share, t.like(share), 1)[:, None] for t in TABLES)
        x = x0.to(level.dtype)

        def grey(x: Tensor) -> Tensor:
            return code(x * 255 - 128, luminance).add_(128)

        def blended(x: Tensor, coded: Tensor) -> Tensor:
            return clip(torch.lerp(x, coded.div_(255).clamp_(0, 1), weight), x)

        if x0.shape[1] != 3:
            return each_channel(lambda x: blended(x, grey(x)), x).to(x0.dtype)
        y, blue, red = mix(x.split(1, 1), TO_YCC)
        planes = [grey(y), half_size(blue, chrominance), half_size(red, chrominance)]
        del y, blue, red
        coded = mix(planes, TO_RGB)
        del planes
        return torch.cat([blended(*pair) for pair in zip(x.split(1, 1), coded, strict=True)], 1).to(x0.dtype)


def mix(channels: Sequence[Tensor], matrix: tuple[tuple[float, ...], ...]) -> list[Tensor]:
    """A 3 x 3 matrix on three channels (B, 1, H, W)."""
    first, second, third = channels
    return [torch.add(first * a, second, alpha=b).add_(third, alpha=c) for a, b, c in matrix]


def half_size(chroma: Tensor, table: Tensor) -> Tensor:
    """Codes chroma at half the size, and enlarges it again with a triangle filter, as libjpeg does."""
    height, width = chroma.shape[-2:]
    small = F.avg_pool2d(F.pad(chroma * 255, (0, width % 2, 0, height % 2), mode="replicate"), 2)
    return F.interpolate(code(small, table), scale_factor=2.0, mode="bilinear")[..., :height, :width]


def code(x: Tensor, table: Tensor) -> Tensor:
    """Rounds the cosine coefficients of 8 x 8 blocks to multiples of table (B, 1, 8, 8); the last blocks are filled."""
    batch, channels, height, width = x.shape
    padded = F.pad(x, (0, -width % 8, 0, -height % 8), mode="replicate")
    down, across = padded.shape[-2] // 8, padded.shape[-1] // 8
    blocks = padded.view(batch, channels * down, 8, across, 8).transpose(2, 3)
    dct, table = COSINES.like(x), table.unsqueeze(2)
    scaled = dct @ blocks @ dct.T / table
    rounded = scaled + (scaled.round() - scaled).detach()
    pixels = (dct.T @ (rounded * table) @ dct).transpose(2, 3)
    return pixels.reshape(batch, channels, down * 8, across * 8)[..., :height, :width]


def cosines() -> Tensor:
    """The orthonormal 8-point DCT-II."""
    k, n = torch.arange(8, dtype=torch.float64)[:, None], torch.arange(8, dtype=torch.float64)
    rows = torch.cos(math.pi * k * (2 * n + 1) / 16) / 2
    rows[0] /= math.sqrt(2)
    return rows


def scaled_table(base: tuple[tuple[int, ...], ...], quality: int) -> Tensor:
    """libjpeg's table for a quality from 1 to 100, (8, 8)."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return ((torch.tensor(base) * percent + 50) // 100).clamp(1, 255).double()


TABLES = [
    Constant(torch.stack([scaled_table(base, q) for q in QUALITY])) for base in (JPEG_LUMINANCE, JPEG_CHROMINANCE)
]
COSINES = Constant(cosines())
