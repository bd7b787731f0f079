"""JPEG artefacts."""

from __future__ import annotations

import torch
from torch import Tensor

from rethaw.api import Rng, State
from rethaw.builtin.degradations.photo_params import Jpeg as Params
from rethaw.ops import JPEG_CHROMINANCE, JPEG_LUMINANCE, Constant, jpeg_coded, jpeg_table, per_image


class Jpeg:
    """D(x0, u) = codec(x0, q) with q = 100 - u (100 - quality_min), rounded, on [0, 1]; nothing is random."""

    def __init__(self, params: Params) -> None:
        self.params = params
        self.bases = [Constant(torch.tensor(values)) for values in (JPEG_LUMINANCE, JPEG_CHROMINANCE)]

    def draw(self, like: Tensor, generator: Rng) -> State:
        return {}

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        wide = x0.to(torch.promote_types(x0.dtype, torch.float32))
        quality = (100 - u.to(wide.dtype) * (100 - self.params.quality_min)).round()
        tables = (jpeg_table(base.like(quality), quality) for base in self.bases)
        coded = torch.cat(jpeg_coded(wide.clamp(0, 1), *tables), 1).clamp_(0, 1)
        return torch.where(per_image(u, wide) > 0, coded, wide).to(x0.dtype)
