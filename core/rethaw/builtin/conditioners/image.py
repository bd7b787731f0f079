"""An image beside x_t: what is observed, at a low resolution or degraded (SR3, 2104.07636; Palette, 2111.05826)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rethaw.api import Cond, RethawError, Rng
from rethaw.builtin.conditioners.params import Image as Params
from rethaw.ops import from_pil, read_image


class Image:
    """An image as the condition `image` (B, C, H, W) in [-1, 1]; the null condition is mid-grey."""

    def __init__(self, params: Params) -> None:
        self.params = params
        self.widths = {"image": params.channels}

    def encode(self, values: Sequence[Any], device: torch.device, generator: Rng | None) -> Cond:
        images = [self.tensor(value) for value in values]
        sizes = sorted({tuple(image.shape) for image in images})
        if len(sizes) > 1:
            raise RethawError(
                f"core.image got images of several sizes: {', '.join(map(str, sizes))}",
                "Give one batch images of one size.",
            )
        return {"image": torch.stack(images).to(device)}

    def tensor(self, value: Any) -> Tensor:
        """A tensor (C, H, W), a file or a PIL image as (channels, H, W)."""
        if isinstance(value, str | Path):
            return read_image(Path(value).expanduser(), self.params.channels).pixels
        image = value if isinstance(value, Tensor) else from_pil(value, self.params.channels).pixels
        if image.dim() != 3 or image.shape[0] != self.params.channels:
            raise RethawError(
                f"core.image takes images of {self.params.channels} channels, not {tuple(image.shape)}",
                "Set conditioner.image.channels before training.",
            )
        return image

    def null(self, like: Cond) -> Cond:
        return {key: torch.zeros_like(value) for key, value in like.items()}
