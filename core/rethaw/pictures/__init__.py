from rethaw.pictures.layout import before_after, beside, grid, save, save_animation, sheet, strip, to_pil
from rethaw.pictures.plot import curve, curves
from rethaw.pictures.testcard import testcard
