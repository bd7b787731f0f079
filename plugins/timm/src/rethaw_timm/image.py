"""An image as a condition: the embedding that a frozen timm classifier makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from rethaw.api import Cond, Rng
from rethaw.ops import read_image
from rethaw_timm.encoder import create
from rethaw_timm.plugin import Image as Params


class Image:
    """An image (C, H, W) in [-1, 1], or the path of one, as a `vector` (B, D); the null condition is all zeros.

    The model's weights are not part of the run: it is frozen, and found again by the parameters.
    """

    def __init__(self, params: Params) -> None:
        self.params = params
        model: Any = create(params.model, params.pretrained, params.weights, num_classes=0)
        cfg, self.model = model.pretrained_cfg, model.eval().requires_grad_(False)
        self.size = tuple(cfg["input_size"][-2:])
        self.mean, self.std = (torch.tensor(cfg[key]).view(-1, 1, 1) for key in ("mean", "std"))
        self.widths = {"vector": int(model.num_features)}

    @torch.no_grad()
    def encode(self, values: Sequence[Any], device: torch.device, generator: Rng | None) -> Cond:
        x = torch.cat([self.prepared(value) for value in values]).to(device)
        return {"vector": self.model.to(device)(x)}

    def prepared(self, value: Any) -> Tensor:
        """One image as the model was trained to see it, (1, 3, H, W)."""
        image = value if isinstance(value, Tensor) else read_image(value, 3).pixels
        colour = image[:3].cpu() if image.shape[0] >= 3 else image[:1].cpu().expand(3, -1, -1)
        unit = F.interpolate(colour[None].float(), self.size, mode="bicubic", antialias=True).clamp(-1, 1) / 2 + 0.5
        return (unit - self.mean) / self.std

    def null(self, like: Cond) -> Cond:
        return {key: torch.zeros_like(value) for key, value in like.items()}
