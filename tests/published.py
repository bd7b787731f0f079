"""The degradations of Cold Diffusion's experiments (2208.09392) as they are defined: naively, one step after the other.

Each takes one image (1, C, H, W) in [-1, 1] and a state, and gives levels 0 … T-1. The numbers are those of the
published experiments, written out here once more, so that a recipe that says another is found.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

State = Mapping[str, Tensor]
Levels = Callable[[Tensor, State], Iterator[Tensor]]


def gaussian(taps: int, sigma: float) -> Tensor:
    """Normalised weights exp(-(j - k // 2)² / 2σ²)."""
    at = torch.arange(taps, dtype=torch.float64) - taps // 2
    line = torch.exp(-at.square() / (2 * sigma**2))
    return line / line.sum()


def blur(
    x: Tensor, state: State, steps: int, taps: int, sigma: Callable[[int], float], padding: str
) -> Iterator[Tensor]:
    """Each step convolves what the one before left, channel by channel."""
    for i in range(steps):
        line = gaussian(taps, sigma(i))
        kernel = torch.outer(line, line).expand(x.shape[1], 1, taps, taps)
        x = F.conv2d(F.pad(x, (taps // 2,) * 4, mode=padding), kernel, groups=x.shape[1])
        yield x


def halving(x: Tensor, state: State, steps: int) -> Iterator[Tensor]:
    """Step i shrinks the level before to side // 2^(i+1), bicubic, and repeats pixels."""
    height, width = x.shape[-2:]
    for i in range(steps):
        small = F.interpolate(x, size=(height // 2 ** (i + 1), width // 2 ** (i + 1)), mode="bicubic")
        x = F.interpolate(small, size=(height, width), mode="nearest-exact")
        yield x


def bump(size: int, sigma: float) -> Tensor:
    """1 - g / max g, g a Gaussian in the middle of size × size pixels."""
    at = torch.arange(size, dtype=torch.float64) - size // 2
    g = torch.exp(-(at.square()[:, None] + at.square()) / (2 * sigma**2))
    return 1 - g / g.max()


def hole(x: Tensor, state: State, steps: int, std: float) -> Iterator[Tensor]:
    """x · ∏ m_i, m_i in the middle, σ = std (i + 11)."""
    for i in range(steps):
        x = x * bump(x.shape[-1] + 1, std * (i + 11))[1:, 1:]
        yield x


def random_hole(x: Tensor, state: State, steps: int, std: float) -> Iterator[Tensor]:
    """The same, each mask a crop of one of twice the size, the same crop for all steps."""
    side = x.shape[-1]
    top, left = (side - state["centre"][0]).long().tolist()
    for i in range(steps):
        x = x * bump(2 * side + 1, std * (i + 11))[top : top + side, left : left + side]
        yield x


def shrinking(x: Tensor, state: State, steps: int, std: float) -> Iterator[Tensor]:
    """(1 - M_i) x + M_i c with M_i = ∏_{j < T-1-i} m_j: at the last level nothing is left."""
    side = x.shape[-1]
    bumps = [bump(side + 1, std * (i + 11))[1:, 1:] for i in range(steps)]
    for i in range(steps):
        hidden = torch.ones(side, side, dtype=torch.float64)
        for m in bumps[: steps - 1 - i]:
            hidden = hidden * m
        yield (1 - hidden) * x + hidden * state["colour"]


def decolour(x: Tensor, state: State, steps: int) -> Iterator[Tensor]:
    """1 - (i + 1) / T of the colour is left."""
    grey = x.mean(1, keepdim=True)
    for i in range(steps):
        yield grey + (1 - (i + 1) / steps) * (x - grey)


def blend(x: Tensor, state: State, steps: int) -> Iterator[Tensor]:
    """√ᾱ x + √(1 - ᾱ) z with the discrete cosine ᾱ: s = 0.008, β ≤ 0.999."""
    f = [math.cos((i / steps + 0.008) / 1.008 * math.pi / 2) ** 2 for i in range(steps + 1)]
    left = 1.0
    for i in range(steps):
        left *= 1 - min(1 - f[i + 1] / f[i], 0.999)
        yield math.sqrt(left) * x + math.sqrt(1 - left) * state["z"]


def snow(
    x: Tensor, state: State, steps: int, threshold: tuple[float, float], sigma: tuple[float, float]
) -> Iterator[Tensor]:
    """On [0, 1], from the clean image: clip(x + s + rot180(s)), s the layer above the threshold, streaked (11 taps)."""
    for i in range(steps):
        low, wide = (a + (b - a) * i / (steps - 1) for a, b in (threshold, sigma))
        flakes = torch.where(state["layer"] < low, 0.0, state["layer"]).clamp(0, 1)
        line = gaussian(11, wide).view(1, 1, -1, 1) if state["vertical"] else gaussian(11, wide).view(1, 1, 1, -1)
        s = F.conv2d(flakes, line, padding="same")
        yield ((x + 1) / 2 + s + s.rot90(2, (-2, -1))).clamp(0, 1) * 2 - 1


GENERATION = partial(blur, steps=300, taps=27, sigma=lambda i: math.exp(0.01 * i), padding="circular")
EXPERIMENTS: dict[str, Levels] = {
    "cold-blur-mnist": partial(blur, steps=20, taps=11, sigma=lambda i: 7.0, padding="circular"),
    "cold-blur-cifar10": partial(blur, steps=50, taps=11, sigma=lambda i: i / 100 + 0.35, padding="reflect"),
    "cold-blur-celeba": partial(blur, steps=200, taps=15, sigma=lambda i: math.exp(0.01 * i), padding="reflect"),
    "cold-generate-blur-celeba": GENERATION,
    "cold-generate-blur-afhq": GENERATION,
    "cold-superres-mnist": partial(halving, steps=3),
    "cold-superres-cifar10": partial(halving, steps=3),
    "cold-superres-celeba": partial(halving, steps=4),
    "cold-generate-superres-celeba": partial(halving, steps=6),
    "cold-inpaint-mnist": partial(random_hole, steps=50, std=0.1),
    "cold-inpaint-cifar10": partial(random_hole, steps=50, std=0.1),
    "cold-inpaint-celeba": partial(hole, steps=100, std=0.2),
    "cold-generate-mask-celeba": partial(shrinking, steps=750, std=0.05),
    "cold-snow-cifar10": partial(snow, steps=200, threshold=(1.15, 0.7), sigma=(0.05, 16.0)),
    "cold-snow-celeba": partial(snow, steps=200, threshold=(1.15, 0.55), sigma=(0.05, 20.0)),
    "cold-decolour-cifar10": partial(decolour, steps=20),
    "cold-decolour-celeba": partial(decolour, steps=20),
    "cold-generate-noise-celeba": partial(blend, steps=200),
    "cold-generate-noise-afhq": partial(blend, steps=200),
    "cold-generate-animorphosis-celeba": partial(blend, steps=200),
}
"""Of each recipe."""
