"""Strips, grids, sheets, before and after.

Images are tensors (C, H, W) with 1 or 3 channels in [-1, 1], clamped for display. Small ones are enlarged by a
whole factor without smoothing, so that their pixels can be judged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw
from torch import Tensor

from rethaw.api import RethawError
from rethaw.pictures.canvas import (
    ACCENT,
    BICUBIC,
    CAPTION,
    GAP,
    HEADING,
    LEAST,
    MARGIN,
    NEAREST,
    PAPER,
    SOFT,
    WIDEST,
    Canvas,
    page,
    resized,
    text_height,
    text_width,
    to_pil,
    wrapped,
    write,
)

Box = tuple[int, int, int, int]


def sheet(images: Tensor, columns: int | None = None) -> Canvas:
    """(B, C, H, W) as one dense sheet, row by row; columns: about as many as rows if not given."""
    cells = resized([to_pil(image) for image in images], LEAST // 2)
    columns = columns or math.ceil(math.sqrt(len(cells)))
    wide, high = cells[0].width + 4, cells[0].height + 4
    canvas = Image.new("RGB", (wide * min(columns, len(cells)) + 4, high * math.ceil(len(cells) / columns) + 4), PAPER)
    for i, cell in enumerate(cells):
        canvas.paste(cell, (4 + i % columns * wide, 4 + i // columns * high))
    return canvas


def beside(canvases: Sequence[Canvas]) -> Canvas:
    """Pictures side by side."""
    canvas = Image.new("RGB", (sum(c.width for c in canvases), max(c.height for c in canvases)), PAPER)
    left = 0
    for each in canvases:
        canvas.paste(each, (left, 0))
        left += each.width
    return canvas


def strip(images: Sequence[Tensor], labels: Sequence[str], title: str = "", zoom: int | None = None) -> Canvas:
    """Images side by side with a caption below each, in several rows if they are too many for one.

    zoom: a whole factor for all; if not given, small images are enlarged and very large ones reduced.
    """
    cells = resized([to_pil(image) for image in images], zoom=zoom)
    wide = max(cell.width for cell in cells)
    captions = [wrapped(label, CAPTION, wide) for label in labels]
    rows = _rows(len(cells), max(1, (WIDEST - 2 * MARGIN + GAP) // (wide + GAP)))
    tallest = [max(cells[i].height for i in row) + 8 for row in rows]
    heights = [
        tall + max(text_height(captions[i], CAPTION) for i in row) for row, tall in zip(rows, tallest, strict=True)
    ]
    canvas, draw, top = page(len(rows[0]) * (wide + GAP) - GAP, sum(heights) + GAP * (len(rows) - 1), title)
    for row, tall, height in zip(rows, tallest, heights, strict=True):
        for k, i in enumerate(row):
            left = MARGIN + k * (wide + GAP)
            canvas.paste(cells[i], (left + (wide - cells[i].width) // 2, top))
            write(draw, (left + wide / 2, top + tall), captions[i], CAPTION, "m", SOFT)
        top += height + GAP
    return canvas


def _rows(count: int, most: int) -> list[list[int]]:
    """Indices in as few rows of at most `most` as it takes, evenly filled."""
    columns = math.ceil(count / math.ceil(count / most))
    return [list(range(i, min(i + columns, count))) for i in range(0, count, columns)]


def grid(
    rows: Sequence[Sequence[Tensor]], row_labels: Sequence[str], column_labels: Sequence[str], zoom: int | None = None
) -> Canvas:
    """A table of images with a label before each row and above each column; rows may differ in length.

    zoom: a whole factor for all; if not given, small images are enlarged and very large ones reduced.
    """
    cells = resized([to_pil(image) for row in rows for image in row], most=480, zoom=zoom)
    wide, high = max(cell.width for cell in cells) + GAP, max(cell.height for cell in cells) + GAP
    before = [wrapped(label, CAPTION, 150) for label in row_labels]
    above = [wrapped(label, CAPTION, wide - GAP) for label in column_labels]
    indent = max((text_width(text, CAPTION) for text in before), default=0)
    indent += GAP * bool(indent)
    head = max((text_height(text, CAPTION) for text in above), default=0) + 6
    columns = max(len(row) for row in rows)
    canvas, draw, top = page(indent + columns * wide - GAP, head + len(rows) * high - GAP)
    left, top = MARGIN + indent, top + head
    for j, text in enumerate(above):
        at = left + j * wide + (wide - GAP) / 2, top - 6 - text_height(text, CAPTION)
        write(draw, at, text, CAPTION, "m", SOFT)
    for i, text in enumerate(before[: len(rows)]):
        middle = top + i * high + (high - GAP - text_height(text, CAPTION)) / 2
        write(draw, (left - GAP, middle), text, CAPTION, "r", SOFT)
    places = [(left + j * wide, top + i * high) for i, row in enumerate(rows) for j in range(len(row))]
    for cell, place in zip(cells, places, strict=True):
        canvas.paste(cell, place)
    return canvas


def before_after(panels: Sequence[tuple[str, str, Tensor]], crop: Box | None = None) -> Canvas:
    """Panels (title, subtitle, image) in a row, and below each the same detail, enlarged to its width.

    crop: left, top, right, bottom of the detail in pixels of the images, which are of one size; if not given,
    the middle third. The details of small images are enlarged without smoothing, of larger ones bicubically.
    """
    sources = [to_pil(image).convert("RGB") for _, _, image in panels]
    cells = resized(sources, 320, (WIDEST - 2 * MARGIN) // max(1, len(panels)) - GAP)
    wide, high = cells[0].size
    box = _box(crop, {source.size for source in sources})
    factor = wide / sources[0].width
    detail = wide, round(wide * (box[3] - box[1]) / (box[2] - box[0]))
    texts = [(wrapped(title, HEADING, wide), wrapped(subtitle, CAPTION, wide)) for title, subtitle, _ in panels]
    head = max(text_height(a, HEADING) + text_height(b, CAPTION) for a, b in texts) + 10
    canvas, draw, top = page(len(panels) * (wide + GAP) - GAP, head + high + GAP + detail[1])
    for i, (title, subtitle) in enumerate(texts):
        x, y = MARGIN + i * (wide + GAP), top + head
        write(draw, (x, top - 4), title, HEADING)
        write(draw, (x, top - 4 + text_height(title, HEADING)), subtitle, CAPTION, fill=SOFT)
        canvas.paste(cells[i], (x, y))
        canvas.paste(sources[i].resize(detail, NEAREST if factor >= 3 else BICUBIC, box), (x, y + high + GAP))
        _frame(draw, [x + box[0] * factor, y + box[1] * factor, x + box[2] * factor, y + box[3] * factor])
        _frame(draw, [x, y + high + GAP, x + detail[0], y + high + GAP + detail[1]])
    return canvas


def _box(crop: Box | None, sizes: set[tuple[int, int]]) -> Box:
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
