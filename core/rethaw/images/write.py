"""Writing image files without losing anything that the format can hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from rethaw.api import RethawError
from rethaw.files import expanded, replacing, shown
from rethaw.images.deep_write import write_png, write_tiff
from rethaw.images.metadata import options
from rethaw.images.picture import Picture
from rethaw.images.transparency import HIDDEN

FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    ".png": ("PNG", {"compress_level": 1}),  # a third of the time for a tenth more bytes
    ".tif": ("TIFF", {"compression": "tiff_deflate"}),
    ".tiff": ("TIFF", {"compression": "tiff_deflate"}),
    ".webp": ("WEBP", {"lossless": True, "exact": True}),  # exact: also the colours under full transparency
    ".jpg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": 0}),
}
ROWS = 256
"""That are converted at once."""
DEEP = {"PNG": write_png, "TIFF": write_tiff}


def write_image(path: Path, pixels: Tensor, like: Picture | None = None) -> None:
    """Writes (C, H, W), clamped to [-1, 1]: .png, .tif and .webp without loss, .jpg at quality 95.

    like: the picture that this one comes from: its greyness, alpha and hidden colours, EXIF, XMP, resolution, a fitting
    ICC profile, and in PNG and TIFF its 16 bits are restored. An existing file is replaced once the new one is
    whole; a link is replaced, not followed. Raises RethawError if it cannot be written, or has values that are not
    finite.
    """
    path = expanded(Path(path))
    if path.suffix.lower() not in FORMATS:
        raise RethawError(f"{shown(path)} has an ending that cannot be written", f"Choose from {' '.join(FORMATS)}.")
    kind, settings = FORMATS[path.suffix.lower()]
    values = _values(path, pixels, like, 65535 if kind in DEEP and like is not None and like.depth == 16 else 255)
    settings = settings | options(kind, like, values.shape[2] > 2)
    with replacing(path) as file:
        if values.dtype == np.uint16 and values.shape[2] > 1:
            DEEP[kind](file, values, settings)
        else:
            Image.fromarray(values[..., 0] if values.shape[2] == 1 else values).save(file, kind, **settings)


def _values(path: Path, pixels: Tensor, like: Picture | None, top: int) -> NDArray[Any]:
    """What goes into the file: (H, W, 1 to 4), unsigned 8 or 16 bits; the last of 2 and 4 channels is alpha.

    Made some rows at a time, so that a large picture takes no more memory than the result.
    """
    if pixels.dim() != 3 or pixels.shape[0] not in (1, 3):
        raise RethawError(f"{shown(path)}: an image has the shape (1 or 3, H, W), not {tuple(pixels.shape)}")
    hidden = None if like is None or like.alpha is None else _hidden(path, pixels, like)
    parts = []
    for first in range(0, pixels.shape[1], ROWS):
        rows = slice(first, first + ROWS)
        x = pixels[:, rows].detach().to("cpu", torch.float32)
        if not x.isfinite().all():
            wrong = f"{shown(path)}: the image has values that are not finite"
            raise RethawError(wrong, "The model may have diverged.")
        if like is not None:
            x = x.mean(0, keepdim=True) if like.grey else x
            x = x.expand(3, -1, -1) if like.rgb else x
            if like.alpha is not None:
                x, hidden = _with_alpha(x, like.alpha[:, rows], hidden)
        parts.append(_integers(x, top))
    return np.concatenate(parts)


def _hidden(path: Path, pixels: Tensor, like: Picture) -> Tensor | None:
    """The colours (1 or 3, N) that the alpha of the other picture hides; None where they do not fit."""
    assert like.alpha is not None
    if FORMATS[path.suffix.lower()][0] == "JPEG":
        hint = "Choose .png, .tif or .webp."
        raise RethawError(f"{shown(path)} cannot hold the transparency of {shown(like.path)}", hint)
    if like.alpha.shape[1:] != pixels.shape[1:]:
        wrong = f"{tuple(pixels.shape)} does not fit the transparency {tuple(like.alpha.shape)}"
        raise RethawError(f"{shown(path)}: {wrong}")
    fits = like.hidden is not None and like.hidden.shape[1] == (like.alpha[0] < HIDDEN).sum()
    return like.hidden if fits else None


def _with_alpha(x: Tensor, alpha: Tensor, hidden: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Rows with their alpha as one more channel, and the hidden colours where it hides them; and the other ones."""
    if hidden is not None:
        unseen = alpha[0] < HIDDEN
        count, x = int(unseen.sum()), x.clone()
        own = hidden[:, :count] if len(hidden) in (1, len(x)) else hidden[:, :count].mean(0, keepdim=True)
        x[:, unseen], hidden = own.expand(len(x), -1), hidden[:, count:]
    return torch.cat([x, alpha * 2 - 1]), hidden


def _integers(x: Tensor, top: int) -> NDArray[Any]:
    """(C, H, W) in [-1, 1] to (H, W, C) in 0 … top."""
    scaled = x.clamp(-1, 1).add_(1).mul_(top / 2).round_().permute(1, 2, 0)
    return np.ascontiguousarray(scaled.numpy(), np.uint8 if top == 255 else np.uint16)
