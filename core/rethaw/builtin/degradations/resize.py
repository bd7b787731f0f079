"""Resizing by a factor for each image, and back: products with a matrix along each axis."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rethaw.api import Rng, State
from rethaw.builtin.degradations.photo_params import Resize as Params
from rethaw.ops import Constant, rand, separable

CUBIC = -0.75  # of the bicubic kernel, as torch and OpenCV have it
REACH = 2  # pixels on either side of a place that a kernel weighs

Kernel = Callable[[Tensor], Tensor]


class Resize:
    """D(x0, u, ξ) = B A x0 Aᵀ Bᵀ: A to the nearest whole size of 1 + u (scale - 1) times the size, B back.

    State: "scale" (B,) and "modes" (B, 2), those of A and B by their numbers in `modes`.
    """

    def __init__(self, params: Params) -> None:
        self.params = params
        self.bounded = "bicubic" not in params.modes
        self.kernels = [KERNELS[mode] for mode in params.modes if mode != "area"]
        self.which = Constant([sum(m != "area" for m in params.modes[:i]) for i in range(len(params.modes))])

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
        modes, to = self.params.modes, torch.arange(height, device=source.device, dtype=source.dtype).view(1, -1, 1)
        which = self.which.like(source)[chosen]
        found = sampled(self.kernels, which, to, source, target, width) if self.kernels else None
        if "area" in modes:
            means = area(to, source, target, width)
            averaged = (chosen == modes.index("area")).view(-1, 1, 1)
            found = means if found is None else torch.where(averaged, means, found)
        assert found is not None
        return found * (to < target)


def area(to: Tensor, source: Tensor, target: Tensor, width: int) -> Tensor:
    """The mean over the pixels from ⌊i n/m⌋ to ⌈(i + 1) n/m⌉, as torch has it."""
    at = torch.arange(width, device=to.device, dtype=to.dtype)
    first = (to * source / target).floor()
    end = torch.minimum(((to + 1) * source / target).ceil(), source)
    return ((at >= first) & (at < end)) / (end - first).clamp_min(1)


def sampled(kernels: list[Kernel], which: Tensor, to: Tensor, source: Tensor, target: Tensor, width: int) -> Tensor:
    """The pixels about a place weighed by each image's kernel; beyond the border the nearest pixel."""
    place = (to + 0.5) * source / target - 0.5
    at = place.floor() + torch.arange(1 - REACH, REACH + 1, device=to.device, dtype=to.dtype)
    weights = kernels[0](at - place)
    for i, kernel in enumerate(kernels[1:], 1):
        weights = torch.where((which == i).view(-1, 1, 1), kernel(at - place), weights)
    index = torch.minimum(at.clamp_min(0), source - 1).long()
    matrix = weights.new_zeros(*weights.shape[:2], width)
    for tap in range(2 * REACH):  # one after the other, so that no sum has an order that a GPU may choose
        matrix.scatter_add_(2, index[..., tap : tap + 1], weights[..., tap : tap + 1])
    return matrix


def triangle(x: Tensor) -> Tensor:
    """Of linear interpolation."""
    return (1 - x.abs()).clamp_min(0)


def cubic(x: Tensor) -> Tensor:
    """Keys' kernel (1981)."""
    x, a = x.abs(), CUBIC
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return torch.where(x <= 1, near, torch.where(x < 2, far, 0.0))


KERNELS: dict[str, Kernel] = {"bilinear": triangle, "bicubic": cubic}
