"""The images below a folder."""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from rethaw.api import Item, RethawError
from rethaw.builtin.datasets.captions import captions_of
from rethaw.builtin.datasets.params import Folder as Params
from rethaw.ops import find_images, read_image

HELD = 256 * 2**20
"""Bytes of 8-bit pixels that a process holds, so that a small set is decoded once and not in every epoch."""


class Folder:
    """Squares cut from every image below a folder; files that cannot be read are skipped and listed in `skipped`."""

    def __init__(self, params: Params) -> None:
        self.params = params
        self.files = find_images([params.path])
        self.labels = [
            file.relative_to(params.path).parts[0] if file.parent != params.path else None for file in self.files
        ]
        self.classes = sorted({label for label in self.labels if label}) if all(self.labels) else []
        self.captions = captions_of(params.captions, params.path, self.files, self.labels) if params.captions else []
        self.skipped: dict[str, str] = {}
        self.held: dict[int, Tensor] = {}
        self.room = HELD

    def __len__(self) -> int:
        return len(self.files)

    def item(self, index: int, generator: Generator) -> Item:
        """The image of that index, or the next one that can be read."""
        for offset in range(len(self.files)):
            at = (index + offset) % len(self.files)
            path = str(self.files[at])
            if path in self.skipped:
                continue
            try:
                image = self.cut(self.read(at), generator)
            except RethawError as error:
                self.skipped[path] = error.message
                continue
            item: Item = {"image": image, "path": path}
            if label := self.labels[at]:
                item["label"] = label
            if self.captions:
                item["caption"] = self.captions[at]
            return item
        raise RethawError(
            f"none of the {len(self.files)} images below {self.params.path} can be read",
            "; ".join(list(self.skipped.values())[:3]),
        )

    def read(self, index: int) -> Tensor:
        """The whole image (C, H, W): from memory, or from its file. What fits into memory first stays there."""
        if index in self.held:
            return self.held[index] / 127.5 - 1
        picture = read_image(self.files[index], self.params.channels)
        if picture.depth == 8 and picture.pixels.numel() <= self.room:
            self.room -= picture.pixels.numel()
            self.held[index] = ((picture.pixels + 1) * 127.5).round().to(torch.uint8)
        return picture.pixels

    def cut(self, image: Tensor, generator: Generator) -> Tensor:
        """A random square of the image, (C, size, size)."""
        size, shorter = self.params.size, min(image.shape[-2:])
        if shorter < size or (self.params.crop == "resize" and shorter != size):
            shape = [max(size, round(n * size / shorter)) for n in image.shape[-2:]]
            image = F.interpolate(image[None], shape, mode="bicubic", antialias=True)[0].clamp(-1, 1)
        top, left, mirror = torch.rand(3, generator=generator).tolist()
        y, x = int(top * (image.shape[-2] - size + 1)), int(left * (image.shape[-1] - size + 1))
        square = image[:, y : y + size, x : x + size]
        return square.flip(-1).contiguous() if self.params.flip and mirror < 0.5 else square.contiguous()
