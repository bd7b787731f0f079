"""Animations: GIF, WebP and animated PNG."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image
from torch import Tensor

from rethaw.api import RethawError
from rethaw.files import replacing
from rethaw.pictures.canvas import LEAST, NEAREST, Canvas, resized, to_pil

KINDS = {".gif": "GIF", ".webp": "WEBP", ".png": "PNG", ".apng": "PNG"}


def save_animation(frames: Iterable[Tensor], path: Path, seconds: float = 3.0, hold: float = 1.0) -> None:
    """Writes frames (C, H, W), one size for all, as an endless animation: .gif, .webp, or .png and .apng.

    seconds: how long all frames take, at most 50 a second (others are left out); hold: the last one stays so
    much longer. Raises RethawError without any frame, and if the file cannot be written.
    """
    kind = KINDS.get(Path(path).suffix.lower())
    if kind is None:
        raise RethawError(f"{path} has an ending that cannot be written", f"Choose from {' '.join(KINDS)}.")
    images = [to_pil(frame) for frame in frames]  # bytes, a quarter of the tensors
    images = resized(_thinned(images, max(1, int(seconds * 50))), 2 * LEAST)
    images = _paletted(images) if kind == "GIF" else images
    times = [max(20, round(seconds * 100 / len(images)) * 10)] * len(images)  # GIF counts in 10 ms
    times[-1] += round(hold * 1000)
    with replacing(Path(path)) as file:
        images[0].save(file, kind, save_all=True, append_images=images[1:], duration=times, loop=0, quality=90)


def _thinned(images: list[Canvas], most: int) -> list[Canvas]:
    """At most so many of them, the first and the last included."""
    if len(images) <= most:
        return images
    return [images[i * (len(images) - 1) // max(1, most - 1)] for i in range(most)]


def _paletted(images: Sequence[Canvas]) -> list[Canvas]:
    """Frames for a GIF: colour in 256 colours shared by all, without dither, so that nothing flickers."""
    if all(image.mode == "L" for image in images):
        return list(images)
    side = max(8, math.isqrt(2**15 // len(images)))
    sample = Image.new("RGB", (side * len(images), side))
    for i, image in enumerate(images):
        sample.paste(image.resize((side, side), NEAREST), (i * side, 0))
    palette = sample.quantize(256, Image.Quantize.MEDIANCUT, kmeans=1)
    return [image.convert("RGB").quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
