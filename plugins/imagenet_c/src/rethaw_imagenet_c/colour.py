"""Brightness, contrast and saturation, in closed form without a way to HSV and back."""

from __future__ import annotations

import torch
from torch import Tensor

from rethaw.api import State
from rethaw_imagenet_c.levels import Corruption, check_colour, clip, constants, table

BRIGHTNESS = table([[0.0], [0.1], [0.2], [0.3], [0.4], [0.5]])
CONTRAST = table([[1.0], [0.4], [0.3], [0.2], [0.1], [0.05]])
SATURATE = table([[1.0, 0.0], [0.3, 0.0], [0.1, 0.0], [2.0, 0.0], [5.0, 0.1], [20.0, 0.2]])
TINY = 1e-6


class Brightness(Corruption):
    """Raises V of HSV by c, up to 1. Hue and saturation stay, so all channels scale with V: D = x0 V' / V."""

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        (c,) = constants(BRIGHTNESS, self.level(u, x0))
        c = c.to(x0.dtype)
        value = x0.amax(1, keepdim=True)
        tiny = max(TINY, 4 * torch.finfo(x0.dtype).tiny)  # whose inverse is finite, in float16 too
        black = (value <= tiny).to(x0.dtype)
        scale = torch.minimum(value + c, value.clamp_min(1)) / value.clamp_min(tiny)
        return torch.addcmul(x0 * (scale + (1 - scale) * black), black, c)


class Contrast(Corruption):
    """D = mean + c (x0 - mean), mean over each channel's pixels; linear, and its own adjoint."""

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        (c,) = constants(CONTRAST, self.level(u, x0))
        mean = x0.mean((-2, -1), keepdim=True)
        return torch.lerp(x0, mean.expand_as(x0), (1 - c).to(x0.dtype))

    def adjoint(self, y: Tensor, u: Tensor, state: State) -> Tensor:
        return self.degrade(y, u, state)


class Saturate(Corruption):
    """S of HSV becomes S' = clip(a S + b). Every channel is V (1 - S f), so D = x0 + (V - x0)(1 - S' / S).

    A grey pixel counts as red, as HSV has it, so that b > 0 tints it.
    """

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        check_colour("saturate", x0)
        a, b = (c.to(x0.dtype) for c in constants(SATURATE, self.level(u, x0)))
        value = x0.amax(1, keepdim=True)
        change, tint = saturation_change(value, x0.amin(1, keepdim=True), a, b)
        channels = zip(x0.split(1, 1), (0, 1, 1), strict=True)
        return torch.cat([clip(torch.addcmul(x, value - x, change).sub_(tint * i), x) for x, i in channels], 1)


def saturation_change(value: Tensor, least: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """1 - S' / S, and what a grey pixel's green and blue lose, of the greatest and the least channel, (B, 1, H, W)."""
    chroma = value - least
    inverse = value.clamp_min(TINY) / chroma.clamp_min(TINY)  # 1 / S
    change = 1 - torch.minimum(torch.addcmul(a, b, inverse), inverse.clamp_min(1))
    return change, (chroma <= TINY) * value * b
