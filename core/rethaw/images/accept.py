"""Images of any kind that Python code may have, as a `Picture`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from rethaw.api import RethawError
from rethaw.images.picture import Picture
from rethaw.images.read import from_pil, picture_of, read_image
from rethaw.images.write import write_image


@dataclass(frozen=True, repr=False)
class Result(Picture):
    """A picture that we have made, as restoring gives it."""

    def save(self, path: str | Path) -> None:
        """Writes it with all that its file said: transparency, greyness, depth, metadata. See `write_image`."""
        write_image(Path(path), self.pixels, like=self)


ImageLike = Tensor | Image.Image | NDArray[np.generic] | str | Path
"""A tensor (C, H, W) in [-1, 1], a PIL image, a path, or an array (H, W) or (H, W, C).

Arrays are of unsigned 8 or 16 bits, or of floats in [0, 1].
"""


def to_picture(image: ImageLike, channels: int) -> Picture:
    """An image of any kind as a picture of so many channels. Raises RethawError for what is none."""
    if isinstance(image, Tensor):
        return Picture(image, Path("the image"))
    if isinstance(image, Image.Image):
        return from_pil(image, channels)
    if isinstance(image, (str, Path)):
        return read_image(Path(image), channels)
    if isinstance(image, np.ndarray):
        return from_array(image, channels)
    raise RethawError(
        f"a {type(image).__name__} is not an image", "Give a path, a PIL image, a numpy array or a tensor (C, H, W)."
    )


def from_array(array: NDArray[np.generic], channels: int) -> Picture:
    """An array (H, W) or (H, W, 1 to 4) of unsigned 8 or 16 bits, or of floats in [0, 1]."""
    shape = array.shape
    if array.ndim not in (2, 3) or 0 in shape or (array.ndim == 3 and shape[2] > 4):
        raise RethawError(f"an image array has the shape (H, W) or (H, W, C), not {shape}")
    whole = array.dtype in (np.uint8, np.uint16)
    if not whole and not (np.issubdtype(array.dtype, np.floating) and array.min() >= 0 and array.max() <= 1):
        raise RethawError(
            f"an image array of {array.dtype} from {array.min()} to {array.max()} has no known range",
            "Give unsigned 8 or 16 bits, or floats from 0 to 1.",
        )
    values = array if whole else array.astype(np.float32)
    picture = picture_of(values[..., None] if values.ndim == 2 else values, channels, Path("the image"))
    return picture if whole else replace(picture, depth=8)
