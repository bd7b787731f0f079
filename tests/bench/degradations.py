"""Degradations against the floor `a·x + b·n` of the same tensor, and blur against kornia's own call."""

from __future__ import annotations

import torch
from kornia.filters import gaussian_blur2d

import rethaw
from rethaw.ops import generators
from tests.bench.timing import medians

NAMES = ("core.gaussian_noise", "core.mask", "core.desaturate", "kornia.gaussian_blur", "kornia.pixelate")
SHAPES = ((16, 3, 128, 128), (32, 3, 32, 32))
SIGMA = 5.0


def run() -> list[str]:
    """Markdown lines: ms a call with random t per image, and ratios."""
    lines = ["| degradation | shape | ms | ratio to a·x + b·n |", "|---|---|---:|---:|"]
    for shape in SHAPES:
        rng = torch.Generator().manual_seed(0)
        x, n, t = (
            torch.rand(shape, generator=rng) * 2 - 1,
            torch.randn(shape, generator=rng),
            torch.rand(shape[0], generator=rng),
        )
        a, b = t.view(-1, 1, 1, 1), (1 - t).view(-1, 1, 1, 1)
        calls = {"floor": lambda x=x, n=n, a=a, b=b: a * x + b * n}
        for name in NAMES:
            given = {"sigma_max": SIGMA} if name == "kornia.gaussian_blur" else {}
            d = rethaw.build("degradation", name, **given)
            state = d.draw(x, generators(0, shape[0]))
            calls[name] = lambda d=d, x=x, t=t, state=state: d.degrade(x, t, state)
        sigma = (t * SIGMA).clamp_min(1e-3).view(-1, 1).expand(-1, 2)
        taps = 2 * int(4 * SIGMA) + 1
        if taps // 2 < min(shape[-2:]):
            calls["kornia's own separable call"] = lambda x=x, sigma=sigma, taps=taps: gaussian_blur2d(
                x, (taps, taps), sigma
            )
        found = medians(calls)
        size = "×".join(map(str, shape))
        lines += [f"| {name} | {size} | {s * 1e3:.2f} | {s / found['floor']:.1f} |" for name, s in found.items()]
    return lines
