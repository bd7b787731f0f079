"""`python -m tests.bench.kornia_calls`: code of the plugin's own against kornia's call for it, on one thread.

Where kornia takes at most a third longer at both sizes and keeps the contract, the plugin calls kornia.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from kornia.enhance import adjust_hue, adjust_saturation_with_gray_subtraction
from kornia.filters import filter2d, gaussian_blur2d
from kornia.geometry.transform import get_perspective_transform, warp_perspective
from torch import Tensor
from torch.nn import functional as F

import rethaw
from rethaw.ops import correlate, generators, pad, per_image
from tests.bench.timing import medians

SIDES = (128, 32)
Call = Callable[[], Tensor]


def run() -> Iterator[str]:
    """Markdown lines: ms of both at each size."""
    yield "| degradation | own code, ms | kornia, ms | own / kornia |"
    yield "|---|---:|---:|---:|"
    for name, contest in CONTESTS.items():
        found = [medians(both(contest, side), rounds=60) for side in SIDES]
        cells = [" · ".join(f"{s[key] * 1e3:.2f}" for s in found) for key in ("own", "kornia")]
        ratios = " · ".join(f"{s['own'] / s['kornia']:.2f}" for s in found)
        yield f"| {name} | {cells[0]} | {cells[1]} | {ratios} |"


def both(contest: Callable[[Tensor, Tensor], tuple[Call, Call]], side: int) -> dict[str, Call]:
    """The two calls on images of a size."""
    return dict(zip(("own", "kornia"), contest(*inputs(side)), strict=True))


def inputs(side: int) -> tuple[Tensor, Tensor]:
    """16 images, and a strength for each."""
    rng = torch.Generator().manual_seed(0)
    return torch.rand((16, 3, side, side), generator=rng) * 2 - 1, torch.rand(16, generator=rng)


def operator(name: str, x: Tensor, **params: Any) -> tuple[Any, Any]:
    """The plugin's operator, as it is without the host, and a state for x."""
    built = rethaw.build("degradation", f"kornia.{name}", **params).operator
    return built, built.draw(x, generators(0, len(x)))


def filtering(name: str, **params: Any) -> Callable[[Tensor, Tensor], tuple[Call, Call]]:
    """A kernel for each image: by FFT, and by `filter2d`."""

    def contest(x: Tensor, t: Tensor) -> tuple[Call, Call]:
        op, state = operator(name, x, **params)
        both = (op.radius, op.radius)
        return (
            lambda: correlate(x, op.kernel(x, t, state), both, reflect=True),
            lambda: filter2d(pad(x, both, both, reflect=True), op.kernel(x, t, state), padding="valid"),
        )

    return contest


def elastic(x: Tensor, t: Tensor) -> tuple[Call, Call]:
    """Places scaled by hand for `grid_sample`, and `remap`, as the plugin calls it."""
    op, state = operator("elastic", x)
    height, width = x.shape[-2:]

    def by_hand() -> Tensor:
        knots = state["knots"] * per_image(t * op.params.strength, x)
        shift = F.interpolate(knots, (height, width), mode="bicubic", align_corners=True)
        across, down = torch.arange(width) + shift[:, 0], torch.arange(height).unsqueeze(1) + shift[:, 1]
        grid = torch.stack([across * (2 / (width - 1)) - 1, down * (2 / (height - 1)) - 1], -1)
        sampled = F.grid_sample(x, grid, padding_mode="reflection", align_corners=True)
        return torch.where((shift == 0).all(1, keepdim=True), x, sampled)

    return by_hand, lambda: op.degrade(x, t, state)


def perspective(x: Tensor, t: Tensor) -> tuple[Call, Call]:
    """The homography's shift in closed form, and kornia's two calls."""
    op, state = operator("perspective", x)
    height, width = x.shape[-2:]
    sides = torch.tensor([width - 1.0, height - 1.0])
    corners = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]]).expand(len(x), 4, 2)

    def by_kornia() -> Tensor:
        moved = corners + state["corners"].mT * t.view(-1, 1, 1)
        matrix = get_perspective_transform(moved * sides, corners * sides)
        warped = warp_perspective(x, matrix, (height, width), padding_mode="reflection", align_corners=True)
        return torch.where(per_image(t, x) > 0, warped, x)

    return lambda: op.degrade(x, t, state), by_kornia


def gaussian_blur(x: Tensor, t: Tensor) -> tuple[Call, Call]:
    op, _ = operator("gaussian_blur", x)
    sigma = (3 * t).clamp_min(1e-3).view(-1, 1).expand(-1, 2)
    return lambda: op.degrade(x, t, {}), lambda: gaussian_blur2d(x, (op.taps, op.taps), sigma)


def unsharp(x: Tensor, t: Tensor) -> tuple[Call, Call]:
    """σ is given for each image: kornia's `unsharp_mask` with one σ for all takes longer."""
    op, _ = operator("unsharp", x)
    sigma, taps = torch.full((16, 2), 1.5), op.blur.taps

    def by_kornia() -> Tensor:
        return torch.lerp(x, gaussian_blur2d(x, (taps, taps), sigma), per_image(-2.0 * t, x))

    return lambda: op.degrade(x, t, {}), by_kornia


def hue(x: Tensor, t: Tensor) -> tuple[Call, Call]:
    op, _ = operator("hue", x)
    unit, angle = (x + 1) / 2, t * (2 * math.pi / 3)
    return lambda: op.degrade(x, t, {}), lambda: adjust_hue(unit, angle)


def saturation(x: Tensor, t: Tensor) -> tuple[Call, Call]:
    op, _ = operator("saturation", x)
    unit, factor = (x + 1) / 2, 1 + 2 * t
    return lambda: op.degrade(x, t, {}), lambda: adjust_saturation_with_gray_subtraction(unit, factor)


CONTESTS: dict[str, Callable[[Tensor, Tensor], tuple[Call, Call]]] = {
    "motion_blur, 5 points": filtering("motion_blur", length=5),
    "motion_blur, 15 points": filtering("motion_blur", length=15),
    "motion_blur, 31 points": filtering("motion_blur", length=31),
    "defocus, radius 4": filtering("defocus"),
    "defocus, radius 8": filtering("defocus", radius_max=8.0),
    "elastic": elastic,
    "perspective": perspective,
    "gaussian_blur": gaussian_blur,
    "unsharp": unsharp,
    "hue": hue,
    "saturation": saturation,
}


def main() -> None:
    torch.set_num_threads(1)
    print(f"16 images, {' · '.join(f'{side} px' for side in SIDES)}, one thread\n")
    for line in run():
        print(line, flush=True)


if __name__ == "__main__":
    main()
