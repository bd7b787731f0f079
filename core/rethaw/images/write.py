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
from rethaw.files import replacing
from rethaw.images.picture import Picture

_WRITE: dict[str, tuple[str, dict[str, Any]]] = {
    ".png": ("PNG", {}),
    ".tif": ("TIFF", {"compression": "tiff_deflate"}),
    ".tiff": ("TIFF", {"compression": "tiff_deflate"}),
    ".webp": ("WEBP", {"lossless": True, "exact": True}),  # exact: also the colours under full transparency
    ".jpg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": 0}),
}
_NO_ALPHA, _DEEP = (".jpg", ".jpeg"), (".png", ".tif", ".tiff")


def write_image(path: Path, pixels: Tensor, like: Picture | None = None) -> None:
    """Writes (C, H, W), clamped to [-1, 1]: .png, .tif and .webp without loss, .jpg at quality 95.

    like: the picture that this one comes from: its greyness, alpha, EXIF data, a fitting ICC profile, and in
    a grey PNG or TIFF its 16 bits are restored. An existing file is replaced once the new one is whole.
    Raises RethawError if it cannot be written, or has values that are not finite.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in _WRITE:
        raise RethawError(f"{path} has an ending that cannot be written", f"Choose from {' '.join(_WRITE)}.")
    kind, options = _WRITE[suffix]
    image = _image(path, pixels, like)
    space = b"RGB " if image.mode in ("RGB", "RGBA") or kind == "WEBP" else b"GRAY"
    if like is not None and like.exif:
        options = options | {"exif": like.exif}
    if like is not None and like.icc_profile and like.icc_profile[16:20] == space:
        options = options | {"icc_profile": like.icc_profile}
    with replacing(path) as file:
        image.save(file, kind, **options)


def _image(path: Path, pixels: Tensor, like: Picture | None) -> Image.Image:
    """The image that goes into the file: L, LA, RGB, RGBA or I;16."""
    if pixels.dim() != 3 or pixels.shape[0] not in (1, 3):
        raise RethawError(f"{path}: an image has the shape (1 or 3, H, W), not {tuple(pixels.shape)}")
    x = pixels.detach().to("cpu", torch.float32)
    if not x.isfinite().all():
        raise RethawError(f"{path}: the image has values that are not finite", "The model may have diverged.")
    if like is not None and like.grey:
        x = x.mean(0, keepdim=True)
    if like is not None and like.depth == 16 and x.shape[0] == 1 and path.suffix.lower() in _DEEP:
        return Image.fromarray(_integers(x, 65535)[..., 0].astype(np.uint16))
    array = _integers(x, 255)
    if like is not None and like.alpha is not None:
        array = np.concatenate([array, _integers(_alpha(path, x, like.path, like.alpha) * 2 - 1, 255)], 2)
    return Image.fromarray((array[..., 0] if array.shape[2] == 1 else array).astype(np.uint8))


def _alpha(path: Path, x: Tensor, source: Path, alpha: Tensor) -> Tensor:
    """The alpha of another picture, if it fits this one."""
    if path.suffix.lower() in _NO_ALPHA:
        raise RethawError(f"{path} cannot hold the transparency of {source}", "Choose .png, .tif or .webp.")
    if alpha.shape[1:] != x.shape[1:]:
        raise RethawError(f"{path}: {tuple(x.shape)} does not fit the transparency {tuple(alpha.shape)}")
    return alpha


def _integers(x: Tensor, top: int) -> NDArray[Any]:
    """(C, H, W) in [-1, 1] to (H, W, C) in 0 … top."""
    array: NDArray[Any] = ((x.clamp(-1, 1) + 1) * (top / 2)).round().permute(1, 2, 0).numpy()
    return array
