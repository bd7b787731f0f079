"""Brightness, contrast and saturation, in closed form without a way to HSV and back."""

from __future__ import annotations

import torch
from torch import Tensor

from rethaw.api import State
from rethaw_imagenet_c.levels import Corruption, clip, constants, table

BRIGHTNESS = table([[0.0], [0.1], [0.2], [0.3], [0.4], [0.5]])
CONTRAST = table([[1.0], [0.4], [0.3], [0.2], [0.1], [0.05]])
SATURATE = table([[1.0, 0.0], [0.3, 0.0], [0.1, 0.0], [2.0, 0.0], [5.0, 0.1], [20.0, 0.2]])
TINY = 1e-6


class Brightness(Corruption):
    """Raises V of HSV by c, up to 1. Hue and saturation stay, so all channels scale with V: D = x0 V' / V."""

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        (c,) = constants(BRIGHTNESS, self.level(u, x0))
        value = x0.amax(1, keepdim=True)
        raised = torch.minimum(value + c, value.clamp_min(1))
        black = (value <= TINY).to(value.dtype)
        scale = torch.lerp(raised / value.clamp_min(TINY), torch.ones_like(value), black)
        return torch.addcmul(x0 * scale, black, c).to(x0.dtype)


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
        a, b = constants(SATURATE, self.level(u, x0))
        value, least = x0.amax(1, keepdim=True), x0.amin(1, keepdim=True)
        chroma = value - least
        saturation = chroma / value.clamp_min(TINY)
        inverse = 1 / saturation.clamp_min(TINY)
        change = 1 - torch.minimum(torch.addcmul(a, b, inverse), inverse.clamp_min(1))
        grey = (chroma <= TINY).to(x0.dtype)
        result = torch.addcmul(x0, value - x0, change)
        result[:, 1:] -= grey * value * b
        return clip(result, x0)
