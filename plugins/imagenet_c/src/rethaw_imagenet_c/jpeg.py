"""JPEG compression, at the published qualities."""

from __future__ import annotations

import torch
from torch import Tensor

from rethaw.api import State
from rethaw.ops import JPEG_CHROMINANCE, JPEG_LUMINANCE, Constant, jpeg_coded, jpeg_table
from rethaw_imagenet_c.levels import Corruption, clip, shares

QUALITY = torch.tensor((100.0, 25.0, 18.0, 15.0, 10.0, 7.0), dtype=torch.float64)
TABLES = [
    Constant(jpeg_table(torch.tensor(base, dtype=torch.float64), QUALITY))
    for base in (JPEG_LUMINANCE, JPEG_CHROMINANCE)
]


class JpegCompression(Corruption):
    """Colours are YCbCr with chroma at half the size; other channels are all coded as luminance.

    The tables are linear between the published qualities; below level 1 the result is blended into x0, since even
    quality 100 is no identity. The gradient passes straight through the rounding.
    """

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        level = self.level(u, x0)
        share, weight = shares(level), level.clamp_max(1).view(-1, 1, 1, 1)
        x = x0.to(level.dtype)
        coded = jpeg_coded(x, *(torch.tensordot(share, t.like(share), 1) for t in TABLES))
        pairs = zip(x.split(1, 1), coded, strict=True)
        return torch.cat([clip(torch.lerp(a, b.clamp_(0, 1), weight), a) for a, b in pairs], 1).to(x0.dtype)
