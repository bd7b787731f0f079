"""A compact U-Net for restoration, made to learn in minutes on a CPU and to run unchanged on a GPU.

The shape is U-Net's (1505.04597): an encoder and a decoder with skips, here added rather than concatenated.
Its residual blocks take the severity t by a scale and a shift, as in ADM (2105.05233), normalise each pixel
over its channels by RMSNorm (1910.07467), so that nothing depends on the size of the image or on the rest of
the batch, and start as the identity. The image is folded into channels by `patch` first and unfolded last, as
in sub-pixel networks (1609.05158). Attention (1706.03762) is optional. The last layer starts at zero, so the
network first returns zero.

A strong blur leaves the fine detail in the picture, but hundreds of times fainter than the rest, and a
network finds it slowly. The stem therefore also sees `bands` ever finer bands of x_t, each amplified. They
hold nothing that is not in x_t; they only make it visible to the first gradient steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from rethaw.api import Context
    from rethaw.builtin.backbones.params import UNet as UNetParams

BAND_WINDOW = 5  # px, of the mean that a band is the difference from
BAND_GAIN = 4.0
HEAD_CHANNELS = 32  # of one attention head

Layer = TypeVar("Layer", bound=nn.Module)


class RMSNorm2d(nn.Module):
    """Divides each pixel by the root mean square of its channels: (B, C, H, W) → (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-6) * self.gain[:, None, None]


