"""Elastic transform: a smooth field of small displacements."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from rethaw.api import Rng, State
from rethaw.ops import rand
from rethaw_imagenet_c.convolve import gaussian_taps, weighted
from rethaw_imagenet_c.levels import Corruption, constants, each_channel, table

ALPHA = table([[0.0], [12.5], [16.25], [21.25], [25.0], [30.0]])
REACH, SMOOTH = 0.005, 0.01  # of the sides: the raw displacement, the σ that smooths it
TRUNCATE = 3.0  # of σ


class ElasticTransform(Corruption):
    """D[p] = x0[p + α d(p)], linear between pixels, mirrored beyond the border.

    State: {"field": (B, 2, H, W)}, d in x and y: uniform noise, smoothed.
    """

    def draw(self, like: Tensor, generator: Rng) -> State:
        height, width = like.shape[-2:]
        noise = (2 * rand(like, generator, (2, height, width)) - 1) * (REACH * height)
        return {"field": smoothed(smoothed(noise, -1), -2)}

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        (alpha,) = constants(ALPHA, self.level(u, x0))
        grid = places(state["field"].to(alpha.dtype), alpha)

        def moved(x: Tensor) -> Tensor:
            seen = F.grid_sample(
                x.to(grid.dtype), grid, mode="bilinear", padding_mode="reflection", align_corners=False
            )
            return torch.where(alpha > 0, seen.to(x.dtype), x)

        return each_channel(moved, x0)


def places(field: Tensor, alpha: Tensor) -> Tensor:
    """p + α d(p) as grid_sample counts, the image from -1 to 1, (B, H, W, 2)."""
    height, width = field.shape[-2:]
    x = torch.arange(width, device=field.device, dtype=field.dtype).expand(height, -1)
    y = torch.arange(height, device=field.device, dtype=field.dtype)[:, None].expand(-1, width)
    place = torch.addcmul(torch.stack([x, y]), field, alpha)
    return torch.stack([(2 * place[:, i] + 1) / size - 1 for i, size in enumerate((width, height))], -1)


def smoothed(x: Tensor, axis: int) -> Tensor:
    """A Gaussian blur along one axis of σ = SMOOTH of its size, mirrored with the border (cba|abc|cba)."""
    size = x.shape[axis]
    reach = int(TRUNCATE * SMOOTH * size + 0.5)
    taps = gaussian_taps(torch.full((1,), SMOOTH * size, dtype=x.dtype, device=x.device), reach)[0].unbind()
    at = torch.arange(-reach, size + reach, device=x.device).remainder(2 * size)
    return weighted(x.index_select(axis, torch.minimum(at, 2 * size - 1 - at)), taps, axis, size)
