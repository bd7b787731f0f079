"""Blends towards other images."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from rethaw.api import RethawError, Rng, State
from rethaw.builtin.datasets.photos import TRAINING, photo
from rethaw.builtin.degradations.noise import GaussianNoise
from rethaw.builtin.degradations.params import Blend as Params
from rethaw.ops import find_images, rand, read_image

HELD = 2**18
"""Values of an image up to which it stays in memory, so that 256 of them take no more than 256 MB."""


class Blend(GaussianNoise):
    """D(x0, u, z) = α(u) x0 + σ(u) z as of Gaussian noise, but z is another image (2208.09392, section 5.3)."""

    gaussian = False

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        try:
            self.files = find_images([params.path]) if params.path else [photo(name) for name in TRAINING]
        except RethawError as error:
            raise RethawError(f"path: {error.message}", error.hint) from error

    def draw(self, like: Tensor, generator: Rng) -> State:
        numbers = rand(like.new_empty(len(like), dtype=torch.float32), generator, ())
        chosen = (numbers * len(self.files)).long().clamp_max(len(self.files) - 1)
        cover: Callable[..., Tensor] = covering if like[0].numel() <= HELD else covering.__wrapped__
        z = torch.stack([cover(self.files[i], *like.shape[1:]) for i in chosen.tolist()])
        return {"z": z.to(like.device, like.dtype)}


@lru_cache(maxsize=256)
def covering(path: Path, channels: int, height: int, width: int) -> Tensor:
    """The middle of a file's image, scaled so that it just covers height × width."""
    if channels not in (1, 3):
        raise RethawError(f"core.blend: files are read with 1 or 3 channels, the images have {channels}")
    pixels = read_image(path, channels).pixels
    scale = max(height / pixels.shape[-2], width / pixels.shape[-1])
    size = [max(n, round(side * scale)) for n, side in zip((height, width), pixels.shape[-2:], strict=True)]
    large = F.interpolate(pixels[None], size, mode="bicubic", antialias=True)[0].clamp(-1, 1)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    return large[:, top : top + height, left : left + width].contiguous()
