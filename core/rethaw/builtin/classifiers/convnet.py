"""A small classifier of degraded images: the downward half of a U-Net, as in ADM (2105.05233, section 4.1)."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn

from rethaw.builtin.backbones.blocks import ResBlock, RMSNorm2d, SeverityEmbedding
from rethaw.ops import with_classes

if TYPE_CHECKING:
    from rethaw.api import Context, Dataset
    from rethaw.builtin.classifiers.params import ConvNet as Params


class ConvNet(nn.Module):
    """Residual blocks that know t, halving after each level; the mean over the image says the class."""

    def __init__(self, params: Params, context: Context) -> None:
        super().__init__()
        widths = [params.width * multiplier for multiplier in params.multipliers]
        embedding = 4 * params.width
        self.severity = SeverityEmbedding(embedding)
        self.stem = nn.Conv2d(context.in_channels, widths[0], 3, padding=1)
        self.stages = nn.ModuleList(
            nn.ModuleList(ResBlock(width, width, embedding, "rms") for _ in range(params.blocks)) for width in widths
        )
        self.down = nn.ModuleList(nn.Conv2d(fine, coarse, 3, stride=2, padding=1) for fine, coarse in pairwise(widths))
        self.norm = RMSNorm2d(widths[-1])
        self.head = nn.Linear(widths[-1], context.out_channels)

    @classmethod
    def resolve(cls, params: Params, dataset: Dataset) -> Params:
        """Takes the classes from the training data where the YAML names none."""
        return with_classes(params, dataset)

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        """x_t (B, C, H, W), t (B,) → logits (B, classes)."""
        embedding = F.silu(self.severity(t))
        h = self.stem(x_t)
        for level, stage in enumerate(self.stages):
            h = self.down[level - 1](h) if level else h
            for block in stage:  # type: ignore[attr-defined]
                h = block(h, embedding)
        logits: Tensor = self.head(F.silu(self.norm(h)).mean((2, 3)))
        return logits
