"""Geometric distortions: each pixel is taken from another place, between four pixels."""

from __future__ import annotations

import math

import torch
from kornia.geometry.transform import remap
from torch import Tensor
from torch.nn import functional as F

from rethaw.api import Rng, State
from rethaw.ops import per_image, rand, randn
from rethaw_kornia.plugin import Elastic as ElasticParams
from rethaw_kornia.plugin import Perspective as PerspectiveParams


def sampled_at(x: Tensor, shift: Tensor) -> Tensor:
    """x (B, C, H, W) at each pixel's place plus shift (B, 2, H, W), x then y, in pixels; the mirror image beyond."""
    across, down = (torch.arange(n, device=x.device, dtype=shift.dtype) for n in (x.shape[-1], x.shape[-2]))
    places = across + shift[:, 0], down.unsqueeze(1) + shift[:, 1]
    sampled = remap(x.to(shift.dtype), *places, mode="bilinear", padding_mode="reflection", align_corners=True)
    still = (shift == 0).all(1, keepdim=True)  # scaled places are rounded, unmoved ones are not
    return torch.where(still, x, sampled.to(x.dtype))


def of_places(x: Tensor) -> torch.dtype:
    """A dtype that tells the places of neighbouring pixels apart: x's own, or float32."""
    return torch.promote_types(x.dtype, torch.float32)


class Elastic:
    """D(x0, u) takes each pixel from u·strength·d away, d between the knots of the state "knots" (B, 2, h, w), N(0, I).

    The displacements of Simard, Steinkraus & Platt 2003, made smooth by cubic interpolation.
    """

    def __init__(self, params: ElasticParams) -> None:
        self.params = params

    def draw(self, like: Tensor, generator: Rng) -> State:
        sides = (math.ceil(n / self.params.spacing) + 1 for n in like.shape[-2:])
        return {"knots": randn(like, generator, (2, *sides))}

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        knots = state["knots"].to(of_places(x0))
        knots = knots * per_image(u * self.params.strength, knots)
        return sampled_at(x0, F.interpolate(knots, x0.shape[-2:], mode="bicubic", align_corners=True))


class Perspective:
    """D(x0, u) sees the image through a quadrilateral, its corners moved by u times the state "corners" (B, 2, 4).

    The corners, clockwise from the upper left, x then y in parts of the sides, are within `distortion` of the image's.
    """

    def __init__(self, params: PerspectiveParams) -> None:
        self.params = params

    def draw(self, like: Tensor, generator: Rng) -> State:
        return {"corners": (2 * rand(like, generator, (2, 4)) - 1) * self.params.distortion}

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        height, width = x0.shape[-2:]
        moved = state["corners"].to(of_places(x0)) * u.to(of_places(x0)).view(-1, 1, 1)
        return sampled_at(x0, quadrilateral_shift(moved, height, width))


def quadrilateral_shift(moved: Tensor, height: int, width: int) -> Tensor:
    """Pixels that the homography which moves the unit square's corners by (B, 2, 4) moves each pixel: (B, 2, H, W).

    In closed form (Heckbert 1989, section 2.2.3), as the shift itself, so that unmoved corners give exactly none.
    """
    at = [torch.linspace(0, 1, n, device=moved.device, dtype=moved.dtype) for n in (height, width)]
    y, x = at[0].unsqueeze(1), at[1]
    x_moved, y_moved = moved.view(-1, 2, 4, 1, 1).unbind(1)
    (x0, x1, x2, x3), (y0, y1, y2, y3) = x_moved.unbind(1), y_moved.unbind(1)
    dx1, dx2, dy1, dy2 = x1 - x2, x3 - x2 - 1, y1 - y2 - 1, y3 - y2
    sx, sy = x0 - x1 + x2 - x3, y0 - y1 + y2 - y3
    det = dx1 * dy2 - dx2 * dy1
    g, h = (sx * dy2 - dx2 * sy) / det, (dx1 * sy - sx * dy1) / det
    w = g * x + h * y + 1
    # ((a x + b y + c) - x w) / w, with a = 1 + x1 - x0 + g (1 + x1) and so on
    across = ((x1 - x0 + g * (1 + x1)) * x + (x3 - x0 + h * x3) * y + x0 - x * (g * x + h * y)) / w
    down = ((y1 - y0 + g * y1) * x + (y3 - y0 + h * (1 + y3)) * y + y0 - y * (g * x + h * y)) / w
    return torch.stack([across * (width - 1), down * (height - 1)], 1)
