"""Masks: the inpainting degradation."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rethaw.api import SVD, RethawError, Rng, State
from rethaw.builtin.degradations.params import Mask as Params
from rethaw.ops import Constant, diagonal_svd, per_image, rand, read_mask


class Mask:
    """D(x0, u, m) = x0 (1 - u m) on [0, 1], state {"mask": (B, 1, H, W)}, 1 where hidden; a mask file is no state."""

    def __init__(self, params: Params) -> None:
        self.params = params
        self.file = Constant(read_mask(params.path).values) if params.path else None

    def draw(self, like: Tensor, generator: Rng) -> State:
        if self.file:
            return {}
        height, width = like.shape[-2:]
        y = torch.arange(height, device=like.device, dtype=like.dtype).view(1, 1, -1, 1)
        x = torch.arange(width, device=like.device, dtype=like.dtype).view(1, 1, 1, -1)
        draw = {"bump": bump, "box": box, "half": half, "strokes": strokes}[self.params.shape]
        numbers = rand(like, generator, (4 * self.params.strokes if draw is strokes else 2,))
        return {"mask": draw(numbers, y, x, self.params.size * min(height, width)).to(like.dtype)}

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        return x0 * self.kept(x0, u, state)

    def kept(self, like: Tensor, u: Tensor, state: State) -> Tensor:
        """What is left of each pixel, (B, 1, H, W)."""
        return 1 - per_image(u, like) * (self.file_mask(like) if self.file else self.drawn_mask(like, state))

    def drawn_mask(self, like: Tensor, state: State) -> Tensor:
        """The state's mask, where it is as large as the images."""
        if state["mask"].shape[-2:] != like.shape[-2:]:
            sizes = (f"{s[-1]}×{s[-2]}" for s in (state["mask"].shape, like.shape))
            raise RethawError("core.mask: the state's mask is {} pixels, the images are {}".format(*sizes))
        return state["mask"]

    def file_mask(self, x0: Tensor) -> Tensor:
        """The mask of the file, (1, H, W)."""
        assert self.file
        mask = self.file.like(x0)
        if mask.shape[-2:] != x0.shape[-2:]:
            sizes = (f"{s[-1]}×{s[-2]}" for s in (mask.shape, x0.shape))
            raise RethawError(
                "core.mask: path is {} pixels, the images are {}".format(*sizes),
                f"Give a mask as large as the images: {self.params.path}",
            )
        return mask

    def adjoint(self, y: Tensor, u: Tensor, state: State) -> Tensor:
        """A diagonal operator is its own adjoint."""
        return self.degrade(y, u, state)

    def svd(self, like: Tensor, u: Tensor, state: State) -> SVD:
        return diagonal_svd(self.kept(like, u, state))


def bump(numbers: Tensor, y: Tensor, x: Tensor, side: float) -> Tensor:
    """A Gaussian bump, `side` wide, at a random place: (B, 2), (H, 1), (1, W) → (B, 1, H, W)."""
    cy, cx = (per_image(numbers[:, i] * (n - 1), y) for i, n in enumerate((y.shape[-2], x.shape[-1])))
    return torch.exp(-((y - cy).square() + (x - cx).square()) / (2 * (side / 2) ** 2))


def box(numbers: Tensor, y: Tensor, x: Tensor, side: float) -> Tensor:
    """A square at a random place."""
    top, left = (per_image(numbers[:, i] * (n - side), y) for i, n in enumerate((y.shape[-2], x.shape[-1])))
    return (y >= top) & (y < top + side) & (x >= left) & (x < left + side)


def half(numbers: Tensor, y: Tensor, x: Tensor, side: float) -> Tensor:
    """The upper, lower, left or right half."""
    upright, first = (per_image(numbers[:, i] < 0.5, y) for i in (0, 1))
    before = upright * (y < y.shape[-2] / 2) + (1 - upright) * (x < x.shape[-1] / 2)
    return first * before + (1 - first) * (1 - before)


def strokes(numbers: Tensor, y: Tensor, x: Tensor, side: float) -> Tensor:
    """Lines of a random place, direction and thickness, up to `side` long; a pixel is hidden by its nearest line."""
    hidden = torch.zeros(len(numbers), 1, y.shape[-2], x.shape[-1], device=y.device, dtype=torch.bool)
    for number in numbers.to(y.dtype).chunk(numbers.shape[1] // 4, 1):
        cy, cx, turn, weight = number.view(-1, 4, 1, 1, 1).unbind(1)
        dy, dx = torch.sin(turn * math.pi), torch.cos(turn * math.pi)
        ry, rx = y - cy * y.shape[-2], x - cx * x.shape[-1]
        along = (ry * dy + rx * dx).clamp(-side / 2, side / 2)  # the nearest point of the line
        distance = (ry - along * dy).square() + (rx - along * dx).square()
        hidden = hidden | (distance <= ((0.05 + 0.1 * weight) * side).square())
    return hidden
