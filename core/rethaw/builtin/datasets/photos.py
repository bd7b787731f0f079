"""Photographs that every installation of scikit-image has: enough to train on without a download."""

from __future__ import annotations

from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from rethaw.api import Item, RethawError
from rethaw.builtin.datasets.params import Photos as Params
from rethaw.ops import read_image

TRAINING = ("coffee.png", "rocket.jpg", "motorcycle_left.png", "motorcycle_right.png")
HELD_OUT = ("astronaut.png", "chelsea.png")
CROPS = 1000  # an epoch, in name only: every crop is drawn anew


def photo(name: str) -> Path:
    """The file of one photograph in scikit-image's wheel, which is not imported."""
    spec = find_spec("skimage")
    places = spec.submodule_search_locations if spec else None
    if not places:
        raise RethawError("core.photos needs the photographs in scikit-image", "Run: pip install 'rethaw[photos]'")
    path = Path(next(iter(places))) / "data" / name
    if not path.is_file():
        raise RethawError(
            f"this scikit-image has no photograph {name}", "Run: pip install --force-reinstall scikit-image"
        )
    return path


class Photos:
    """Random crops of the photographs, shrunk by a random factor, mirrored and turned; nothing of the held-out ones."""

    def __init__(self, params: Params) -> None:
        self.params = params
        self.paths = [photo(name) for name in TRAINING]

    @cached_property
    def images(self) -> list[Tensor]:
        """All photographs, (3, H, W) each, in memory."""
        return [read_image(path, 3).pixels for path in self.paths]

    def __len__(self) -> int:
        return CROPS

    def item(self, index: int, generator: Generator) -> Item:
        which, scale, top, left, mirror, turns = torch.rand(6, generator=generator).tolist()
        at = int(which * len(self.images))
        image, size = self.images[at], self.params.size
        factor = max(self.params.scale + (1 - self.params.scale) * scale, size / min(image.shape[-2:]))
        source = min(round(size / factor), *image.shape[-2:])
        y, x = int(top * (image.shape[-2] - source + 1)), int(left * (image.shape[-1] - source + 1))
        square = image[:, y : y + source, x : x + source]
        if source != size:
            square = F.interpolate(square[None], (size, size), mode="bilinear", antialias=True)[0]
        if self.params.turn:
            square = torch.rot90(square.flip(-1) if mirror < 0.5 else square, int(turns * 4), (-2, -1))
        return {"image": square.contiguous(), "path": str(self.paths[at])}
