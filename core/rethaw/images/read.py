"""Reading image files with all the precision there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from rethaw.files import expanded
from rethaw.images.decode import decode
from rethaw.images.opening import explained, opened
from rethaw.images.picture import Picture
from rethaw.images.transparency import HIDDEN, filled

Array = NDArray[Any]
TOP = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0}
"""The value of white; 1 for floats."""


def read_image(path: Path, channels: int = 3) -> Picture:
    """Reads an image file, upright, as `channels` (1 or 3) channels; see `Picture`. `~` is the user's folder.

    Raises UnreadableImage for a file that is missing, no image, damaged, too large to be safe, or whose values
    have no known range.
    """
    path, notes = expanded(Path(path)), list[str]()
    with explained(path):
        with opened(path) as image:
            values, metadata = decode(image, path, notes, file=True)
        return picture_of(values, channels, path, notes, metadata)


def from_pil(image: Image.Image, channels: int = 3, path: Path = Path("the image")) -> Picture:
    """The same for an image that Pillow has opened or made; path: what errors and the result call it."""
    notes = list[str]()
    with explained(path):
        values, metadata = decode(image, path, notes, file=False)
        return picture_of(values, channels, path, notes, metadata)


def picture_of(
    values: Array, channels: int, path: Path, notes: Sequence[str] = (), metadata: Mapping[str, Any] | None = None
) -> Picture:
    """Values (H, W, C) of unsigned 8 or 16 bits, or floats in [0, 1], as a picture of so many channels.

    C = 1 to 4; the last of 2 and 4 is alpha. Raises MemoryError where there is too little memory.
    """
    top, notes = TOP.get(values.dtype, 1.0), list(notes)
    colours, alpha = (values[..., :-1], values[..., -1:]) if values.shape[2] in (2, 4) else (values, None)
    seen = np.array(True) if alpha is None else alpha[..., 0] >= HIDDEN * top
    rgb = colours.shape[2] == 3 and is_grey(colours, seen)
    if channels == 1 and colours.shape[2] == 3 and not rgb:
        colours = luminance(colours)
        notes.append("colour was converted to grey")
    try:
        x = tensor(colours[..., :1] if rgb else colours, top)
        hidden = None if seen.all() else tensor(colours[~seen][None], top)[:, 0]
        x = x if hidden is None else filled(x, torch.from_numpy(seen))
        grey, depth = channels == 3 and x.shape[0] == 1, 8 if top == 255 else 16
        opacity = None if alpha is None else torch.from_numpy(alpha.astype(np.float32)).permute(2, 0, 1) / top
        pixels = x.expand(channels, -1, -1).contiguous()
    except RuntimeError as error:  # of torch
        raise MemoryError from error
    return Picture(pixels, path, opacity, grey, depth, tuple(notes), hidden=hidden, rgb=rgb, **metadata or {})


def is_grey(colours: Array, seen: Array) -> bool:
    """Whether the channels of (H, W, 3) are equal wherever pixels are seen."""
    return all(
        bool(((part[..., :1] == part[..., 1:]).all(2) | ~mask).all())
        for part, mask in ((colours[::16, ::16], seen[..., ::16, ::16] if seen.ndim else seen), (colours, seen))
    )


def luminance(colours: Array) -> Array:
    """(H, W, 3) to (H, W, 1), by the weights of ITU-R BT.601."""
    if colours.dtype == np.float32:
        return colours @ np.array([[0.299], [0.587], [0.114]], np.float32)
    weights = np.array([[19595], [38470], [7471]], np.uint32)  # of a sum of 65536
    return ((colours.astype(np.uint32) @ weights + 0x8000) >> 16).astype(colours.dtype)


def tensor(values: Array, top: float) -> Tensor:
    """(H, W, C) from 0 to `top` as (C, H, W) in [-1, 1]."""
    x = torch.from_numpy(np.array(values.transpose(2, 0, 1), np.float32, order="C"))
    return x.div_(top / 2).sub_(1)
