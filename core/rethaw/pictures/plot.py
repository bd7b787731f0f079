"""Plots: curves in one frame, drawn with Pillow so that they look the same everywhere."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw

from rethaw.api import RethawError
from rethaw.pictures.layout import ACCENT, LANCZOS, PAPER, SOFT, Canvas, font, spelt, write

Points = Sequence[tuple[float, float]]

LINE = "#e3e3e6"
COLOURS = (ACCENT, "#1c7ed6", "#2f9e44", "#6741d9")
LEFT, RIGHT, TOP, BOTTOM = 168, 1552, 168, 784


def curve(rows: Points, title: str, x_label: str, y_label: str, log_y: bool = False) -> Canvas:
    """A line through the points (x, y), which come in order of x; points that are not finite are left out.

    log_y: a logarithmic y axis, on which points of y ≤ 0 are left out too.
    """
    return curves({"": rows}, title, x_label, y_label, log_y)


def curves(lines: Mapping[str, Points], title: str, x_label: str, y_label: str, log_y: bool = False) -> Canvas:
    """Several such lines in one frame, each named in its colour."""
    drawn = {name: finite(rows, log_y) for name, rows in lines.items()}
    xs, ys = (
        zip(*[point for points in drawn.values() for point in points], strict=True) if any(drawn.values()) else ((), ())
    )
    if not xs:
        raise RethawError(f"there is nothing to draw for {title!r}: no value is finite")
    y_ticks = _decades(min(ys), max(ys)) if log_y else _ticks(min(ys), max(ys), 5)
    x_span, y_span = (min(xs), max(xs)), (y_ticks[0], y_ticks[-1])

    def at(x: float, y: float) -> tuple[float, float]:
        return LEFT + (RIGHT - LEFT) * _share(x, x_span), BOTTOM - (BOTTOM - TOP) * _share(y, y_span)

    canvas = Image.new("RGB", (1600, 920), PAPER)  # twice the size, then halved: the line is smooth
    draw = ImageDraw.Draw(canvas)
    for y in y_ticks:
        draw.line([(LEFT, at(0, y)[1]), (RIGHT, at(0, y)[1])], LINE, 2)
        draw.text((LEFT - 20, at(0, y)[1]), f"{10**y if log_y else y:.6g}", SOFT, font(30), "rm")
    for x in (x for x in _ticks(*x_span, 6) if x_span[0] <= x <= x_span[1]):
        draw.text((at(x, 0)[0], BOTTOM + 20), f"{x:,.10g}", SOFT, font(30), "ma")
    for i, (name, points) in enumerate(drawn.items()):
        draw.line([at(*point) for point in points], COLOURS[i % len(COLOURS)], 4, "curve")
        write(draw, (LEFT + 20, TOP + 10 + 44 * i), spelt(name), 30, fill=COLOURS[i % len(COLOURS)])
    write(draw, (48, 24), spelt(title), 44)
    write(draw, (48, 92), spelt(y_label), 30, fill=SOFT)
    write(draw, (RIGHT, 852), spelt(x_label), 30, "r", SOFT)
    return canvas.resize((800, 460), LANCZOS)


def finite(rows: Points, log_y: bool) -> list[tuple[float, float]]:
    """The points that can be drawn, y as its logarithm on a logarithmic axis."""
    return [(x, math.log10(y) if log_y else y) for x, y in rows if math.isfinite(y) and (y > 0 or not log_y)]


def _share(value: float, span: tuple[float, float]) -> float:
    return (value - span[0]) / (span[1] - span[0]) if span[1] > span[0] else 0.5


def _ticks(low: float, high: float, about: int) -> list[float]:
    """Some round numbers, of which the first is ≤ low and the last ≥ high."""
    rough = (high - low or abs(low) or 1) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, max(last, first + 1) + 1)]


def _decades(low: float, high: float) -> list[float]:
    """The same of logarithms: powers of ten, with 2 and 5 times them if there are few."""
    steps = (0.0, math.log10(2), math.log10(5)) if high - low < 2 else (0.0,)
    ticks = [power + step for power in range(math.floor(low), math.ceil(high) + 1) for step in steps]
    first = max((t for t in ticks if t <= low + 1e-9), default=ticks[0])
    last = min((t for t in ticks if t >= high - 1e-9 and t > first), default=ticks[-1])
    return [t for t in ticks if first <= t <= last]
