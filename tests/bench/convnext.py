"""A plain ConvNeXt U-Net of 34.6 M weights, about as large as what Cold Diffusion trained on CIFAR-10 (35.7 M).

Its blocks are ConvNeXt's (2201.03545) with a 7×7 depthwise convolution, a GroupNorm of one group, two 3×3 convolutions
of twice the width, and the severity added after the first. It has no attention.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn

from rethaw.ops import sinusoids


class Block(nn.Module):
    """One block: (B, Cin, H, W), (B, D) → (B, Cout, H, W)."""

    def __init__(self, inside: int, outside: int, embedding: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(inside, inside, 7, padding=3, groups=inside)
        self.severity = nn.Sequential(nn.GELU(), nn.Linear(embedding, inside))
        self.layers = nn.Sequential(
            nn.GroupNorm(1, inside),
            nn.Conv2d(inside, 2 * outside, 3, padding=1),
            nn.GELU(),
            nn.GroupNorm(1, 2 * outside),
            nn.Conv2d(2 * outside, outside, 3, padding=1),
        )
        self.shortcut = nn.Conv2d(inside, outside, 1) if inside != outside else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = self.depthwise(x) + self.severity(embedding)[:, :, None, None]
        out: Tensor = self.layers(h) + self.shortcut(x)
        return out


class ConvNeXtUNet(nn.Module):
    """Two blocks a level on each side, concatenated skips."""

    def __init__(self, channels: int = 3, widths: tuple[int, ...] = (64, 128, 256, 512)) -> None:
        super().__init__()
        d, self.multiple = widths[0], 2 ** (len(widths) - 1)
        self.severity = nn.Sequential(nn.Linear(64, 4 * d), nn.GELU(), nn.Linear(4 * d, d))
        pairs = list(pairwise((channels, *widths)))
        self.encoder = nn.ModuleList(nn.ModuleList([Block(a, b, d), Block(b, b, d)]) for a, b in pairs)
        self.down = nn.ModuleList(nn.Conv2d(w, w, 4, stride=2, padding=1) for w in widths[:-1])
        self.up = nn.ModuleList(nn.ConvTranspose2d(b, a, 4, stride=2, padding=1) for a, b in pairwise(widths))
        self.decoder = nn.ModuleList(nn.ModuleList([Block(2 * w, w, d), Block(w, w, d)]) for w in widths[:-1])
        self.head = nn.Sequential(Block(widths[0], widths[0], d).layers, nn.Conv2d(widths[0], channels, 1))

    def forward(self, x_t: Tensor, t: Tensor, cond: Mapping[str, Tensor]) -> Tensor:
        embedding, h, skips = self.severity(sinusoids(t)), x_t, []
        for level, blocks in enumerate(self.encoder):
            for block in blocks:  # type: ignore[attr-defined]
                h = block(h, embedding)
            if level < len(self.down):
                skips.append(h)
                h = self.down[level](h)
        for up, blocks in zip(reversed(self.up), reversed(self.decoder), strict=True):
            h = torch.cat([up(h), skips.pop()], dim=1)
            for block in blocks:  # type: ignore[attr-defined]
                h = block(h, embedding)
        out: Tensor = self.head(h)
        return out
