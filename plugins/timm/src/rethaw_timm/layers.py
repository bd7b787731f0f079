"""What both networks are made of: the embedding of the condition, and cross-attention to tokens."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rethaw.ops import sinusoids, zeroed

FEATURES = 64  # sinusoids of the severity


class Embedding(nn.Module):
    """The severity and the condition's vector as one: t (B,), vector (B, D) → (B, width)."""

    def __init__(self, width: int, vector: int) -> None:
        super().__init__()
        self.severity = nn.Sequential(nn.Linear(FEATURES, width), nn.SiLU(), nn.Linear(width, width))
        self.vector = nn.Linear(vector, width) if vector else None

    def forward(self, t: Tensor, cond: Mapping[str, Tensor]) -> Tensor:
        embedded: Tensor = self.severity(sinusoids(t, FEATURES))
        return F.silu(embedded if self.vector is None else embedded + self.vector(cond["vector"]))


class FiLM(nn.Module):
    """A scale and a shift of each channel (1709.07871), at first none: (B, C, H, W), (B, D) → (B, C, H, W)."""

    def __init__(self, channels: int, embedding: int) -> None:
        super().__init__()
        self.modulation = zeroed(nn.Linear(embedding, 2 * channels))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.modulation(embedding)[:, :, None, None].chunk(2, dim=1)
        return torch.addcmul(shift, x, 1 + scale)


class CrossAttention(nn.Module):
    """Each of (B, N, C) attends to the condition's tokens (B, L, D), mask (B, L) true where there is one; a residual.

    One learned token is always there beside them, so that a condition without any token is no condition.
    """

    def __init__(self, channels: int, tokens: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.nothing = nn.Parameter(torch.zeros(tokens))
        self.attention = nn.MultiheadAttention(channels, heads, kdim=tokens, vdim=tokens, batch_first=True)
        zeroed(self.attention.out_proj)

    def forward(self, x: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        seen = torch.cat([self.nothing.expand(len(x), 1, -1), tokens], dim=1)
        absent = F.pad(~mask, (1, 0), value=False)
        out: Tensor = x + self.attention(self.norm(x), seen, seen, key_padding_mask=absent, need_weights=False)[0]
        return out


def shown(x: list[Tensor], cond: Mapping[str, Tensor], image: bool) -> Tensor:
    """x_t with its bands, and the condition's image: (B, C, H, W)."""
    return torch.cat([*x, cond["image"]] if image else x, dim=1)
