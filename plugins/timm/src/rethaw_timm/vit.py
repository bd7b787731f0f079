"""A restorer of transformer blocks, DiT (Peebles and Xie 2022, arXiv 2212.09748), on timm's attention and perceptron.

The severity and the condition's vector give each block its scales, shifts and gates by one linear layer that starts at
zero (adaLN-zero), so every block starts as the identity. Positions are two-dimensional sinusoids: it works on any size,
but answers well only at the one that it was trained at. Tokens of a condition come in by cross-attention, as in
PixArt-α (2310.00426).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from timm.layers import Attention, Mlp, build_sincos2d_pos_embed
from torch import Tensor, nn

from rethaw.ops import detail, zeroed
from rethaw_timm.layers import CrossAttention, Embedding, shown

if TYPE_CHECKING:
    from rethaw.api import Context
    from rethaw_timm.plugin import ViT as Params


class AdaNorm(nn.Module):
    """LayerNorm, then a scale and a shift of each image's own: (B, N, C), (B, 1, C) twice → (B, N, C)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)

    def forward(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        return torch.addcmul(shift, self.norm(x), 1 + scale)


class Block(nn.Module):
    """Self-attention, cross-attention where there are tokens, and a perceptron: (B, N, C), (B, C) → (B, N, C)."""

    def __init__(self, params: Params, tokens: int) -> None:
        super().__init__()
        width = params.width
        self.norm1, self.norm2 = AdaNorm(width), AdaNorm(width)
        self.attention = Attention(width, params.heads, qkv_bias=True)
        self.cross = CrossAttention(width, tokens, params.heads) if tokens else None
        self.mlp = Mlp(width, int(width * params.mlp_ratio), act_layer=nn.GELU)
        self.modulation = zeroed(nn.Linear(width, 6 * width))

    def forward(self, x: Tensor, embedding: Tensor, cond: Mapping[str, Tensor]) -> Tensor:
        scale1, shift1, gate1, scale2, shift2, gate2 = self.modulation(embedding)[:, None].chunk(6, dim=-1)
        x = torch.addcmul(x, gate1, self.attention(self.norm1(x, scale1, shift1)))
        if self.cross is not None:
            x = self.cross(x, cond["tokens"], cond["tokens_mask"])
        return torch.addcmul(x, gate2, self.mlp(self.norm2(x, scale2, shift2)))


class ViT(nn.Module):
    """The network of `timm.vit`."""

    accepts: ClassVar[tuple[str, ...]] = ("vector", "tokens", "image")
    fixed_size: ClassVar[bool] = True  # it has seen no position beyond its training size, nor so many tokens

    def __init__(self, params: Params, context: Context) -> None:
        super().__init__()
        width, area = params.width, params.patch**2
        self.patch = self.multiple = params.patch
        self.bands, self.image = params.bands, "image" in context.cond
        seen = context.in_channels * (1 + params.bands) + context.cond.get("image", 0)
        self.stem = nn.Conv2d(seen, width, params.patch, stride=params.patch)
        self.embedding = Embedding(width, context.cond.get("vector", 0))
        self.blocks = nn.ModuleList(Block(params, context.cond.get("tokens", 0)) for _ in range(params.depth))
        self.norm, self.modulation = AdaNorm(width), zeroed(nn.Linear(width, 2 * width))
        self.head = zeroed(nn.Linear(width, context.out_channels * area))

    def forward(self, x_t: Tensor, t: Tensor, cond: Mapping[str, Tensor]) -> Tensor:
        """x_t (B, Cin, H, W) and image (B, C, H, W), t (B,), vector (B, D), tokens (B, L, D) → (B, Cout, H, W)."""
        embedding = self.embedding(t, cond)
        grid = self.stem(shown(detail(x_t, self.bands), cond, self.image))  # (B, width, h, w)
        size = list(grid.shape[-2:])
        positions = build_sincos2d_pos_embed(size, grid.shape[1], device=grid.device, dtype=grid.dtype)
        x = grid.flatten(2).transpose(1, 2) + positions
        for block in self.blocks:
            x = block(x, embedding, cond)
        scale, shift = self.modulation(embedding)[:, None].chunk(2, dim=-1)
        out = self.head(self.norm(x, scale, shift)).transpose(1, 2).unflatten(2, size)
        return F.pixel_shuffle(out, self.patch)
