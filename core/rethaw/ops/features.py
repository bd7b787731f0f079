"""What networks are shown of a severity and of an image: sinusoids, and fine detail amplified."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def sinusoids(t: Tensor, features: int = 64) -> Tensor:
    """Severities (B,) as sines and cosines of 2 to 200 radians over [0, 1] (1706.03762, section 3.5): (B, features)."""
    octaves = torch.linspace(math.log(2.0), math.log(200.0), features // 2, device=t.device, dtype=t.dtype)
    angles = t[:, None] * octaves.exp()
    return torch.cat([angles.sin(), angles.cos()], dim=1)


BAND_WINDOW = 5  # px, of the mean that a band is the difference from


BAND_GAIN = 4.0


def detail(x: Tensor, bands: int) -> list[Tensor]:
    """x (B, C, H, W), then ever finer bands of it, each the one before less its local mean, amplified.

    A strong blur leaves the fine detail in the picture, but hundreds of times fainter than the rest, and a network
    finds it slowly. The bands hold nothing that is not in x; they make it visible to the first gradient steps.
    """
    seen, margin = [x], BAND_WINDOW // 2
    for _ in range(bands):
        mean = F.avg_pool2d(seen[-1], BAND_WINDOW, stride=1, padding=margin, count_include_pad=False)
        seen.append(BAND_GAIN * (seen[-1] - mean))
    return seen
