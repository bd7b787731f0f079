"""What we draw: strips, grids, before and after, animations, plots, and a picture to try degradations on."""

from rethaw.pictures.animation import save_animation
from rethaw.pictures.canvas import Canvas, reduced, save, testcard, to_pil
from rethaw.pictures.layout import before_after, beside, grid, sheet, strip
from rethaw.pictures.plot import Point, curve, curves, trade_off
