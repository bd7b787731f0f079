"""Elastic transform: a smooth field of small displacements."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from rethaw.api import Rng, State
from rethaw.ops import rand, separable
from rethaw_imagenet_c.levels import Corruption, constants, table

ALPHA = table([[0.0], [12.5], [16.25], [21.25], [25.0], [30.0]])
REACH, SMOOTH = 0.005, 0.01  # of the sides: the raw displacement, the σ that smooths it
TRUNCATE = 3.0  # of σ


class ElasticTransform(Corruption):
    """D[p] = x0[p + α d(p)], linear between pixels, mirrored beyond the border.

    d is a smoothed field of uniform noise, state {"field": (B, 2, H, W)}: that noise, on [-1, 1], in x and y.
    """

    def draw(self, like: Tensor, generator: Rng) -> State:
        return {"field": 2 * rand(like, generator, (2, *like.shape[-2:])) - 1}

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        (alpha,) = constants(ALPHA, self.level(u, x0))
        height, width = x0.shape[-2:]
        work = x0.to(alpha.dtype)
        field = state["field"].to(alpha.dtype) * (REACH * height * alpha)
        dx, dy = separable(field, smooth_rows(height, field), smooth_rows(width, field)).unbind(1)
        x = torch.arange(width, device=x0.device, dtype=alpha.dtype) + dx
        y = torch.arange(height, device=x0.device, dtype=alpha.dtype)[:, None] + dy
        grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], -1)
        moved = F.grid_sample(work, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
        return torch.where(alpha > 0, moved, work).to(x0.dtype)


def smooth_rows(size: int, like: Tensor) -> Tensor:
    """The (1, size, size) matrix of a Gaussian blur of σ = SMOOTH size, mirrored with the border (cba|abc|cba)."""
    sigma = SMOOTH * size
    radius = int(TRUNCATE * sigma + 0.5)
    at = torch.arange(-radius, radius + 1, device=like.device)
    weights = torch.exp(-(at / sigma).square() / 2).to(like.dtype)
    source = (torch.arange(size, device=like.device)[:, None] + at).remainder(2 * size)
    source = torch.minimum(source, 2 * size - 1 - source)
    matrix = like.new_zeros(size, size).scatter_add(1, source, (weights / weights.sum()).expand_as(source).contiguous())
    return matrix.unsqueeze(0)
