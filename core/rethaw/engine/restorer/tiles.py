"""Networks on images of any size: padding to what they need, and overlapping tiles for large images."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor
from torch.nn import functional as F

from rethaw.api import Cond
from rethaw.engine.restorer.network import Restorer

OVERLAP = 64  # pixels that neighbouring tiles share
TILES_AT_ONCE = 4

Size = tuple[int, int]
"""Height and width."""


PROGRESS: ContextVar[Callable[[float], None] | None] = ContextVar("tile progress", default=None)
"""Called with the part of the image that is done, where large images are restored in tiles."""


@contextmanager
def tile_progress(watch: Callable[[float], None]) -> Iterator[None]:
    """Watches the tiles of all images in a block."""
    token = PROGRESS.set(watch)
    try:
        yield
    finally:
        PROGRESS.reset(token)


def tile_size(restorer: Restorer, tile: int, trained: Sequence[int]) -> Size | None:
    """The tiles that an image larger than them is restored in; None for images of any size at once.

    tile: the side that the pipeline names, 0 for none. trained: the shape (C, H, W) of training images, if it is
    known; a network whose answer depends on the size is used at that.
    """
    multiple = restorer.multiple
    if restorer.fixed_size and trained:
        return trained[-2] + -trained[-2] % multiple, trained[-1] + -trained[-1] % multiple
    side = max(tile - tile % multiple, multiple)
    return (side, side) if tile else None


def tiled(restorer: Restorer, x: Tensor, t: Tensor, cond: Cond, size: Size | None) -> Tensor:
    """The network's output for images (B, C, H, W): padded to the multiple that it needs, in tiles if they are large.

    Tiles overlap, faded into each other so that no seam shows, and begin at multiples of what the network needs, so
    that each pixel lies on the same place of its patch or stride as in the whole image.
    """
    height, width = x.shape[-2:]
    down, right = -height % restorer.multiple, -width % restorer.multiple
    if down or right:
        x = pad(x, down, right)
        cond = {k: pad(v, down, right) if v.dim() == 4 else v for k, v in cond.items()}
    if size is None or (x.shape[-2] <= size[0] and x.shape[-1] <= size[1]):
        out: Tensor = restorer.backbone(x, t, cond)
    else:
        out = in_tiles(restorer, x, t, cond, size)
    return out[..., :height, :width]


def pad(x: Tensor, down: int, right: int) -> Tensor:
    """Reflects at the lower and right border, or repeats it where the image is too small for that."""
    mode = "reflect" if down < x.shape[-2] and right < x.shape[-1] else "replicate"
    return F.pad(x, (0, right, 0, down), mode=mode)


def in_tiles(restorer: Restorer, x: Tensor, t: Tensor, cond: Cond, most: Size) -> Tensor:
    """The outputs of overlapping tiles, each weighted by its window."""
    height, width = x.shape[-2:]
    size = (min(most[0], height), min(most[1], width))
    rows, columns = (starts(n, side, restorer.multiple) for n, side in zip((height, width), size, strict=True))
    window = torch.outer(*(ramp(side, overlap(side), x) for side in size))
    total, weight = None, x.new_zeros(height, width)
    watch, done = PROGRESS.get(), 0
    corners, count = list(itertools.product(rows, columns)), max(1, TILES_AT_ONCE // len(x))
    for some in (corners[i : i + count] for i in range(0, len(corners), count)):
        part = {
            k: cuts(v, some, size) if v.dim() == 4 else v.repeat(len(some), *(1,) * (v.dim() - 1))
            for k, v in cond.items()
        }
        out = restorer.backbone(cuts(x, some, size), t.repeat(len(some)), part).chunk(len(some))
        for (top, left), piece in zip(some, out, strict=True):
            here = (..., slice(top, top + size[0]), slice(left, left + size[1]))
            total = x.new_zeros(*piece.shape[:2], height, width) if total is None else total
            total[here] += piece * window
            weight[here] += window
            done += 1
        if watch:
            watch(done / len(corners))
    assert total is not None
    return total / weight


def cuts(x: Tensor, corners: Sequence[tuple[int, int]], size: Size) -> Tensor:
    """Tiles (N B, C, H, W) of images (B, C, …), one corner after the other."""
    return torch.cat([x[..., top : top + size[0], left : left + size[1]] for top, left in corners])


def overlap(side: int) -> int:
    """The pixels that neighbouring tiles of such a side share at least."""
    return min(OVERLAP, side // 2)


def starts(length: int, side: int, multiple: int) -> list[int]:
    """Where tiles begin so that they cover `length` evenly: at multiples, with the last one ending at the border."""
    step = max((side - overlap(side)) // multiple * multiple, multiple)
    count, last = 1 + -(-(length - side) // step), length - side
    return [round(i * last / max(count - 1, 1) / multiple) * multiple for i in range(count)]


def ramp(size: int, overlap: int, like: Tensor) -> Tensor:
    """The weight of a tile along a side: sin² over the overlap, so that its border, short of context, hardly counts."""
    at = torch.arange(size, device=like.device, dtype=like.dtype)
    inward = ((torch.minimum(at, size - 1 - at) + 1) / (overlap + 1)).clamp(max=1)
    return torch.sin(inward * (math.pi / 2)).square()
