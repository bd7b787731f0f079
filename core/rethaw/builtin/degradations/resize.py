"""Resizing by a factor for each image, and back: products with a matrix along each axis."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rethaw.api import Rng, State
from rethaw.builtin.degradations.photo_params import Resize as Params
from rethaw.ops import rand, separable

CUBIC = -0.75  # of the bicubic kernel, as torch and OpenCV have it


class Resize:
    """D(x0, u, ξ) = B A x0 Aᵀ Bᵀ: A to the nearest whole size of 1 + u (scale - 1) times the size, B back.

    State: "scale" (B,) and "modes" (B, 2), those of A and B by their numbers in `modes`.
    """

    def __init__(self, params: Params) -> None:
        self.params = params
        self.bounded = "bicubic" not in params.modes

    def draw(self, like: Tensor, generator: Rng) -> State:
        (low, high), modes = self.params.scale, len(self.params.modes)
        wide = like.to(torch.promote_types(like.dtype, torch.float32))
        side, at, first, second = rand(wide, generator, (4,)).unbind(1)
        scale = low + at * (high - low)
        if low < 1 < high:
            scale = torch.where(side < self.params.up, 1 + at * (high - 1), low + at * (1 - low))
        chosen = (torch.stack([first, second], 1) * modes).long().clamp_max(modes - 1)
        return {"scale": scale, "modes": chosen}

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        return separable(x0, *self.matrices(x0, u, state))

    def adjoint(self, y: Tensor, u: Tensor, state: State) -> Tensor:
        return separable(y, *(matrix.mT for matrix in self.matrices(y, u, state)))

    def matrices(self, like: Tensor, u: Tensor, state: State) -> tuple[Tensor, Tensor]:
        """B A of the rows and of the columns, (B, H, H) and (B, W, W)."""
        dtype = torch.promote_types(like.dtype, torch.float32)
        factor = 1 + u.to(dtype) * (state["scale"].to(dtype) - 1)
        height, width = like.shape[-2:]
        rows = self.there_and_back(height, factor, state["modes"]).to(like.dtype)
        return rows, rows if width == height else self.there_and_back(width, factor, state["modes"]).to(like.dtype)

    def there_and_back(self, size: int, factor: Tensor, modes: Tensor) -> Tensor:
        """B A for a line of so many pixels, (B, size, size)."""
        most = max(1, round(size * max(1.0, self.params.scale[1])))
        n, own = (size * factor).round().clamp(1, most).view(-1, 1, 1), torch.full_like(factor, size).view(-1, 1, 1)
        there = self.of_each(modes[:, 0], own, n, size, most)
        back = self.of_each(modes[:, 1], n, own, most, size)
        return back @ there

    def of_each(self, chosen: Tensor, source: Tensor, target: Tensor, width: int, height: int) -> Tensor:
        """The matrix (B, height, width) of each image's method, from `source` pixels to `target` (B, 1, 1)."""
        to = torch.arange(height, device=source.device, dtype=source.dtype).view(1, -1, 1)
        at = torch.arange(width, device=source.device, dtype=source.dtype).view(1, 1, -1)
        found = source.new_zeros(())
        for i, mode in enumerate(self.params.modes):
            found = torch.where((chosen == i).view(-1, 1, 1), MODES[mode](to, at, source, target), found)
        return found * (to < target)


def area(to: Tensor, at: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """The mean over the pixels from ⌊i n/m⌋ to ⌈(i + 1) n/m⌉, as torch has it."""
    first, end = (to * source / target).floor(), ((to + 1) * source / target).ceil()
    inside = ((at >= first) & (at < end)).to(source.dtype)
    return inside / inside.sum(-1, keepdim=True).clamp_min(1)


def sampled(kernel: Callable[[Tensor], Tensor], reach: int) -> Callable[..., Tensor]:
    """A method that weighs the pixels about a place by a kernel; beyond the border the nearest pixel."""

    def weights(to: Tensor, at: Tensor, source: Tensor, target: Tensor) -> Tensor:
        place = (to + 0.5) * source / target - 0.5
        found = kernel(at - place) * (at < source)
        for beyond in range(1, reach + 1):
            found = (
                found + kernel(-beyond - place) * (at == 0) + kernel(source - 1 + beyond - place) * (at == source - 1)
            )
        return found

    return weights


def triangle(x: Tensor) -> Tensor:
    return (1 - x.abs()).clamp_min(0)


def cubic(x: Tensor) -> Tensor:
    """Keys' kernel (1981)."""
    x, a = x.abs(), CUBIC
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return torch.where(x <= 1, near, torch.where(x < 2, far, 0.0))


MODES: dict[str, Callable[..., Tensor]] = {"area": area, "bilinear": sampled(triangle, 1), "bicubic": sampled(cubic, 2)}
