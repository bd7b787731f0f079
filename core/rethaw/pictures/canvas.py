"""What all drawing shares: tensors as Pillow images, sizes, text, pages, files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional as F

from rethaw.api import RethawError
from rethaw.files import replacing

Canvas = Image.Image

PAPER, INK, SOFT, ACCENT = "#ffffff", "#1d1d1f", "#6b6b70", "#d9480f"
MARGIN, GAP, LEAST, WIDEST = 24, 12, 128, 1800
TITLE, HEADING, CAPTION = 20, 18, 13
"""Sizes of text, in pixels."""
NEAREST, BICUBIC, LANCZOS = Image.Resampling.NEAREST, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS


def to_pil(x: Tensor) -> Canvas:
    """(C, H, W) in [-1, 1] as an L or RGB image of the same size; nan is black."""
    if x.dim() != 3 or x.shape[0] not in (1, 3):
        raise RethawError(f"a picture has the shape (1 or 3, H, W), not {tuple(x.shape)}")
    finite = torch.nan_to_num(x.detach().to("cpu", torch.float32), nan=-1.0)
    array = ((finite.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)


def reduced(x: Tensor, most: int = WIDEST // 2) -> Tensor:
    """Images (…, C, H, W) of which no side is longer than strips and animations draw it."""
    factor = most / max(x.shape[-2:])
    if factor >= 1:
        return x
    size = [max(1, round(side * factor)) for side in x.shape[-2:]]
    flat = x.float().reshape(-1, 1, *x.shape[-2:])
    smaller: Tensor = F.interpolate(flat, size, mode="bicubic", antialias=True).view(*x.shape[:-2], *size)
    return smaller


def testcard() -> Tensor:
    """A landscape with smooth and busy parts, edges in all directions and every hue, (3, 256, 256) in [-1, 1]."""
    with Image.open(Path(__file__).with_name("testcard.png")) as image:
        return torch.from_numpy(np.array(image)).permute(2, 0, 1) / 127.5 - 1


def resized(
    images: Sequence[Canvas], least: int = LEAST, most: int = WIDEST // 2, zoom: int | None = None
) -> list[Canvas]:
    """All enlarged by one whole factor (zoom, or to about `least` at the smallest) or reduced to `most`."""
    if not images:
        raise RethawError("there is no image to make a picture of")
    smallest, largest = min(max(i.size) for i in images), max(max(i.size) for i in images)
    factor: float = zoom or max(1, min(math.ceil(least * 0.9 / smallest), most // largest))
    if zoom is None and largest > most:
        factor = most / largest
    return [_scaled(image, factor) for image in images]


def _scaled(image: Canvas, factor: float) -> Canvas:
    size = max(1, round(image.width * factor)), max(1, round(image.height * factor))
    return image.resize(size, LANCZOS if factor < 1 else NEAREST)


def font_file() -> str:
    """DejaVu Sans, which comes with matplotlib, so that a picture looks the same on every machine."""
    import matplotlib

    return str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"))


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(font_file(), size, layout_engine=ImageFont.Layout.BASIC)


@cache
def characters() -> frozenset[int]:
    """The code points that the font can draw."""
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(font_file()).get_charmap())


def drawable(text: str) -> str:
    """Text with a question mark for each character that the font lacks."""
    return "".join(c if c.isspace() or ord(c) in characters() else "?" for c in text)


def text_width(text: str, size: int) -> int:
    """How wide the longest line is."""
    return max(math.ceil(font(size).getlength(line)) for line in text.split("\n"))


def text_height(text: str, size: int) -> int:
    """How high all lines are."""
    return round(size * 1.35) * (text.count("\n") + 1) if text else 0


def wrapped(text: str, size: int, width: int) -> str:
    """Text broken into lines that fit the width; a word that does not is cut."""
    lines = [""]
    for word in drawable(text).split():
        longer = f"{lines[-1]} {word}".strip()
        if text_width(longer, size) <= width:
            lines[-1] = longer
            continue
        while text_width(word, size) > width and len(word) > 2:
            word = word.rstrip("…")[:-1] + "…"
        lines.append(word)
    return "\n".join(line for line in lines if line)


def write(
    draw: ImageDraw.ImageDraw, at: tuple[float, float], text: str, size: int, align: str = "l", fill: str = INK
) -> None:
    """Writes lines down from `at`; align: l, m or r, which end of the lines is there."""
    for i, line in enumerate(text.split("\n")):
        draw.text((at[0], at[1] + i * round(size * 1.35)), line, fill, font(size), align + "a")


def page(width: int, height: int, title: str = "") -> tuple[Canvas, ImageDraw.ImageDraw, int]:
    """A page with margins around content of that size, its pen, and where the content starts, in pixels."""
    text = wrapped(title, TITLE, width)
    top = MARGIN + (text_height(text, TITLE) + GAP if text else 0)
    canvas = Image.new("RGB", (width + 2 * MARGIN, top + height + MARGIN), PAPER)
    draw = ImageDraw.Draw(canvas)
    write(draw, (MARGIN, MARGIN - 4), text, TITLE)
    return canvas, draw, top


def save(image: Canvas, path: Path) -> None:
    """Writes a picture in the format of its ending; an old file is replaced once the new one is whole."""
    kind = Image.registered_extensions().get(Path(path).suffix.lower())
    if kind not in Image.SAVE:
        raise RethawError(f"{path} has an ending that cannot be written", "Choose .png, .jpg or .webp.")
    with replacing(Path(path)) as file:
        image.save(file, kind, quality=80 if kind == "WEBP" else 92)
