"""Reading image files with all the precision there is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from torch import Tensor

from rethaw.images.picture import Picture, UnreadableImage

# One by one, since Pillow would also open EPS (which runs Ghostscript), fonts, and nearly anything as TGA.
_READ = ["PNG", "JPEG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "JPEG2000", "PPM"]


def read_image(path: Path, channels: int = 3) -> Picture:
    """Reads an image file, upright, as `channels` (1 or 3) channels; see `Picture`.

    Raises UnreadableImage for a file that is missing, no image, damaged, too large to be safe, or whose values
    have no known range.
    """
    path = Path(path)
    with _explained(path), Image.open(path, formats=_formats()) as image:
        return from_pil(image, channels, path)


@cache
def _formats() -> list[str]:
    """Those of `_READ` that this Pillow was built with."""
    Image.init()
    return [name for name in _READ if name in Image.OPEN]


def from_pil(image: Image.Image, channels: int = 3, path: Path = Path("the image")) -> Picture:
    """The same for an image that Pillow has opened or made; path: what errors and the result call it."""
    notes: list[str] = []
    with _explained(path):
        image = _normal(_decoded(image, path, notes), notes)
        exif = _exif(image)
    if channels == 1 and image.mode in ("RGB", "RGBA"):
        notes.append("colour was converted to grey")
        image = image.convert("L" if image.mode == "RGB" else "LA")
    values, alpha, depth = _values(image)
    grey, icc = channels == 3 and values.shape[0] == 1, image.info.get("icc_profile")
    pixels = values.expand(channels, -1, -1).contiguous()
    return Picture(pixels, path, alpha, grey, depth, tuple(notes), exif, icc)


def _decoded(image: Image.Image, path: Path, notes: list[str]) -> Image.Image:
    """The first frame, upright; integers of more than 8 bits as I;16."""
    if (frames := getattr(image, "n_frames", 1)) > 1:
        notes.append(f"only the first of {frames} frames is used")
    tiles = getattr(image, "tile", [])  # how the file lays out its values; gone after loading
    layout = str([tile[3] for tile in tiles])
    deep = ";16" in layout.replace("BGR;16", "")  # that one is 5, 6 and 5 bits of a BMP
    deep |= any(tile[0].startswith("ppm") and tile[3][1] > 255 for tile in tiles)
    # TIFF's "white is zero", which Pillow minds at 8 bits only
    inverted = getattr(image, "tag_v2", {}).get(262) == 0
    image.load()
    upright = _upright(image, notes)
    if upright.mode == "F":
        return _unit_range(upright, path, notes)
    if upright.mode.startswith("I"):
        return _sixteen(upright, path, "I;12" in layout, inverted, notes)
    return _shallow(upright, layout, deep, notes)


def _shallow(image: Image.Image, layout: str, deep: bool, notes: list[str]) -> Image.Image:
    """Mends what Pillow leaves undone where it changes the number of bits to 8."""
    if deep:
        notes.append("16-bit colour was read at 8 bits, all that Pillow can")
        image.info.pop("transparency", None)  # a 16-bit colour, which would match nothing
        return image.convert("LA") if "LA;16" in layout else image
    scale = 85 if "L;2" in layout else 17 if "L;4" in layout else 1
    if isinstance(key := image.info.get("transparency"), int) and image.mode == "L":
        image.info["transparency"] = key * scale  # the values were scaled, the transparent one was not
    return image


def _upright(image: Image.Image, notes: list[str]) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # whatever a broken block makes the parser stumble over, the pixels are sound
        notes.append("its EXIF data is broken and was ignored")
        copy = image.copy()
        copy.info.pop("exif", None)
        return copy


def _unit_range(image: Image.Image, path: Path, notes: list[str]) -> Image.Image:
    low, high = (float(end) for end in (np.asarray(image).min(), np.asarray(image).max()))
    if not (low >= 0 and high <= 1):  # also true of nan
        raise UnreadableImage(
            f"{path} has floating-point values from {low:g} to {high:g}, whose meaning is unknown",
            "Scale its values to 0 (black) … 1 (white).",
        )
    notes.append("floating-point values were taken as 0 to 1; 16 bits of them are kept in writing")
    return image


def _sixteen(image: Image.Image, path: Path, twelve: bool, inverted: bool, notes: list[str]) -> Image.Image:
    """Any integer image of more than 8 bits as I;16."""
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise UnreadableImage(
            f"{path} has values from {values.min()} to {values.max()}, whose meaning is unknown",
            "Save it with 8 or 16 bits, from 0 (black) to 65535 (white).",
        )
    if image.info.pop("transparency", None) is not None:
        notes.append("its transparent grey was ignored: Pillow has no 16-bit grey with transparency")
    values = np.rint(values * (65535 / 4095)).astype(np.int64) if twelve else values
    deep = Image.fromarray((65535 - values if inverted else values).astype(np.uint16))
    deep.info = image.info
    return deep


def _normal(image: Image.Image, notes: list[str]) -> Image.Image:
    """Any mode as L, LA, RGB, RGBA, I;16 or F."""
    clear = image.has_transparency_data
    if image.mode in ("CMYK", "LAB", "YCbCr"):
        return _to_rgb(image, notes)
    if image.mode in ("1", "L", "LA"):
        return image.convert("LA" if clear else "L")
    return image if image.mode in ("I;16", "F") else image.convert("RGBA" if clear else "RGB")


def _to_rgb(image: Image.Image, notes: list[str]) -> Image.Image:
    """CMYK and Lab through colour profiles where there are any, YCbCr by its formula."""
    name = {"LAB": "Lab"}.get(image.mode, image.mode)
    icc = image.info.get("icc_profile") if image.mode == "CMYK" else None
    source = ImageCms.createProfile("LAB") if image.mode == "LAB" else icc and BytesIO(icc)
    how = ""
    if source:
        try:
            rgb = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
            assert rgb is not None  # None only in place
            notes.append(f"{name} was converted to RGB" + (" with its embedded profile" if icc else ""))
            rgb.info = image.info
            return rgb
        except ImageCms.PyCMSError:
            how = " plainly, since its embedded profile does not work"
    notes.append(f"{name} was converted to RGB" + how)
    return image.convert("RGB")


def _values(image: Image.Image) -> tuple[Tensor, Tensor | None, int]:
    """Pixels (C, H, W) in [-1, 1], alpha and the bits of each value."""
    array: NDArray[Any] = np.atleast_3d(np.asarray(image)).astype(np.float32)
    values = torch.from_numpy(array).permute(2, 0, 1)
    if image.mode == "F":
        return values * 2 - 1, None, 16
    if image.mode == "I;16":
        return values / 32767.5 - 1, None, 16
    alpha = values[-1:] / 255 if image.mode in ("LA", "RGBA") else None
    return (values if alpha is None else values[:-1]) / 127.5 - 1, alpha, 8


def _exif(image: Image.Image) -> bytes | None:
    """What the camera said, without the thumbnail; not from TIFF, where it mixes with the file's layout."""
    if "exif" not in image.info:
        return None
    exif = image.getexif()
    return exif.tobytes() if exif else None


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turns whatever a decoder raises, which on a damaged file is nearly anything, into UnreadableImage."""
    try:
        yield
    except UnreadableImage:
        raise
    except Exception as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> UnreadableImage:
    """What is wrong with a file, in words."""
    again = "Save it again from an image program, or get another copy."
    match error:
        case FileNotFoundError():
            return UnreadableImage(f"{path} does not exist")
        case IsADirectoryError():
            return UnreadableImage(f"{path} is a folder, not an image file")
        case PermissionError():
            return UnreadableImage(f"{path} may not be read: permission denied")
        case UnidentifiedImageError() if path.stat().st_size == 0:
            return UnreadableImage(f"{path} is empty", again)
        case UnidentifiedImageError():
            return UnreadableImage(f"{path} is no image that can be read", f"Formats: {', '.join(_formats())}.")
        case Image.DecompressionBombError() | Image.DecompressionBombWarning() | MemoryError():
            return UnreadableImage(f"{path} is too large: {error or 'out of memory'}", "Crop or shrink it first.")
    return UnreadableImage(f"{path} is damaged: {str(error) or type(error).__name__}", again)
