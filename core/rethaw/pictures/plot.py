"""Plots: curves in one frame, drawn by matplotlib's objects, without pyplot and its global state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image

from rethaw.api import RethawError
from rethaw.pictures.canvas import ACCENT, INK, PAPER, SOFT, Canvas, drawable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Points = Sequence[tuple[float, float]]


class Point(NamedTuple):
    """A point with a label beside it, and the interval in which its y lies."""

    x: float
    y: float
    label: str = ""
    interval: tuple[float, float] | None = None


COLOURS = (ACCENT, "#1c7ed6", "#2f9e44", "#6741d9", "#e8590c", "#0c8599", "#c2255c", "#5c940d")
LARGEST = 1e100
"""Beyond it matplotlib's own arithmetic overflows."""


def curve(rows: Points, title: str, x_label: str, y_label: str, log_y: bool = False) -> Canvas:
    """A line through the points (x, y), which come in order of x.

    Points that are not finite (or beyond 1e100) are left out.
    log_y: a logarithmic y axis, on which points of y ≤ 0 (or below 1e-100) are left out too.
    """
    return curves({"": rows}, title, x_label, y_label, log_y)


def trade_off(lines: Mapping[str, Sequence[Point]], title: str, x_label: str, y_label: str) -> Canvas:
    """Lines from point to point, in the order given, each point with its label and the interval of its y."""
    axes = _frame()
    shown = {name: [p for p in points if _drawable([p[:2]], False)] for name, points in lines.items()}
    _draw_lines(axes, {name: [p[:2] for p in points] for name, points in shown.items()}, title)
    for line, points in zip(axes.get_lines(), shown.values(), strict=True):
        line.set_marker("o")
        for p in points:
            if p.interval:
                axes.vlines(p.x, *p.interval, colors=line.get_color(), alpha=0.3)
            axes.annotate(
                drawable(p.label), p[:2], (5, 5), textcoords="offset points", color=line.get_color(), parse_math=False
            )
    if legend := axes.get_legend():
        legend.set_loc("upper left")
        legend.set_bbox_to_anchor((1.0, 1.0))
    axes.margins(x=0.08, y=0.08)
    return _drawn(axes, title, x_label, y_label)


def curves(lines: Mapping[str, Points], title: str, x_label: str, y_label: str, log_y: bool = False) -> Canvas:
    """Several such lines in one frame, each named in its colour."""
    axes = _frame()
    _draw_lines(axes, {name: _drawable(rows, log_y) for name, rows in lines.items()}, title)
    axes.set_yscale("log" if log_y else "linear")
    axes.margins(x=0.01)
    return _drawn(axes, title, x_label, y_label)


def _frame() -> Axes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((8, 4.6), dpi=100, facecolor=PAPER, layout="constrained")
    FigureCanvasAgg(figure)
    return figure.add_subplot()


def _drawn(axes: Axes, title: str, x_label: str, y_label: str) -> Canvas:
    """What is in a frame, with its texts, as a picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    _describe(axes, title, x_label, y_label)
    canvas = axes.figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
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
    axes.tick_params(length=0, which="both", labelcolor=SOFT)
