"""Colours: the weights of brightness, and turns about the grey axis."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["LUMA", "hue_rotation"]

LUMA = (0.299, 0.587, 0.114)
"""The share of red, green and blue in brightness, ITU-R BT.601."""


def hue_rotation(angle: Tensor) -> Tensor:
    """The (B, 3, 3) rotations of RGB about the grey axis by angles (B,) in radians (Rodrigues): grey stays.

    A turn by 2π/3 makes red green, green blue and blue red.
    """
    along = torch.full((3, 3), 1 / 3, device=angle.device, dtype=angle.dtype)  # the projection on the grey axis
    eye = torch.eye(3, device=angle.device, dtype=angle.dtype)
    across = (eye.roll(1, 0) - eye.roll(1, 1)) / math.sqrt(3)  # v → grey × v, grey of length one
    angle = angle.view(-1, 1, 1)
    return along + torch.cos(angle) * (eye - along) + torch.sin(angle) * across
