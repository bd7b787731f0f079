"""Blends towards other images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from rethaw.api import Dataset, RethawError, Rng, State
from rethaw.builtin.datasets.photos import TRAINING, photo
from rethaw.builtin.degradations.noise import GaussianNoise
from rethaw.builtin.degradations.params import Blend as Params
from rethaw.ops import find_images, rand, read_image

SEEDS = 2**24
HELD = 2**18
"""Values of an image up to which it stays in memory, so that 256 of them take no more than 256 MB."""


class Blend(GaussianNoise):
    """D(x0, u, z) = α(u) x0 + σ(u) z as of Gaussian noise, but z is another image (2208.09392, section 5.3)."""

    gaussian = False

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        self.data: Sequence[Dataset] = params.of
        if self.data and params.path:
            raise RethawError("the images are those of `path` or of a dataset (`of`), not of both", "Leave one out.")
        if self.data:
            self.count = sum(map(len, self.data))
            return
        try:
            self.files = find_images([params.path]) if params.path else [photo(name) for name in TRAINING]
        except RethawError as error:
            raise RethawError(f"path: {error.message}", error.hint) from error
        self.count = len(self.files)

    def draw(self, like: Tensor, generator: Rng) -> State:
        each = like.new_empty(len(like), dtype=torch.float32)
        chosen = (rand(each, generator, ()) * self.count).long().clamp_max(self.count - 1).tolist()
        if self.data:
            seeds = (rand(each, generator, ()) * SEEDS).long().tolist()
            found = [covered(self.item(i, seed), *like.shape[1:]) for i, seed in zip(chosen, seeds, strict=True)]
        else:
            cover: Callable[..., Tensor] = covering if like[0].numel() <= HELD else covering.__wrapped__
            found = [cover(self.files[i], *like.shape[1:]) for i in chosen]
        return {"z": torch.stack(found).to(like.device, like.dtype)}

    def item(self, index: int, seed: int) -> Tensor:
        """An image of the datasets, counted through."""
        for data in self.data:
            if index < len(data):
                return data.item(index, Generator().manual_seed(seed))["image"]
            index -= len(data)
        raise IndexError(index)


@lru_cache(maxsize=256)
def covering(path: Path, channels: int, height: int, width: int) -> Tensor:
    """The middle of a file's image, scaled so that it just covers height × width."""
    if channels not in (1, 3):
        raise RethawError(f"core.blend: files are read with 1 or 3 channels, the images have {channels}")
    return covered(read_image(path, channels).pixels, channels, height, width)


def covered(pixels: Tensor, channels: int, height: int, width: int) -> Tensor:
    """The middle of an image (C, H, W), scaled so that it just covers height × width."""
    if len(pixels) != channels:
        raise RethawError(f"core.blend: the dataset's images have {len(pixels)} channels, those to degrade {channels}")
    scale = max(height / pixels.shape[-2], width / pixels.shape[-1])
    size = [max(n, round(side * scale)) for n, side in zip((height, width), pixels.shape[-2:], strict=True)]
    large = F.interpolate(pixels[None], size, mode="bicubic", antialias=True)[0].clamp(-1, 1)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    return large[:, top : top + height, left : left + width].contiguous()
