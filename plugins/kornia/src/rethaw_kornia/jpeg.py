"""JPEG artefacts by kornia's differentiable codec."""

from __future__ import annotations

import torch
from kornia.enhance import jpeg_codec_differentiable
from torch import Tensor

from rethaw.api import Rng, State
from rethaw.ops import Constant, per_image
from rethaw_kornia.plugin import Jpeg as Params

LUMINANCE = (
    16,
    11,
    10,
    16,
    24,
    40,
    51,
    61,
    12,
    12,
    14,
    19,
    26,
    58,
    60,
    55,
    14,
    13,
    16,
    24,
    40,
    57,
    69,
    56,
    14,
    17,
    22,
    29,
    51,
    87,
    80,
    62,
    18,
    22,
    37,
    56,
    68,
    109,
    103,
    77,
    24,
    35,
    55,
    64,
    81,
    104,
    113,
    92,
    49,
    64,
    78,
    87,
    103,
    121,
    120,
    101,
    72,
    92,
    95,
    98,
    112,
    100,
    103,
    99,
)
CHROMINANCE = (
    17,
    18,
    24,
    47,
    99,
    99,
    99,
    99,
    18,
    21,
    26,
    66,
    99,
    99,
    99,
    99,
    24,
    26,
    56,
    99,
    99,
    99,
    99,
    99,
    47,
    66,
    99,
    99,
    99,
    99,
    99,
    99,
    *(99,) * 32,
)
"""ITU-T T.81, tables K.1 and K.2: those of quality 50."""


class Jpeg:
    """D(x0, u) = codec(x0, q) with q = 100 - u (100 - quality_min), on [0, 1]; u = 0 does not code at all.

    kornia looks at the qualities it is given, which would wait for the device. It is told 50, from the CPU, and the
    tables are scaled here.
    """

    def __init__(self, params: Params) -> None:
        self.params = params
        self.tables = [Constant(torch.tensor(values).view(1, 8, 8)) for values in (LUMINANCE, CHROMINANCE)]

    def draw(self, like: Tensor, generator: Rng) -> State:
        return {}

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        wide = x0.to(torch.promote_types(x0.dtype, torch.float32))
        quality = 100 - u.to(wide.dtype).view(-1, 1, 1) * (100 - self.params.quality_min)
        scale = torch.where(quality < 50, 50 / quality, 2 - quality / 50)  # libjpeg's
        y, c = ((table.like(wide) * scale).clamp(1, 255) for table in self.tables)
        coded = jpeg_codec_differentiable(wide.clamp(0, 1), torch.full((1,), 50.0, dtype=wide.dtype), y, c)
        return torch.where(per_image(u, wide) > 0, coded, wide).to(x0.dtype)
