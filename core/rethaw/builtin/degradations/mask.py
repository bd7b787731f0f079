"""Masks: the inpainting degradation."""

from __future__ import annotations

import torch
from torch import Tensor

from rethaw.api import Rng, State
from rethaw.builtin.params import Mask as Params
from rethaw.ops import per_image, rand


class Mask:
    """D(x0, u, m) = x0 (1 - u m) on [0, 1], state {"mask": (B, 1, H, W)}, 1 where hidden."""

    def __init__(self, params: Params) -> None:
        self.params = params

    def draw(self, like: Tensor, generator: Rng) -> State:
        height, width = like.shape[-2:]
        y = torch.arange(height, device=like.device, dtype=like.dtype).view(1, 1, -1, 1)
        x = torch.arange(width, device=like.device, dtype=like.dtype).view(1, 1, 1, -1)
        place = rand(like, generator, (2,))
        side = self.params.size * min(height, width)
        if self.params.shape == "half":
            return {"mask": self.half(place, y, x, height, width)}
        if self.params.shape == "box":
            top, left = (per_image(place[:, i] * (n - side), like) for i, n in enumerate((height, width)))
            inside = (y >= top) & (y < top + side) & (x >= left) & (x < left + side)
            return {"mask": inside.to(like.dtype)}
        cy, cx = (per_image(place[:, i] * (n - 1), like) for i, n in enumerate((height, width)))
        return {"mask": torch.exp(-((y - cy).square() + (x - cx).square()) / (2 * (side / 2) ** 2))}

    def half(self, place: Tensor, y: Tensor, x: Tensor, height: int, width: int) -> Tensor:
        """The upper, lower, left or right half, drawn for each image."""
        upright, first = (per_image(place[:, i] < 0.5, y) for i in (0, 1))
        before = upright * (y < height / 2) + (1 - upright) * (x < width / 2)
        return first * before + (1 - first) * (1 - before)

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        return x0 * (1 - per_image(u, x0) * state["mask"])

    def adjoint(self, y: Tensor, u: Tensor, state: State) -> Tensor:
        """A diagonal operator is its own adjoint."""
        return self.degrade(y, u, state)
