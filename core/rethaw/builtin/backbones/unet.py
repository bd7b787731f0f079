"""A compact U-Net for restoration, made to learn in minutes on a CPU and to run unchanged on a GPU.

The shape is U-Net's (1505.04597): an encoder and a decoder with skips, by default added rather than concatenated. Its
residual blocks take the severity t by a scale and a shift, as in ADM (2105.05233), normalise each pixel over its
channels, so that nothing depends on the size of the image or on the rest of the batch, and start as the identity. The
image is folded into channels by `patch` first and unfolded last, as in sub-pixel networks (1609.05158). The stem sees
amplified bands of x_t too. The last layer starts at zero, so the network first returns zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rethaw.builtin.backbones.blocks import CrossAttention, ResBlock, SelfAttention, SeverityEmbedding
from rethaw.ops import detail, zeroed

if TYPE_CHECKING:
    from rethaw.api import Context
    from rethaw.builtin.backbones.params import UNet as UNetParams


class Shape:
    """What the parts of one network have in common: its parameters, and the sizes of the conditions."""

    def __init__(self, params: UNetParams, context: Context) -> None:
        self.params = params
        self.widths = [params.width * multiplier for multiplier in params.multipliers]
        self.embedding, self.tokens = 4 * params.width, context.cond.get("tokens", 0)

    def block(self, inside: int, outside: int, ratio: float = 1) -> ResBlock:
        """A residual block of this network."""
        return ResBlock(inside, outside, self.embedding, self.params.norm, self.params.dropout, ratio)

    def down(self, fine: int, coarse: int) -> Between:
        """From a level to the next coarser one."""
        if self.params.resample == "residual":
            return Between(self.block(fine, coarse, 0.5))
        return Between(nn.Conv2d(fine, coarse, 2, stride=2))

    def up(self, fine: int, coarse: int) -> Between:
        """From a level to the next finer one."""
        if self.params.resample == "residual":
            return Between(self.block(coarse, fine, 2))
        return Between(nn.Sequential(nn.Conv2d(coarse, 4 * fine, 1), nn.PixelShuffle(2)))


class Between(nn.Module):
    """The way from one level to the next: a residual block takes the severity, a convolution does not."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        out: Tensor = self.layer(x, embedding) if isinstance(self.layer, ResBlock) else self.layer(x)
        return out


class Stage(nn.Module):
    """The blocks of one level, on one side of the U: (B, Cin, H, W), (B, D), condition → (B, C, H, W).

    Attention follows at the chosen levels: to all pixels, and to the condition's tokens. Tokens are read at the lowest
    level in any case.
    """

    def __init__(self, shape: Shape, level: int, inside: int) -> None:
        super().__init__()
        params, channels = shape.params, shape.widths[level]
        chosen, lowest = level in params.attention, level == len(shape.widths) - 1
        sizes = [inside] + [channels] * params.blocks
        self.blocks = nn.ModuleList(shape.block(a, b) for a, b in pairwise(sizes))
        self.attention = SelfAttention(channels, params.norm) if chosen else None
        reads = shape.tokens and (chosen or lowest)
        self.cross = CrossAttention(channels, shape.tokens, params.norm) if reads else None

    def forward(self, x: Tensor, embedding: Tensor, cond: Mapping[str, Tensor]) -> Tensor:
        for block in self.blocks:
            x = block(x, embedding)
        if self.attention is not None:
            x = self.attention(x)
        if self.cross is not None:
            x = self.cross(x, cond["tokens"], cond["tokens_mask"])
        return x


class UNet(nn.Module):
    """The network of `core.unet`."""

    accepts: ClassVar[tuple[str, ...]] = ("vector", "tokens", "image")

    def __init__(self, params: UNetParams, context: Context) -> None:
        super().__init__()
        shape, area = Shape(params, context), params.patch**2
        widths, joined = shape.widths, 2 if params.skips == "concat" else 1
        self.patch, self.bands, self.concat = params.patch, params.bands, params.skips == "concat"
        self.multiple = params.patch * 2 ** (len(widths) - 1)
        self.fixed_size = bool(params.attention)
        seen = context.in_channels * (1 + params.bands) + context.cond.get("image", 0)

        self.severity = SeverityEmbedding(shape.embedding)
        vector = context.cond.get("vector", 0)
        self.vector = nn.Linear(vector, shape.embedding) if vector else None
        self.image = "image" in context.cond

        self.stem = nn.Conv2d(seen * area, widths[0], 3, padding=1)
        self.encoder = nn.ModuleList(Stage(shape, level, width) for level, width in enumerate(widths))
        self.down = nn.ModuleList(shape.down(*pair) for pair in pairwise(widths))
        self.up = nn.ModuleList(shape.up(*pair) for pair in pairwise(widths))
        self.decoder = nn.ModuleList(Stage(shape, level, joined * width) for level, width in enumerate(widths[:-1]))
        self.head = zeroed(nn.Conv2d(widths[0], context.out_channels * area, 3, padding=1))
        self.to(memory_format=torch.channels_last)

    def forward(self, x_t: Tensor, t: Tensor, cond: Mapping[str, Tensor]) -> Tensor:
        """x_t (B, Cin, H, W) and image (B, C, H, W), t (B,), vector (B, D), tokens (B, L, D) → (B, Cout, H, W)."""
        embedding = self.severity(t)
        if self.vector is not None:
            embedding = embedding + self.vector(cond["vector"])
        seen = [*detail(x_t, self.bands), cond["image"]] if self.image else detail(x_t, self.bands)
        folded = F.pixel_unshuffle(torch.cat(seen, dim=1), self.patch)
        h = self.walk(self.stem(folded.contiguous(memory_format=torch.channels_last)), F.silu(embedding), cond)
        return F.pixel_shuffle(self.head(h), self.patch)

    def walk(self, h: Tensor, embedding: Tensor, cond: Mapping[str, Tensor]) -> Tensor:
        """Down and up the U: (B, width, H/patch, W/patch) → the same shape."""
        skips: list[Tensor] = []
        for stage, down in zip(self.encoder, self.down, strict=False):  # the lowest level has no way down
            skips.append(stage(h, embedding, cond))
            h = down(skips[-1], embedding)
        h = self.encoder[-1](h, embedding, cond)
        for stage, up in zip(reversed(self.decoder), reversed(self.up), strict=True):
            skip, h = skips.pop(), up(h, embedding)
            h = stage(torch.cat([skip, h], dim=1) if self.concat else skip + h, embedding, cond)
        return h
