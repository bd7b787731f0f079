"""Spatter: drops of water (levels 1 to 3) or mud (4 and 5) on the lens."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from rethaw.api import Rng, State
from rethaw.ops import LUMA, randn
from rethaw_imagenet_c.convolve import gaussian_taps, smooth
from rethaw_imagenet_c.edges import canny, distance, equalised, filtered
from rethaw_imagenet_c.levels import Corruption, clip, shares, table

WATER = ((0.65, 0.3, 4.0, 0.69, 0.6), (0.65, 0.3, 3.0, 0.68, 0.6), (0.65, 0.3, 2.0, 0.68, 0.5))
MUD = ((0.65, 0.3, 1.0, 0.65, 1.5), (0.67, 0.4, 1.0, 0.65, 1.5))
"""Of each level: mean and σ of the noise, σ that smooths it, threshold of the liquid; strength, or σ of mud's edge."""
TURQUOISE, BROWN = (175, 238, 238), (63, 42, 20)
COLOURS = table([[v / 255 for v in colour] for colour in (TURQUOISE, BROWN)])
GREYS = table([[sum(w * v / 255 for w, v in zip(LUMA, colour, strict=True))] for colour in (TURQUOISE, BROWN)])
BOX = (1 / 9,) * 9
EMBOSS = (-2.0, -1.0, 0.0, -1.0, 1.0, 1.0, 0.0, 1.0, 2.0)
OPAQUE = 0.8  # thinner mud is left out
WET, MUDDY = slice(0, 3), slice(3, 5)
ROUNDING = 1e-3  # keeps whole numbers whole


class Spatter(Corruption):
    """D = clip((1 - m) x0 + m brown + w turquoise), m the mud and w the water of the level.

    Each is the published mask at its level, and between levels a blend of the two next to it (nothing at level 0).
    State: {"masks": (B, 5, H, W)}, of levels 1 to 5, all from the same noise; water is at 0 … 2, mud at 3 and 4.
    """

    def draw(self, like: Tensor, generator: Rng) -> State:
        noise = randn(like, generator, (1, *like.shape[-2:]))
        noise = noise.to(torch.promote_types(noise.dtype, torch.float32))
        masks = torch.cat([*(water(noise, *c) for c in WATER), *(mud(noise, *c) for c in MUD)], 1)
        return {"masks": masks.to(like.dtype)}

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        share, masks = shares(self.level(u, x0))[:, 1:, None].to(x0.dtype), state["masks"].flatten(2)
        wet, muddy = (torch.bmm(share[:, part].mT, masks[:, part]).view_as(x0[:, :1]) for part in (WET, MUDDY))
        turquoise, brown = (COLOURS if x0.shape[1] == 3 else GREYS).like(x0).view(2, 1, -1, 1, 1)
        return clip(torch.lerp(x0, brown, muddy).addcmul_(wet, turquoise), x0)


def smoothed(x: Tensor, sigma: float) -> Tensor:
    """A Gaussian blur cut off at 4 σ, (B, 1, H, W); beyond the border the nearest pixel."""
    return smooth(x, gaussian_taps(x.new_full((1,), sigma), round(4 * sigma)))


def water(noise: Tensor, mean: float, σ: float, smooth: float, threshold: float, strength: float) -> Tensor:
    """w of a level (B, 1, H, W), at most `strength`: the liquid times its embossed distance from the drops' edges."""
    liquid = (F.threshold(mean + σ * smoothed(noise, smooth), threshold, 0.0) * 255).floor()[:, 0]
    depth = equalised((filtered(distance(canny(liquid)), BOX) + ROUNDING).floor())
    wet = liquid * (filtered(filtered(depth, EMBOSS).clamp(0, 255), BOX) + ROUNDING).round()
    return (wet * (strength / wet.amax((-2, -1), keepdim=True).clamp_min(1)))[:, None]


def mud(noise: Tensor, mean: float, σ: float, smooth: float, threshold: float, edge: float) -> Tensor:
    """m of a level (B, 1, H, W): where liquid is, smoothed, and left out where it is thin."""
    cover = smoothed((mean + σ * smoothed(noise, smooth) > threshold).to(noise.dtype), edge)
    return F.threshold(cover, OPAQUE, 0.0)
