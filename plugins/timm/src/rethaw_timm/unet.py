"""A U-Net whose encoder is any of timm's.

Most encoders start with a stride of two or four, which loses the detail that a restorer has to keep. So the network
has convolutions of its own at every stride that is finer than the encoder's first, full resolution included, and the
decoder (1505.04597) ends there. The severity scales and shifts (FiLM) what the encoder sees and what it gives, and each
residual block of the decoder. The last layer starts at zero, so the network first returns zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from timm.layers import LayerNorm2d
from torch import Tensor, nn

from rethaw.ops import detail, zeroed
from rethaw_timm.encoder import Encoder
from rethaw_timm.layers import CrossAttention, Embedding, FiLM, shown

if TYPE_CHECKING:
    from rethaw.api import Context
    from rethaw_timm.plugin import UNet as Params

WIDEST = 4  # times the width at full resolution
HEADS = 4


class Block(nn.Module):
    """Two 3×3 convolutions around a scale and a shift by the embedding: (B, C, H, W), (B, D) → (B, C, H, W)."""

    def __init__(self, channels: int, embedding: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = LayerNorm2d(channels), LayerNorm2d(channels)
        self.film = FiLM(channels, embedding)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = zeroed(nn.Conv2d(channels, channels, 3, padding=1))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = self.film(self.norm2(self.conv1(F.silu(self.norm1(x)))), embedding)
        out: Tensor = x + self.conv2(F.silu(h))
        return out


class Level(nn.Module):
    """One level of the decoder: what comes from below, if anything, is enlarged and added to the features here."""

    def __init__(self, features: int, below: int, channels: int, embedding: int, blocks: int) -> None:
        super().__init__()
        self.film, self.lateral = FiLM(features, embedding), nn.Conv2d(features, channels, 1)
        self.up = nn.Conv2d(below, channels, 1) if below else None
        self.blocks = nn.ModuleList(Block(channels, embedding) for _ in range(blocks))

    def forward(self, features: Tensor, below: Tensor | None, embedding: Tensor) -> Tensor:
        h: Tensor = self.lateral(self.film(features, embedding))
        if self.up is not None and below is not None:
            h = h + F.interpolate(self.up(below), size=h.shape[-2:], mode="bilinear")
        for block in self.blocks:
            h = block(h, embedding)
        return h


class UNet(nn.Module):
    """The network of `timm.unet`."""

    accepts: ClassVar[tuple[str, ...]] = ("vector", "tokens", "image")

    def __init__(self, params: Params, context: Context) -> None:
        super().__init__()
        width, embedding = params.width, 4 * params.width
        seen = context.in_channels * (1 + params.bands) + context.cond.get("image", 0)
        self.bands, self.image = params.bands, "image" in context.cond
        wanted = (params.pretrained, params.weights) if context.initial else (False, None)
        self.encoder = Encoder(params.encoder, seen, params.stride, *wanted)
        self.multiple, self.fixed_size = self.encoder.multiple, self.encoder.fixed_size

        own = [stride for stride in (1, 2, 4, 8, 16) if stride < self.encoder.strides[0]]
        sizes = [width * min(stride, WIDEST) for stride in own]
        self.paths = nn.ModuleList(
            nn.Conv2d(inside, outside, 3, stride=2 if i else 1, padding=1)
            for i, (inside, outside) in enumerate(zip([seen, *sizes], sizes, strict=False))
        )
        channels = [width * min(stride, WIDEST) for stride in (*own, *self.encoder.strides)]
        features = [*sizes, *self.encoder.channels]
        self.embedding, self.film = Embedding(embedding, context.cond.get("vector", 0)), FiLM(seen, embedding)
        self.levels = nn.ModuleList(
            Level(inside, below, outside, embedding, params.blocks)
            for inside, outside, below in zip(features, channels, [*channels[1:], 0], strict=True)
        )
        tokens = context.cond.get("tokens", 0)
        self.cross = CrossAttention(channels[-1], tokens, HEADS) if tokens else None
        self.head = zeroed(nn.Conv2d(width, context.out_channels, 3, padding=1))
        self.to(memory_format=torch.channels_last)

    def forward(self, x_t: Tensor, t: Tensor, cond: Mapping[str, Tensor]) -> Tensor:
        """x_t (B, Cin, H, W) and image (B, C, H, W), t (B,), vector (B, D), tokens (B, L, D) → (B, Cout, H, W)."""
        embedding = self.embedding(t, cond)
        seen = shown(detail(x_t, self.bands), cond, self.image).contiguous(memory_format=torch.channels_last)
        features, path = [], seen
        for convolution in self.paths:
            path = convolution(path)
            features.append(path)
        features += self.encoder(self.film(seen, embedding))
        h: Tensor | None = None
        for level, at in zip(reversed(self.levels), reversed(features), strict=True):
            h = level(at, h, embedding)
            if at is features[-1] and self.cross is not None:
                h = attended(self.cross, h, cond)
        out: Tensor = self.head(h)
        return out


def attended(cross: CrossAttention, h: Tensor, cond: Mapping[str, Tensor]) -> Tensor:
    """Cross-attention of every pixel of h (B, C, H, W)."""
    pixels: Tensor = cross(h.flatten(2).transpose(1, 2), cond["tokens"], cond["tokens_mask"])
    return pixels.transpose(1, 2).reshape(h.shape)
