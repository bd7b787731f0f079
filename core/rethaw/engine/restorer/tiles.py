"""Networks on images of any size: padding to what they need, and overlapping tiles for large images."""

from __future__ import annotations

import itertools
import math
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from rethaw.api import Cond

OVERLAP = 64  # pixels that neighbouring tiles share
TILES_AT_ONCE = 4


class Network(Protocol):
    """A restorer: needs H and W to be multiples of `multiple`."""

    multiple: int

    def __call__(self, x_t: Tensor, t: Tensor, cond: Cond, /) -> Tensor: ...


def padded(network: Network, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
    """Calls the network on images padded to a multiple of what it needs, and crops its answer."""
    height, width = x.shape[-2:]
    down, right = -height % network.multiple, -width % network.multiple
    if down == right == 0:
        return network(x, t, cond)
    cond = {k: pad(v, down, right) if v.dim() == 4 else v for k, v in cond.items()}
    return network(pad(x, down, right), t, cond)[..., :height, :width]


def pad(x: Tensor, down: int, right: int) -> Tensor:
    """Reflects at the lower and right border, or repeats it where the image is too small for that."""
    mode = "reflect" if down < x.shape[-2] and right < x.shape[-1] else "replicate"
    return F.pad(x, (0, right, 0, down), mode=mode)


def tiled(network: Network, x: Tensor, t: Tensor, cond: Cond, tile: int) -> Tensor:
    """Restores large images in tiles that overlap, faded into each other so that no seam shows."""
    height, width = x.shape[-2:]
    if tile == 0 or max(height, width) <= tile:
        return padded(network, x, t, cond)
    overlap = min(OVERLAP, tile // 2)
    size = (min(tile, height), min(tile, width))
    corners = list(itertools.product(starts(height, size[0], overlap), starts(width, size[1], overlap)))
    window = torch.outer(ramp(size[0], overlap, x), ramp(size[1], overlap, x))
    total: Tensor | None = None
    weight = x.new_zeros(height, width)
    for some in batched(corners, max(1, TILES_AT_ONCE // len(x))):
        cut = torch.cat([crop(x, corner, size) for corner in some])
        times = len(some)
        part = {
            k: torch.cat([crop(v, c, size) for c in some]) if v.dim() == 4 else v.repeat(times, *(1,) * (v.dim() - 1))
            for k, v in cond.items()
        }
        restored = padded(network, cut, t.repeat(times), part).chunk(times)
        for (top, left), piece in zip(some, restored, strict=True):
            here = (..., slice(top, top + size[0]), slice(left, left + size[1]))
            total = x.new_zeros(*piece.shape[:2], height, width) if total is None else total
            total[here] += piece * window
            weight[here] += window
    assert total is not None
    return total / weight


def batched(corners: list[tuple[int, int]], count: int) -> list[list[tuple[int, int]]]:
    """Corners in groups that one network call takes."""
    return [corners[i : i + count] for i in range(0, len(corners), count)]


def crop(x: Tensor, corner: tuple[int, int], size: tuple[int, int]) -> Tensor:
    return x[..., corner[0] : corner[0] + size[0], corner[1] : corner[1] + size[1]]


def starts(length: int, size: int, overlap: int) -> list[int]:
    """Where tiles of `size` begin so that they cover `length` evenly, sharing at least `overlap`."""
    count = 1 + -(-(length - size) // (size - overlap))
    return [round(i * (length - size) / max(count - 1, 1)) for i in range(count)]


def ramp(size: int, overlap: int, like: Tensor) -> Tensor:
    """The weight of a tile along one side: sin² over the overlap, so that its border, short of context, hardly counts."""
    at = torch.arange(size, device=like.device, dtype=like.dtype)
    inward = ((torch.minimum(at, size - 1 - at) + 1) / (overlap + 1)).clamp(max=1)
    return torch.sin(inward * (math.pi / 2)).square()
