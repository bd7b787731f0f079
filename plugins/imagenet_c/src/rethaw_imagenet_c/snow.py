"""Snow: flakes drawn once for each image; a change of severity only blends."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from rethaw.api import Rng, State
from rethaw.ops import Constant, correlate, rand, randn
from rethaw_imagenet_c.blur import motion_kernel, path
from rethaw_imagenet_c.levels import Corruption, clip, constants, shares, table, whitened
from rethaw_imagenet_c.zoom import cropped, enlarge

FLAKES = (
    (0.1, 0.3, 3, 0.5, 10, 4),
    (0.2, 0.3, 2, 0.5, 12, 4),
    (0.55, 0.3, 4, 0.9, 12, 8),
    (0.55, 0.3, 4.5, 0.85, 12, 8),
    (0.55, 0.3, 2.5, 0.85, 12, 12),
)
"""Of each level: mean and σ of the noise, zoom, threshold, radius and σ of the motion."""
LIGHT = table([[1.0], [0.8], [0.7], [0.7], [0.65], [0.55]])  # the share of the image that is not whitened
STREAK = 25  # the longest path
FROM, SIZE = (24, 18), (25, 37)  # of the kernel, which reaches upwards, at most 45° to the left or right
LEAST_ZOOM = 2.0


class Snow(Corruption):
    """D = clip(b x0 + (1 - b) max(x0, 1.5 grey + 0.5) + s + rot180(s)).

    s is the published layer of a level, between levels a blend of the two next to it (none at level 0). State:
    {"layers": (B, L, H, W)}, of the L levels that can be reached, all from the same noise.
    """

    def draw(self, like: Tensor, generator: Rng) -> State:
        height, width = like.shape[-2:]
        noise = randn(like, generator, (1, cropped(height, LEAST_ZOOM), cropped(width, LEAST_ZOOM)))
        angle = -math.pi * (0.25 + 0.5 * rand(like, generator, ()))
        return {"layers": torch.cat([flakes(noise, angle, i, height, width) for i in range(self.reachable)], 1)}

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        level = self.level(u, x0)
        b = constants(LIGHT, level)[0].to(x0.dtype)
        layers = state["layers"]
        share = shares(level)[:, None, 1 : self.reachable + 1].to(layers.dtype)
        snow = torch.bmm(share, layers.flatten(2)).view_as(layers[:, :1])
        return clip(whitened(x0, b).add_(snow + snow.flip(-1, -2)), x0)


def flakes(noise: Tensor, angle: Tensor, i: int, height: int, width: int) -> Tensor:
    """The layer of level i + 1, (B, 1, H, W): enlarged noise, cut off below a threshold and streaked at `angle` (B,).

    In whole 255ths, as published; that also keeps a layer the same to the last bit in a batch of any size.
    """
    mean, σ, zoom, threshold, _, _ = FLAKES[i]
    angle = angle.to(torch.promote_types(noise.dtype, torch.float32))
    shown = middle(mean + σ * noise, height, width, zoom)
    whole = [round(side * zoom) for side in shown.shape[-2:]]  # a little more than the image, as published
    layer = F.threshold(enlarge(shown, whole[0], whole[1], zoom), threshold, 0).clamp_max_(1)
    kernel = motion_kernel(STREAKS.like(angle)[i].expand(len(noise), -1), angle, FROM, SIZE)
    streaked = correlate(layer, kernel, FROM)[..., :height, :width]
    return streaked.clamp(0, 1).mul_(255).round_().div_(255)


def middle(noise: Tensor, height: int, width: int, zoom: float) -> Tensor:
    """The part of the noise that an enlargement shows."""
    rows, columns = cropped(height, zoom), cropped(width, zoom)
    top, left = (noise.shape[-2] - rows) // 2, (noise.shape[-1] - columns) // 2
    return noise[..., top : top + rows, left : left + columns]


STREAKS = Constant(torch.stack([path(int(radius), σ, STREAK) for *_, radius, σ in FLAKES]))
