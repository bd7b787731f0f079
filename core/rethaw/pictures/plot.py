"""Plots: curves in one frame, drawn by matplotlib's objects, without pyplot and its global state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING

from PIL import Image

from rethaw.api import RethawError
from rethaw.pictures.canvas import ACCENT, INK, PAPER, SOFT, Canvas, drawable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Points = Sequence[tuple[float, float]]

COLOURS = (ACCENT, "#1c7ed6", "#2f9e44", "#6741d9")
LARGEST = 1e100
"""Beyond it matplotlib's own arithmetic overflows."""


def curve(rows: Points, title: str, x_label: str, y_label: str, log_y: bool = False) -> Canvas:
    """A line through the points (x, y), which come in order of x.

    Points that are not finite (or beyond 1e100) are left out.
    log_y: a logarithmic y axis, on which points of y ≤ 0 (or below 1e-100) are left out too.
    """
    return curves({"": rows}, title, x_label, y_label, log_y)


def curves(lines: Mapping[str, Points], title: str, x_label: str, y_label: str, log_y: bool = False) -> Canvas:
    """Several such lines in one frame, each named in its colour."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((8, 4.6), dpi=100, facecolor=PAPER, layout="constrained")
    canvas, axes = FigureCanvasAgg(figure), figure.add_subplot()
    _draw_lines(axes, {name: _drawable(rows, log_y) for name, rows in lines.items()}, title)
    axes.set_yscale("log" if log_y else "linear")
    _describe(axes, title, x_label, y_label)
    canvas.draw()
    return Image.frombytes("RGBA", canvas.get_width_height(), canvas.buffer_rgba()).convert("RGB")


def _drawable(rows: Points, log_y: bool) -> list[tuple[float, float]]:
    least = 1 / LARGEST if log_y else -LARGEST
    return [(x, y) for x, y in rows if -LARGEST <= x <= LARGEST and least <= y <= LARGEST]


def _draw_lines(axes: Axes, lines: Mapping[str, Points], title: str) -> None:
    """The lines and their names, which are taken literally: no mathematics, no hidden ones."""
    if not any(lines.values()):
        raise RethawError(f"there is nothing to draw for {title!r}: no value is finite")
    drawn = [
        axes.plot([x for x, _ in points], [y for _, y in points], color=colour, marker="." * (len(points) == 1))[0]
        for points, colour in zip(lines.values(), cycle(COLOURS), strict=False)
    ]
    if any(lines):
        legend = axes.legend(drawn, ["…"] * len(drawn), frameon=False, labelcolor="linecolor")
        for text, name in zip(legend.get_texts(), lines, strict=True):
            text.set(text=drawable(name), parse_math=False)


def _describe(axes: Axes, title: str, x_label: str, y_label: str) -> None:
    title, x_label, y_label = map(drawable, (title, x_label, y_label))
    axes.set_title(title, loc="left", fontsize=14, color=INK, pad=26, parse_math=False)
    axes.text(0, 1.03, y_label, transform=axes.transAxes, color=SOFT, parse_math=False)
    axes.set_xlabel(x_label, loc="right", color=SOFT, parse_math=False)
    axes.grid(axis="y", color="#e3e3e6")
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    axes.margins(x=0.01)
    axes.tick_params(length=0, which="both", labelcolor=SOFT)
