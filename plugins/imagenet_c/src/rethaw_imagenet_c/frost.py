"""Frost: a photograph of ice crystals over the image. The photographs are those of `imagecorruptions-imaug`."""

from __future__ import annotations

import math
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from rethaw.api import RethawError, Rng, State
from rethaw.ops import rand, read_image
from rethaw_imagenet_c.levels import Corruption, check_colour, clip, constants, table
from rethaw_imagenet_c.plugin import Severity

FROST = table([[1.0, 0.0], [1.0, 0.4], [0.8, 0.6], [0.7, 0.7], [0.65, 0.7], [0.6, 0.75]])  # of the image, of the ice
FILES = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg", "frost6.jpg")
ENLARGED = 1.1


class Frost(Corruption):
    """D = clip(a x0 + b f), state {"ice": (B, 3, H, W)}: f, a random piece of one of six photographs."""

    def __init__(self, params: Severity) -> None:
        super().__init__(params)
        self.photographs = photographs()
        self.atlases: dict[tuple[object, ...], tuple[Tensor, Tensor]] = {}

    def draw(self, like: Tensor, generator: Rng) -> State:
        check_colour("frost", like)
        pixels, sizes = self.atlas(like)
        height, width = like.shape[-2:]
        numbers = rand(like, generator, (3,)).float()
        which = (numbers[:, 0] * len(FILES)).long().clamp_max(len(FILES) - 1)
        tall, wide = sizes[which].unbind(1)
        top, left = (numbers[:, 1] * (tall - height)).long(), (numbers[:, 2] * (wide - width)).long()
        windows = pixels.unfold(2, height, 1).unfold(3, width, 1)  # a view: (6, 3, places, places, H, W)
        return {"ice": windows[which, :, top, left].to(like.dtype).div_(255)}

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        a, b = (c.to(x0.dtype) for c in constants(FROST, self.level(u, x0)))
        return clip(torch.addcmul(a * x0, state["ice"], b), x0)

    def atlas(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """All photographs, enlarged enough for `like`: bytes (6, 3, H', W') and their sizes (6, 2); kept for later."""
        factors = tuple(enlargement(photo, *like.shape[-2:]) for photo in self.photographs)
        key = (like.device, *factors)
        if key not in self.atlases:
            pixels, sizes = build_atlas(self.photographs, factors)
            self.atlases = {key: (pixels.to(like.device), sizes.to(like.device))}
        return self.atlases[key]


def photographs() -> list[Tensor]:
    """The six, (3, H, W) in 0 … 255."""
    spec = find_spec("imagecorruptions")
    if spec is None or spec.origin is None:
        raise RethawError(
            "imagenet_c.frost needs the photographs of imagecorruptions-imaug, which is not installed",
            "Run: pip install imagecorruptions-imaug",
        )
    return [(read_image(Path(spec.origin).parent / "frost" / name).pixels + 1) * 127.5 for name in FILES]


def enlargement(photo: Tensor, height: int, width: int) -> float:
    """1.1, or 1.1 times what makes the photograph cover the image."""
    return ENLARGED * max(1.0, height / photo.shape[-2], width / photo.shape[-1])


def build_atlas(photos: list[Tensor], factors: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    """The photographs enlarged by their factors, side by side in one tensor of bytes, and their sizes."""
    grown = []
    for photo, factor in zip(photos, factors, strict=True):
        size = [math.ceil(side * factor) for side in photo.shape[-2:]]
        grown.append(F.interpolate(photo[None], size=size, mode="bicubic", align_corners=False)[0])
    sizes = torch.tensor([photo.shape[-2:] for photo in grown])
    height, width = sizes.amax(0).tolist()
    padded = [F.pad(photo, (0, width - photo.shape[-1], 0, height - photo.shape[-2])) for photo in grown]
    return torch.stack(padded).clamp(0, 255).round().byte(), sizes
