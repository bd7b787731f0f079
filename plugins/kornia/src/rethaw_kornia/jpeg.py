"""JPEG artefacts by kornia's differentiable codec."""

from __future__ import annotations

import torch
from kornia.enhance import jpeg_codec_differentiable
from torch import Tensor

from rethaw.api import Rng, State
from rethaw.ops import JPEG_CHROMINANCE, JPEG_LUMINANCE, Constant, per_image
from rethaw_kornia.plugin import Jpeg as Params


class Jpeg:
    """D(x0, u) = codec(x0, q) with q = 100 - u (100 - quality_min), on [0, 1]; u = 0 does not code at all.

    kornia reads the qualities that it is given, which would wait for the device. So it is given quality 50, on the CPU,
    and tables that are scaled here.
    """

    def __init__(self, params: Params) -> None:
        self.params = params
        self.tables = [Constant(torch.tensor(values).unsqueeze(0)) for values in (JPEG_LUMINANCE, JPEG_CHROMINANCE)]

    def draw(self, like: Tensor, generator: Rng) -> State:
        return {}

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        wide = x0.to(torch.promote_types(x0.dtype, torch.float32))
        quality = 100 - u.to(wide.dtype).view(-1, 1, 1) * (100 - self.params.quality_min)
        scale = torch.where(quality < 50, 50 / quality, 2 - quality / 50)  # libjpeg's
        y, c = ((table.like(wide) * scale).clamp(1, 255) for table in self.tables)
        coded = jpeg_codec_differentiable(wide.clamp(0, 1), torch.full((1,), 50.0, dtype=wide.dtype), y, c)
        return torch.where(per_image(u, wide) > 0, coded, wide).to(x0.dtype)
