"""Blind restoration: a small network that estimates how degraded an image is, trained beside the restorer."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BANDS = 4
FAINT = 1e-6  # energy below which a band counts as empty
LEAST = 1e-3  # severity that an estimate is raised to, for there is nothing to walk from 0


class SeverityHead(nn.Module):
    """t̂ from x_t: convolutions pooled over the image, and the energy of its bands, which blur and noise change most.

    Nothing of it depends on the size of the image or on the rest of the batch.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        sizes = (channels, width, 2 * width, 4 * width)
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(sizes))
        self.head = nn.Sequential(nn.Linear(sizes[-1] + BANDS + 1, 4 * width), nn.SiLU(), nn.Linear(4 * width, 1))

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, H, W) → t̂ (B,) in (0, 1)."""
        size = x.square().mean((1, 2, 3), keepdim=True).sqrt()
        h = x / (size + FAINT)
        for layer in self.layers:
            h = F.silu(layer(h))
        features = torch.cat([h.mean((2, 3)), energies(x)], dim=1)
        t: Tensor = self.head(features).squeeze(1).sigmoid()
        return t


def energies(x: Tensor) -> Tensor:
    """The decimal logarithm of the mean square of x and of its bands, fine to coarse: (B, C, H, W) → (B, BANDS + 1)."""
    found = [x]
    for _ in range(BANDS):
        mean = F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
        found.append(x - mean)
        x = F.avg_pool2d(mean, 2, ceil_mode=True)
    return torch.log10(torch.stack([band.square().mean((1, 2, 3)) for band in found], dim=1) + FAINT)


def estimation_loss(head: SeverityHead, x_t: Tensor, t: Tensor) -> Tensor:
    """(t̂ - t)², with the value 0, so that it trains the head and leaves the restorer's loss as it is."""
    loss = F.mse_loss(head(x_t), t.to(x_t.dtype))
    return loss - loss.detach()
