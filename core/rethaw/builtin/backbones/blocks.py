"""The layers of `core.unet`: normalisation, residual blocks that take the severity, and attention."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rethaw.ops import sinusoids, zeroed

FEATURES = 64  # sinusoids of the severity
HEAD_CHANNELS = 32  # of one attention head
GROUPS = 32  # of a group norm, at most


class RMSNorm2d(nn.Module):
    """Divides each pixel by the root mean square of its channels (1910.07467): (B, C, H, W) → (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-6) * self.gain[:, None, None]


class GroupNorm(nn.GroupNorm):
    """GroupNorm (1803.08494) that takes a map of one pixel too, where `nn.GroupNorm` refuses a group of one value."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)


def normaliser(kind: str, channels: int) -> nn.Module:
    """rms, or group: of at most 32 groups."""
    return RMSNorm2d(channels) if kind == "rms" else GroupNorm(math.gcd(GROUPS, channels), channels)


class SeverityEmbedding(nn.Module):
    """Sinusoids of t, then two layers: (B,) → (B, D)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(FEATURES, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        features: Tensor = self.layers(sinusoids(t, FEATURES))
        return features


class ResBlock(nn.Module):
    """Two 3×3 convolutions around a scale and a shift by t, as in ADM: (B, Cin, H, W), (B, D) → (B, Cout, rH, rW).

    ratio: 2 doubles the side and 0.5 halves it, on both the branch and the shortcut (BigGAN's blocks, 1809.11096).
    """

    def __init__(
        self, inside: int, outside: int, embedding: int, norm: str, dropout: float = 0.0, ratio: float = 1
    ) -> None:
        super().__init__()
        self.norm1, self.norm2 = normaliser(norm, inside), normaliser(norm, outside)
        self.conv1 = nn.Conv2d(inside, outside, 3, padding=1)
        self.conv2 = zeroed(nn.Conv2d(outside, outside, 3, padding=1))
        self.modulation = zeroed(nn.Linear(embedding, 2 * outside))
        self.shortcut = nn.Identity() if inside == outside else nn.Conv2d(inside, outside, 1)
        self.dropout, self.ratio = nn.Dropout(dropout), ratio

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.modulation(embedding)[:, :, None, None].chunk(2, dim=1)
        h = self.conv1(resized(F.silu(self.norm1(x)), self.ratio))
        h = torch.addcmul(shift, self.norm2(h), 1 + scale)
        out: Tensor = self.shortcut(resized(x, self.ratio)) + self.conv2(self.dropout(F.silu(h)))
        return out


def resized(x: Tensor, ratio: float) -> Tensor:
    """Half the side by the mean of 2×2 pixels, or twice by repeating them."""
    if ratio == 1:
        return x
    return F.avg_pool2d(x, 2) if ratio < 1 else F.interpolate(x, scale_factor=ratio, mode="nearest")


class SelfAttention(nn.Module):
    """Every pixel attends to all (1706.03762): (B, C, H, W) → (B, C, H, W). Memory is linear in H·W, time quadratic."""

    def __init__(self, channels: int, norm: str) -> None:
        super().__init__()
        self.heads = heads(channels)
        self.norm = normaliser(norm, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = zeroed(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        tokens = self.qkv(self.norm(x)).flatten(2).unflatten(1, (3, self.heads, -1)).transpose(-1, -2)
        query, key, value = tokens.contiguous().unbind(1)  # each (B, heads, H·W, C/heads)
        mixed = F.scaled_dot_product_attention(query, key, value)
        out: Tensor = x + self.out(mixed.transpose(-1, -2).reshape(batch, channels, height, width))
        return out


class CrossAttention(nn.Module):
    """Every pixel attends to the tokens of a condition: (B, C, H, W), (B, L, D), mask (B, L) → (B, C, H, W).

    One learned token is always there beside them, so that a condition without any token is no condition.
    """

    def __init__(self, channels: int, tokens: int, norm: str) -> None:
        super().__init__()
        self.heads = heads(channels)
        self.norm = normaliser(norm, channels)
        self.nothing = nn.Parameter(torch.zeros(tokens))
        self.query = nn.Conv2d(channels, channels, 1)
        self.key_value = nn.Linear(tokens, 2 * channels)
        self.out = zeroed(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        seen = torch.cat([self.nothing.expand(batch, 1, -1), tokens], dim=1)
        there = F.pad(mask, (1, 0), value=True)[:, None, None]  # (B, 1, 1, 1 + L)
        query = self.query(self.norm(x)).flatten(2).unflatten(1, (self.heads, -1)).transpose(-1, -2)
        key, value = self.key_value(seen).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=there)
        out: Tensor = x + self.out(mixed.transpose(-1, -2).reshape(batch, channels, height, width))
        return out


def heads(channels: int) -> int:
    """The number of heads of about 32 channels each."""
    return math.gcd(channels, max(1, channels // HEAD_CHANNELS))
