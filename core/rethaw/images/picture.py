"""What reading gives and writing takes: a picture with all that its file says beside the pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from rethaw.api import RethawError


class UnreadableImage(RethawError):
    """An image file that cannot be read: missing, damaged, too large, of an unknown format or range of values."""


@dataclass(frozen=True)
class Picture:
    """An image as it was read.

    pixels: (C, H, W), float32 in [-1, 1], C = 1 or 3. alpha: (1, H, W) in [0, 1], None if the file has none.
    hidden: (1 or 3, N), the file's own colours of the pixels that alpha hides, row by row; in `pixels` they go on from
        their visible neighbours, and `write_image` writes the file's own.
    grey: the file is grey though three channels were asked for; `write_image` then writes grey again.
    rgb: the file stores its grey as three equal channels; so it is written.
    depth: the bits that each value of `pixels` was read with, 8 or 16. notes: sentences for the user.
    exif, icc_profile, xmp: None if absent; the orientation has been applied and is no longer in them.
    dpi: resolution, across and down. png: chunks gAMA, cHRM and sRGB of a PNG file.
    """

    pixels: Tensor
    path: Path
    alpha: Tensor | None = None
    grey: bool = False
    depth: int = 8
    notes: tuple[str, ...] = ()
    exif: bytes | None = None
    icc_profile: bytes | None = None
    hidden: Tensor | None = None
    rgb: bool = False
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    png: tuple[tuple[bytes, bytes], ...] = ()

    def __repr__(self) -> str:
        channels, height, width = self.pixels.shape
        colours = "grey" if self.grey or channels == 1 else "colour"
        return f"<{type(self).__name__} {self.path}: {width}×{height}, {colours}, {self.depth} bits>"


def quantise(x: Tensor, bits: int) -> Tensor:
    """Rounds values on the [-1, 1] scale to those that a file of so many bits can hold, without clamping."""
    half = (2**bits - 1) / 2
    rounded: Tensor = ((x + 1) * half).round() / half - 1
    return rounded
