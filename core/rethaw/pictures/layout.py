"""The pictures that people look at: strips, grids, before and after, animations.

Images are tensors (C, H, W) or (B, C, H, W) with 1 or 3 channels in [-1, 1], clamped for display. Small ones
are enlarged by a whole factor without smoothing, so that their pixels can be judged.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from rethaw.api import RethawError
from rethaw.files import replacing

__all__ = ["before_after", "beside", "grid", "save", "save_animation", "sheet", "strip", "to_pil"]

Canvas = Image.Image
Size = tuple[int, int]
Box = tuple[int, int, int, int]

PAPER, INK, SOFT, ACCENT = "#ffffff", "#1d1d1f", "#6b6b70", "#d9480f"
MARGIN, GAP, LEAST, WIDEST = 24, 12, 128, 1800
NEAREST, BICUBIC, LANCZOS = Image.Resampling.NEAREST, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS
# Pillow's own font has little more than ASCII, and a picture should look the same on every machine.
_SPELT = str.maketrans(
    {
        "σ": "sigma",
        "α": "alpha",
        "λ": "lambda",
        "μ": "u",
        "→": "->",
        "×": "x",
        "−": "-",
        "–": "-",
        "—": "-",
        "≥": ">=",
        "≤": "<=",
        "∞": "inf",
        "’": "'",
        "“": '"',
        "”": '"',
        "ß": "ss",
        "₀": "0",
        "₁": "1",
    }
)


# --- tensors to images -------------------------------------------------------------------------------------


def to_pil(x: Tensor) -> Canvas:
    """(C, H, W) as an L or RGB image of the same size; (B, C, H, W) as a `sheet` of more than one."""
    if x.dim() == 4:
        return to_pil(x[0]) if len(x) == 1 else sheet(x)
    if x.dim() != 3 or x.shape[0] not in (1, 3):
        raise RethawError(f"a picture has the shape (1 or 3, H, W), not {tuple(x.shape)}")
    finite = torch.nan_to_num(x.detach().to("cpu", torch.float32), nan=-1.0)
    array = ((finite.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)


def sheet(images: Tensor, columns: int | None = None) -> Canvas:
    """(B, C, H, W) as one dense sheet, row by row; columns: about as many as rows if not given."""
    cells = _sized([to_pil(image) for image in images], LEAST // 2)
    columns = columns or math.ceil(math.sqrt(len(cells)))
    wide, high = cells[0].width + 4, cells[0].height + 4
    canvas = Image.new("RGB", (wide * min(columns, len(cells)) + 4, high * math.ceil(len(cells) / columns) + 4), PAPER)
    for i, cell in enumerate(cells):
        canvas.paste(cell, (4 + i % columns * wide, 4 + i // columns * high))
    return canvas


def _sized(
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


# --- text --------------------------------------------------------------------------------------------------


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def spelt(text: str) -> str:
    """Text in the letters that the font has: accents are left off, the rest becomes a question mark."""
    plain = unicodedata.normalize("NFKD", text.translate(_SPELT))
    return "".join(c if " " <= c <= "~" or c in "±·…\n" else "?" for c in plain if not unicodedata.combining(c))


def _wrapped(text: str, size: int, width: int) -> str:
    """Text broken into lines that fit the width; a word that does not is cut."""
    face, lines = font(size), [""]
    for word in spelt(text).split():
        longer = f"{lines[-1]} {word}".strip()
        if face.getlength(longer) <= width:
            lines[-1] = longer
            continue
        while face.getlength(word) > width and len(word) > 2:
            word = word.rstrip("…")[:-1] + "…"
        lines.append(word)
    return "\n".join(line for line in lines if line)


def _height(text: str, size: int) -> int:
    return round(size * 1.35) * (text.count("\n") + 1) if text else 0


def write(
    draw: ImageDraw.ImageDraw, at: tuple[float, float], text: str, size: int, align: str = "l", fill: str = INK
) -> None:
    """Writes lines down from `at`; align: l, m or r, which end of the lines is there."""
    for i, line in enumerate(text.split("\n")):
        draw.text((at[0], at[1] + i * round(size * 1.35)), line, fill, font(size), align + "a")


# --- strips and grids --------------------------------------------------------------------------------------


def strip(images: Sequence[Tensor], labels: Sequence[str], title: str = "", zoom: int | None = None) -> Canvas:
    """Images side by side with a caption under each, in several rows if they are too many for one.

    zoom: a whole factor for all; if not given, small images are enlarged and very large ones reduced.
    """
    cells = _sized([to_pil(image) for image in images], zoom=zoom)
    wide = max(cell.width for cell in cells)
    most = max(1, min(len(cells), (WIDEST - 2 * MARGIN + GAP) // (wide + GAP)))
    columns = -(-len(cells) // -(-len(cells) // most))  # as many rows as it takes, evenly filled
    rows = [list(range(i, min(i + columns, len(cells)))) for i in range(0, len(cells), columns)]
    captions = [_wrapped(label, 15, wide) for label in labels]
    heights = [max(cells[i].height for i in row) + max(_height(captions[i], 15) for i in row) + 8 for row in rows]
    canvas, draw, top = _page(columns * (wide + GAP) - GAP, sum(heights) + GAP * (len(rows) - 1), title)
    for row, height in zip(rows, heights, strict=True):
        for k, i in enumerate(row):
            left = MARGIN + k * (wide + GAP)
            canvas.paste(cells[i], (left + (wide - cells[i].width) // 2, top))
            under = top + max(cells[j].height for j in row) + 8
            write(draw, (left + wide / 2, under), captions[i], 15, "m", SOFT)
        top += height + GAP
    return canvas


def _page(width: int, height: int, title: str) -> tuple[Canvas, ImageDraw.ImageDraw, int]:
    """A page with margins around content of that size, its pen, and where the content starts, in pixels."""
    text = _wrapped(title, 22, width)
    top = MARGIN + (_height(text, 22) + GAP if text else 0)
    canvas = Image.new("RGB", (width + 2 * MARGIN, top + height + MARGIN), PAPER)
    draw = ImageDraw.Draw(canvas)
    write(draw, (MARGIN, MARGIN - 4), text, 22)
    return canvas, draw, top


def grid(
    rows: Sequence[Sequence[Tensor]], row_labels: Sequence[str], column_labels: Sequence[str], zoom: int | None = None
) -> Canvas:
    """A table of images with a label before each row and above each column; rows may differ in length.

    zoom: a whole factor for all; if not given, small images are enlarged and very large ones reduced.
    """
    flat = _sized([to_pil(image) for row in rows for image in row], most=480, zoom=zoom)
    wide, high = max(cell.width for cell in flat), max(cell.height for cell in flat)
    before = [_wrapped(label, 15, 150) for label in row_labels]
    above = [_wrapped(label, 15, wide) for label in column_labels]
    left = max((round(font(15).getlength(line)) for text in before for line in text.split("\n")), default=0)
    left, head = left + GAP * bool(left), max((_height(text, 15) for text in above), default=0)
    columns = max(len(row) for row in rows)
    size = left + columns * (wide + GAP) - GAP, head + 6 + len(rows) * (high + GAP) - GAP
    canvas, draw, top = _page(*size, "")
    for j, text in enumerate(above):
        write(draw, (MARGIN + left + j * (wide + GAP) + wide / 2, top + head - _height(text, 15)), text, 15, "m", SOFT)
    cells = iter(flat)
    for i, row in enumerate(rows):
        y = top + head + 6 + i * (high + GAP)
        for j in range(len(row)):
            canvas.paste(next(cells), (MARGIN + left + j * (wide + GAP), y))
        if i < len(before):
            middle = y + (high - _height(before[i], 15)) / 2
            write(draw, (MARGIN + left - GAP, middle), before[i], 15, "r", SOFT)
    return canvas


def beside(canvases: Sequence[Canvas]) -> Canvas:
    """Pictures side by side."""
    page = Image.new("RGB", (sum(c.width for c in canvases), max(c.height for c in canvases)), PAPER)
    left = 0
    for canvas in canvases:
        page.paste(canvas, (left, 0))
        left += canvas.width
    return page


# --- before and after --------------------------------------------------------------------------------------


def before_after(panels: Sequence[tuple[str, str, Tensor]], crop: Box | None = None) -> Canvas:
    """Panels (title, subtitle, image) in a row, and below each the same detail, enlarged to its width.

    crop: left, top, right, bottom of the detail in pixels of the images, which are of one size; if not given,
    the middle third. The details of small images are enlarged without smoothing, of larger ones bicubically.
    """
    sources = [to_pil(image).convert("RGB") for _, _, image in panels]
    cells = _sized(sources, 320, (WIDEST - 2 * MARGIN) // max(1, len(panels)) - GAP)
    wide, high = cells[0].size
    box = _box(crop, {source.size for source in sources})
    factor = wide / sources[0].width
    detail = wide, round(wide * (box[3] - box[1]) / (box[2] - box[0]))
    texts = [(_wrapped(title, 20, wide), _wrapped(subtitle, 15, wide)) for title, subtitle, _ in panels]
    head = max(_height(a, 20) + _height(b, 15) for a, b in texts) + 10
    canvas, draw, top = _page(len(panels) * (wide + GAP) - GAP, head + high + GAP + detail[1], "")
    for i, (title, subtitle) in enumerate(texts):
        x, y = MARGIN + i * (wide + GAP), top + head
        write(draw, (x, top - 4), title, 20)
        write(draw, (x, top - 4 + _height(title, 20)), subtitle, 15, fill=SOFT)
        canvas.paste(cells[i], (x, y))
        canvas.paste(sources[i].resize(detail, NEAREST if factor >= 3 else BICUBIC, box), (x, y + high + GAP))
        _frame(draw, [x + box[0] * factor, y + box[1] * factor, x + box[2] * factor, y + box[3] * factor])
        _frame(draw, [x, y + high + GAP, x + detail[0], y + high + GAP + detail[1]])
    return canvas


def _box(crop: Box | None, sizes: set[Size]) -> Box:
    """The box of a detail, checked against the size of all images."""
    if len(sizes) > 1:
        raise RethawError(f"images to compare must have one size, not {sorted(sizes)}")
    width, height = min(sizes)
    if crop is None:
        left, top = width // 3, height // 3
        return left, top, max(left + 1, width - left), max(top + 1, height - top)
    if not (0 <= crop[0] < crop[2] <= width and 0 <= crop[1] < crop[3] <= height):
        raise RethawError(f"the detail {crop} is not inside the image", f"It is {width} wide and {height} high.")
    return crop


def _frame(draw: ImageDraw.ImageDraw, box: Sequence[float]) -> None:
    left, top, right, bottom = (round(v) for v in box)
    draw.rectangle((left, top, right - 1, bottom - 1), outline=ACCENT, width=2)


# --- files -------------------------------------------------------------------------------------------------


def save(image: Canvas, path: Path) -> None:
    """Writes a picture in the format of its ending; an old file is replaced once the new one is whole."""
    kind = Image.registered_extensions().get(Path(path).suffix.lower())
    if kind not in Image.SAVE:
        raise RethawError(f"{path} has an ending that cannot be written", "Choose .png, .jpg or .webp.")
    with replacing(Path(path)) as file:
        image.save(file, kind, quality=80 if kind == "WEBP" else 92)


def save_animation(frames: Iterable[Tensor], path: Path, seconds: float = 3.0, hold: float = 1.0) -> None:
    """Writes frames, one size for all, as an endless animation: .gif, .webp, or .png and .apng.

    seconds: how long all frames take, at most 50 a second (others are left out); hold: the last one stays so
    much longer. Raises RethawError without any frame, and if the file cannot be written.
    """
    kinds = {".gif": "GIF", ".webp": "WEBP", ".png": "PNG", ".apng": "PNG"}
    kind = kinds.get(Path(path).suffix.lower())
    if kind is None:
        raise RethawError(f"{path} has an ending that cannot be written", f"Choose from {' '.join(kinds)}.")
    images = [to_pil(frame) for frame in frames]  # bytes, a quarter of the tensors
    most = max(1, int(seconds * 50))
    images = [images[i * (len(images) - 1) // max(1, most - 1)] for i in range(most)] if len(images) > most else images
    images = _sized(images, 2 * LEAST)
    images = _paletted(images) if kind == "GIF" else images
    times = [max(20, round(seconds * 100 / len(images)) * 10)] * len(images)  # GIF counts in 10 ms
    times[-1] += round(hold * 1000)
    with replacing(Path(path)) as file:
        images[0].save(file, kind, save_all=True, append_images=images[1:], duration=times, loop=0, quality=90)


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