class SeverityEmbedding(nn.Module):
    """Sinusoids of t, from 2 to 200 radians over [0, 1], then two layers: (B,) → (B, D)."""

    frequencies: Tensor

    def __init__(self, width: int, features: int = 64) -> None:
        super().__init__()
        octaves = torch.linspace(math.log(2.0), math.log(200.0), features // 2)
        self.register_buffer("frequencies", octaves.exp(), persistent=False)
        self.layers = nn.Sequential(nn.Linear(features, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        angles = t[:, None] * self.frequencies
        features: Tensor = self.layers(torch.cat([angles.sin(), angles.cos()], dim=1))
        return features


class ResBlock(nn.Module):
    """Two 3×3 convolutions around a scale and a shift by t: (B, C, H, W), (B, D) → (B, C, H, W)."""

    def __init__(self, channels: int, embedding: int, dropout: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = RMSNorm2d(channels), RMSNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = zeroed(nn.Conv2d(channels, channels, 3, padding=1))
        self.modulation = zeroed(nn.Linear(embedding, 2 * channels))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.modulation(embedding)[:, :, None, None].chunk(2, dim=1)
        h = self.conv1(F.silu(self.norm1(x)))
        h = torch.addcmul(shift, self.norm2(h), 1 + scale)
        out: Tensor = x + self.conv2(self.dropout(F.silu(h)))
        return out


class SelfAttention(nn.Module):
    """Every pixel attends to all: (B, C, H, W) → (B, C, H, W). Memory is linear in H·W, time quadratic."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = math.gcd(channels, max(1, channels // HEAD_CHANNELS))
        self.norm = RMSNorm2d(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = zeroed(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        tokens = self.qkv(self.norm(x)).flatten(2).unflatten(1, (3, self.heads, -1)).transpose(-1, -2)
        query, key, value = tokens.contiguous().unbind(1)  # each (B, heads, H·W, C/heads)
        mixed = F.scaled_dot_product_attention(query, key, value)
        out: Tensor = x + self.out(mixed.transpose(-1, -2).reshape(batch, channels, height, width))
        return out


class Stage(nn.Module):
    """The blocks of one level, on one side of the U: (B, C, H, W), (B, D) → (B, C, H, W)."""

    def __init__(self, channels: int, embedding: int, blocks: int, dropout: float, attention: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(ResBlock(channels, embedding, dropout) for _ in range(blocks))
        self.attention: nn.Module = SelfAttention(channels) if attention else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x, embedding)
        out: Tensor = self.attention(x)
        return out


class UNet(nn.Module):
    """The network of `core.unet`.

    `multiple`: H and W that are multiples of it fold evenly; `forward` pads and crops any other size itself.
    """

    accepts: ClassVar[tuple[str, ...]] = ("vector", "image")

    def __init__(self, params: UNetParams, context: Context) -> None:
        super().__init__()
        widths = [params.width * multiplier for multiplier in params.multipliers]
        self.patch, self.bands = params.patch, params.bands
        self.multiple = params.patch * 2 ** (len(widths) - 1)
        embedding, area = 4 * params.width, params.patch**2
        seen = context.in_channels * (1 + params.bands) + context.cond.get("image", 0)

        self.severity = SeverityEmbedding(embedding)
        vector = context.cond.get("vector", 0)
        self.vector = nn.Linear(vector, embedding) if vector else None
        self.image = "image" in context.cond

        def stage(level: int) -> Stage:
            return Stage(widths[level], embedding, params.blocks, params.dropout, level in params.attention)

        levels = range(len(widths))
        self.stem = nn.Conv2d(seen * area, widths[0], 3, padding=1)
        self.encoder = nn.ModuleList(stage(level) for level in levels)
        self.down = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in pairwise(widths))
        self.up = nn.ModuleList(nn.Conv2d(coarse, 4 * fine, 1) for fine, coarse in pairwise(widths))
        self.decoder = nn.ModuleList(stage(level) for level in levels[:-1])
        self.head = zeroed(nn.Conv2d(widths[0], context.out_channels * area, 3, padding=1))
        self.to(memory_format=torch.channels_last)

    def forward(self, x_t: Tensor, t: Tensor, cond: Mapping[str, Tensor]) -> Tensor:
        """x_t (B, Cin, H, W), t (B,) in [0, 1], vector (B, D) and image (B, C, H, W) → (B, Cout, H, W)."""
        height, width = x_t.shape[-2:]
        embedding = self.severity(t)
        if self.vector is not None:
            embedding = embedding + self.vector(cond["vector"])
        seen = [*detail(x_t, self.bands), cond["image"]] if self.image else detail(x_t, self.bands)
        folded = F.pixel_unshuffle(padded(torch.cat(seen, dim=1), self.multiple), self.patch)
        h = self.walk(self.stem(folded.contiguous(memory_format=torch.channels_last)), F.silu(embedding))
        return F.pixel_shuffle(self.head(h), self.patch)[..., :height, :width]

    def walk(self, h: Tensor, embedding: Tensor) -> Tensor:
        """Down and up the U: (B, width, H/patch, W/patch) → the same shape."""
        skips: list[Tensor] = []
        for stage, down in zip(self.encoder, self.down, strict=False):  # the lowest level has no way down
            skips.append(stage(h, embedding))
            h = down(skips[-1])
        h = self.encoder[-1](h, embedding)
        for stage, up in zip(reversed(self.decoder), reversed(self.up), strict=True):
            h = stage(skips.pop() + F.pixel_shuffle(up(h), 2), embedding)
        return h


def detail(x: Tensor, bands: int) -> list[Tensor]:
    """x (B, C, H, W), then its bands: each the one before less its local mean, amplified."""
    seen, margin = [x], BAND_WINDOW // 2
    for _ in range(bands):
        mean = F.avg_pool2d(seen[-1], BAND_WINDOW, stride=1, padding=margin, count_include_pad=False)
        seen.append(BAND_GAIN * (seen[-1] - mean))
    return seen


def padded(x: Tensor, multiple: int) -> Tensor:
    """x with its last rows and columns repeated until H and W are multiples of `multiple`."""
    down, right = -x.shape[-2] % multiple, -x.shape[-1] % multiple
    return F.pad(x, (0, right, 0, down), mode="replicate") if down or right else x


def zeroed(layer: Layer) -> Layer:
    """The layer, with every parameter set to zero."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
