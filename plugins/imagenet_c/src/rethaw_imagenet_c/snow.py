"""Snow: flakes drawn once for each image; a change of severity only blends."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rethaw.api import Rng, State
from rethaw.ops import Constant, rand, randn, separable
from rethaw_imagenet_c.blur import motion_kernel, path
from rethaw_imagenet_c.convolve import correlate
from rethaw_imagenet_c.levels import Corruption, clip, constants, grey, shares, table
from rethaw_imagenet_c.zoom import zoom_rows

FLAKES = ((0.1, 0.3, 3, 0.5, 10, 4), (0.2, 0.3, 2, 0.5, 12, 4), (0.55, 0.3, 4, 0.9, 12, 8),
          (0.55, 0.3, 4.5, 0.85, 12, 8), (0.55, 0.3, 2.5, 0.85, 12, 12))  # fmt: skip
"""Of each level: mean and σ of the noise, zoom, threshold, radius and σ of the motion."""
LIGHT = table([[1.0], [0.8], [0.7], [0.7], [0.65], [0.55]])  # the share of the image that is not whitened
STREAK = 25  # the longest path


class Snow(Corruption):
    """D = clip(b x0 + (1 - b) max(x0, 1.5 grey + 0.5) + s + rot180(s)).

    s is the published layer of a level, between levels a blend of the two next to it (none at level 0). State:
    {"layers": (B, 5, H, W)}, already s + rot180(s), all five from the same noise.
    """

    def draw(self, like: Tensor, generator: Rng) -> State:
        noise = randn(like, generator, (1, *like.shape[-2:]))
        angle = -math.pi * (0.25 + 0.5 * rand(like, generator, ()))
        layers = torch.cat([flakes(noise, angle, i) for i in range(len(FLAKES))], 1)
        return {"layers": layers + layers.flip(-1, -2)}

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        level = self.level(u, x0)
        b = constants(LIGHT, level)[0].to(x0.dtype)
        layers = state["layers"]
        snow = torch.bmm(shares(level)[:, None, 1:].to(layers.dtype), layers.flatten(2)).view_as(layers[:, :1])
        return clip(torch.lerp(torch.maximum(x0, 1.5 * grey(x0) + 0.5), x0, b).add_(snow), x0)


def flakes(noise: Tensor, angle: Tensor, i: int) -> Tensor:
    """The layer of level i + 1, (B, 1, H, W): enlarged noise, cut off below a threshold and streaked at `angle` (B,).

    In whole 255ths, as published; that also keeps a layer the same to the last bit in a batch of any size.
    """
    mean, σ, zoom, threshold, _, _ = FLAKES[i]
    rows, columns = (zoom_rows(size, zoom, noise) for size in noise.shape[-2:])
    enlarged = mean + σ * separable(noise, rows, columns)
    layer = torch.where(enlarged < threshold, 0.0, enlarged).clamp_max(1)
    angle = angle.to(torch.promote_types(noise.dtype, torch.float32))
    weights = STREAKS.like(angle)[i].expand(len(noise), -1)
    return (correlate(layer, motion_kernel(weights, angle)).clamp(0, 1) * 255).round() / 255


STREAKS = Constant(torch.stack([path(int(radius), σ, STREAK) for *_, radius, σ in FLAKES]))
