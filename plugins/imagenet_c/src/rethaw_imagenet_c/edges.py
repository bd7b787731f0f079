"""What spatter needs of classical image processing: Canny's edges, the distance to them, and the histogram made even.

Images are (B, H, W) in 0 … 255. Nothing here is differentiable, and nothing has a loop over pixels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from rethaw.ops import pad

LOW, HIGH = 50.0, 150.0  # of Canny's gradient |g_x| + |g_y|: an edge begins above HIGH and goes on above LOW
FAR = 20  # distances are cut off here
FOLLOWED = 10  # pixels that an edge is followed below HIGH
STEEP, FLAT = math.tan(math.radians(67.5)), math.tan(math.radians(22.5))


def padded(x: Tensor, reflect: bool = True) -> Tensor:
    """One more pixel on each side: the mirrored one (dcb|abcd|cba), or the nearest."""
    return pad(x[:, None], (1, 1), (1, 1), reflect)[:, 0]


def neighbours(x: Tensor) -> list[Tensor]:
    """The nine views (B, H, W) of a padded image (B, H + 2, W + 2), row by row."""
    height, width = x.shape[-2] - 2, x.shape[-1] - 2
    return [x[..., i : i + height, j : j + width] for i in range(3) for j in range(3)]


def filtered(x: Tensor, kernel: tuple[float, ...]) -> Tensor:
    """Correlation with a 3 x 3 kernel, mirrored beyond the border."""
    views = zip(kernel, neighbours(padded(x)), strict=True)
    return torch.stack([weight * view for weight, view in views if weight]).sum(0)


def sobel(x: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient of x (B, H, W), across and down, by Sobel's kernels; beyond the border the nearest pixel."""
    nw, n, ne, w, _, e, sw, s, se = neighbours(padded(x, reflect=False))
    return ne + 2 * e + se - nw - 2 * w - sw, sw + 2 * s + se - nw - 2 * n - ne


def canny(x: Tensor) -> Tensor:
    """The edges of Canny 1986 with Sobel's gradient: 1 on edges and 0 elsewhere, (B, H, W)."""
    gx, gy = sobel(x)
    size = gx.abs() + gy.abs()
    nw, n, ne, w, _, e, sw, s, se = neighbours(F.pad(size, (1, 1, 1, 1)))
    flat, steep = gy.abs() < FLAT * gx.abs(), gy.abs() > STEEP * gx.abs()
    falling = (gx < 0) == (gy < 0)
    slanted = (falling & (size > nw) & (size > se)) | (~falling & (size > ne) & (size > sw))
    ridge = (flat & (size > w) & (size >= e)) | (steep & (size > n) & (size >= s)) | (~flat & ~steep & slanted)
    weak, edge = ridge & (size > LOW), ridge & (size > HIGH)
    for _ in range(FOLLOWED):
        edge = grown(edge) & weak
    return edge.to(x.dtype)


def grown(mask: Tensor) -> Tensor:
    """A mask (B, H, W) and all that touches it."""
    mask = F.pad(mask, (1, 1, 1, 1))
    mask = mask[..., :-2, :] | mask[..., 1:-1, :] | mask[..., 2:, :]
    return mask[..., :-2] | mask[..., 1:-1] | mask[..., 2:]


def distance(edges: Tensor) -> Tensor:
    """The Euclidean distance to the nearest edge, up to FAR, (B, H, W).

    Its square is the least of (distance along the column)² + (columns between)², and n² = 1 + 3 + … + (2n - 1), so
    that FAR steps to the neighbouring column, each a little dearer, find it (van den Boomgaard's parabolas).
    """
    along = (1 - edges) * FAR
    for step in (1, 2, 4, 8, 16):  # every distance below 32 is a sum of these
        along = nearer(along, step, -2, step)
    square = along.square()
    for n in range(1, FAR + 1):
        square = nearer(square, 1, -1, 2 * n - 1)
    return square.sqrt().clamp_max(FAR)


def nearer(x: Tensor, step: int, axis: int, cost: float) -> Tensor:
    """The least of x and, at `cost`, of x a step to either side."""
    size = x.shape[axis] - step
    if size <= 0:
        return x
    result = x.clone()
    first, last = result.narrow(axis, 0, size), result.narrow(axis, step, size)
    torch.minimum(first, x.narrow(axis, step, size) + cost, out=first)
    torch.minimum(last, x.narrow(axis, 0, size) + cost, out=last)
    return result


def equalised(x: Tensor) -> Tensor:
    """Whole values 0 … FAR mapped so that their histogram over 0 … 255 is as even as it can be, (B, H, W)."""
    flat = x.flatten(1)
    values = flat.long()
    counts = x.new_zeros(len(x), FAR + 1).scatter_add(1, values, torch.ones_like(flat)).cumsum(1)
    least = counts.masked_fill(counts == 0, math.inf).amin(1, keepdim=True)
    lookup = ((counts - least).clamp_min(0) * (255 / (flat.shape[1] - least).clamp_min(1))).round()
    return lookup.gather(1, values).view_as(x)
