"""A picture to try degradations on, drawn here: smooth and busy parts, edges in all directions, and every hue."""

from __future__ import annotations

import math

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from rethaw.images import from_pil

SIDE, FINE = 256, 4  # drawn FINE times as large, so that edges are smooth
SKY, HORIZON = (52, 110, 190), (250, 214, 170)
HILLS = (((86, 124, 138), 0.50, 0.10, 1.3), ((70, 118, 84), 0.60, 0.07, 2.9), ((112, 150, 62), 0.72, 0.04, 0.4))
"""Colour, height, swing and phase of each range, from far to near."""
BALLOONS = (((214, 56, 52), 0.24, 0.22, 0.12), ((242, 176, 36), 0.52, 0.13, 0.07), ((124, 70, 168), 0.88, 0.36, 0.06))
"""Colour, place and radius."""
FLOWERS = ((235, 64, 96), (250, 240, 240), (252, 208, 60), (96, 84, 200))


def testcard() -> Tensor:
    """A landscape with balloons, a house and flowers, (3, 256, 256) in [-1, 1]; always the same."""
    side = SIDE * FINE
    canvas = Image.new("RGB", (side, side))
    draw = ImageDraw.Draw(canvas)
    for y in range(side):
        share = min(1.0, y / (0.6 * side))
        mixed = tuple(round(a + (b - a) * share) for a, b in zip(SKY, HORIZON, strict=True))
        draw.line([(0, y), (side, y)], mixed)
    draw.ellipse(square(0.74, 0.34, 0.07, side), (255, 246, 214))
    for colour, height, swing, phase in HILLS:
        ridge = [(x, side * (height + swing * math.sin(phase + x * 5 / side))) for x in range(0, side + 1, FINE)]
        draw.polygon([(0, side), *ridge, (side, side)], colour)
    house(draw, side)
    for paint, x, top, radius in BALLOONS:
        balloon(draw, paint, x * side, top * side, radius * side)
    flowers(draw, side)
    return from_pil(canvas.resize((SIDE, SIDE), Image.Resampling.LANCZOS), 3).pixels


def square(x: float, y: float, radius: float, side: int) -> list[float]:
    """The box around a circle."""
    return [side * (x - radius), side * (y - radius), side * (x + radius), side * (y + radius)]


def house(draw: ImageDraw.ImageDraw, side: int) -> None:
    """Walls, roof, door and windows."""

    def box(colour: tuple[int, int, int], *corners: float) -> None:
        draw.rectangle([side * c for c in corners], colour)

    box((238, 228, 208), 0.60, 0.56, 0.84, 0.78)
    draw.polygon([(side * x, side * y) for x, y in ((0.57, 0.57), (0.72, 0.42), (0.87, 0.57))], (150, 62, 50))
    box((92, 60, 44), 0.69, 0.66, 0.75, 0.78)
    for left in (0.625, 0.775):
        box((64, 92, 124), left, 0.61, left + 0.045, 0.67)


def balloon(draw: ImageDraw.ImageDraw, colour: tuple[int, ...], x: float, y: float, radius: float) -> None:
    """A striped ball with a basket below."""
    light = tuple(min(255, c + 90) for c in colour)
    draw.ellipse([x - radius, y - radius, x + radius, y + radius], colour)
    for share in (0.72, 0.24):
        fill = light if share > 0.5 else colour
        draw.ellipse([x - share * radius, y - radius, x + share * radius, y + radius], fill)
    for end in (-1, 1):
        draw.line(
            [(x + end * radius * 0.6, y + radius * 0.8), (x + end * radius * 0.15, y + radius * 1.6)], (60, 40, 30), 5
        )
    draw.rectangle([x - radius * 0.2, y + radius * 1.6, x + radius * 0.2, y + radius * 1.9], (120, 80, 40))


def flowers(draw: ImageDraw.ImageDraw, side: int) -> None:
    """Many small dots of four colours on the meadow, smaller the farther away."""
    places = torch.rand(240, 3, generator=torch.Generator().manual_seed(7)).tolist()
    for i, (x, y, size) in enumerate(sorted(places, key=lambda place: place[1])):
        draw.ellipse(square(x, 0.79 + 0.2 * y, 0.004 + 0.010 * y * (0.4 + size), side), FLOWERS[i % len(FLOWERS)])
