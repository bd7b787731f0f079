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

Estimate = Callable[[Sequence[Tensor], Cond], Sequence[Sequence[Tensor]]]
"""Pieces (B, C, h, w) of images, with the condition of all of them, to what is estimated of each, (…, h, w)."""

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
    """The network's bare output for images (B, C, H, W), as `estimated` calls it."""

    def estimate(pieces: Sequence[Tensor], cond: Cond) -> list[list[Tensor]]:
        out: Tensor = restorer.backbone(torch.cat(list(pieces)), t.repeat(len(pieces)), cond)
        return [[each] for each in out.chunk(len(pieces))]

    return estimated(estimate, x, cond, size, restorer.multiple)[0]


def estimated(estimate: Estimate, x: Tensor, cond: Cond, size: Size | None, multiple: int) -> list[Tensor]:
    """What is estimated of images (B, C, H, W), of the same height and width.

    They are padded to the multiple that the network needs, and cut into tiles if they are large. Tiles overlap, faded
    into each other so that no seam shows, and begin at multiples of what the network needs, so that each pixel lies on
    the same place of its patch or stride as in the whole image. Beside the tiles, no copy of the whole image is made.
    """
    high, wide = (n + -n % multiple for n in x.shape[-2:])
    if size is not None and (high > size[0] or wide > size[1]):
        return in_tiles(estimate, x, cond, (min(size[0], high), min(size[1], wide)), multiple)
    (found,) = estimate([piece(x, 0, 0, (high, wide))], pieces(cond, [(0, 0)], (high, wide)))
    return [each[..., : x.shape[-2], : x.shape[-1]] for each in found]


def in_tiles(estimate: Estimate, x: Tensor, cond: Cond, size: Size, multiple: int) -> list[Tensor]:
    """The estimates of overlapping tiles, each weighted by its share, so that the shares of a pixel add up to 1."""
    height, width = x.shape[-2:]
    rows, columns = (
        shares(n + -n % multiple, side, multiple, x) for n, side in zip((height, width), size, strict=True)
    )
    totals: list[Tensor] = []
    watch, done, corners = PROGRESS.get(), 0, list(itertools.product(rows, columns))
    count = 1 if x.device.type == "cpu" else max(1, TILES_AT_ONCE // len(x))
    for some in (corners[i : i + count] for i in range(0, len(corners), count)):
        found = estimate([piece(x, top, left, size) for top, left in some], pieces(cond, some, size))
        for (top, left), parts in zip(some, found, strict=True):
            here = (..., slice(top, top + size[0]), slice(left, left + size[1]))
            share = torch.outer(rows[top], columns[left])
            totals = totals or [x.new_zeros(*part.shape[:2], height, width) for part in parts]
            for total, part in zip(totals, parts, strict=True):
                total[here] += (part * share)[..., : height - top, : width - left]
        done += len(some)
        if watch:
            watch(done / len(corners))
    return totals


def piece(x: Tensor, top: int, left: int, size: Size) -> Tensor:
    """A tile of images (B, C, H, W), padded where it goes beyond their border."""
    part = x[..., top : top + size[0], left : left + size[1]]
    down, right = size[0] - part.shape[-2], size[1] - part.shape[-1]
    return pad(part, down, right) if down or right else part


def pieces(cond: Cond, corners: Sequence[tuple[int, int]], size: Size) -> Cond:
    """The condition of tiles, one corner after the other."""
    return {
        key: torch.cat([piece(v, *corner, size) for corner in corners])
        if v.dim() == 4
        else v.repeat(len(corners), *(1,) * (v.dim() - 1))
        for key, v in cond.items()
    }


def pad(x: Tensor, down: int, right: int) -> Tensor:
    """Reflects at the lower and right border, or repeats it where the image is too small for that."""
    mode = "reflect" if down < x.shape[-2] and right < x.shape[-1] else "replicate"
    return F.pad(x, (0, right, 0, down), mode=mode)


def overlap(side: int) -> int:
    """The pixels that neighbouring tiles of such a side share at least."""
    return min(OVERLAP, side // 2)


def starts(length: int, side: int, multiple: int) -> list[int]:
    """Where tiles begin so that they cover `length` evenly: at multiples, with the last one ending at the border."""
    step = max((side - overlap(side)) // multiple * multiple, multiple)
    count, last = 1 + -(-(length - side) // step), length - side
    return [round(i * last / max(count - 1, 1) / multiple) * multiple for i in range(count)]


def shares(length: int, side: int, multiple: int, like: Tensor) -> dict[int, Tensor]:
    """By where each tile of a side begins, its share (side,) in the pixels that it covers."""
    weight, total = ramp(side, overlap(side), like), like.new_zeros(length)
    begins = starts(length, side, multiple)
    for begin in begins:
        total[begin : begin + side] += weight
    return {begin: weight / total[begin : begin + side] for begin in begins}


def ramp(size: int, overlap: int, like: Tensor) -> Tensor:
    """The weight of a tile along a side: sin² over the overlap, so that its border, short of context, hardly counts."""
    at = torch.arange(size, device=like.device, dtype=like.dtype)
    inward = ((torch.minimum(at, size - 1 - at) + 1) / (overlap + 1)).clamp(max=1)
    return torch.sin(inward * (math.pi / 2)).square()
