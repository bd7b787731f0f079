"""From an opened file to its values: the first frame, upright, at full depth, grey or RGB, perhaps with alpha."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

from rethaw.files import shown
from rethaw.images.deep_read import Halves, argument, halves, rawmode, stated_bits
from rethaw.images.metadata import metadata
from rethaw.images.picture import UnreadableImage

Array = NDArray[Any]


def decode(image: Image.Image, path: Path, notes: list[str], file: bool) -> tuple[Array, dict[str, Any]]:
    """Values (H, W, C), of unsigned 8 or 16 bits or floats in [0, 1], and what the file says beside them.

    C = 1 to 4; the last of 2 and 4 is alpha. file: the image was opened from `path`, and is not loaded yet.
    """
    if (frames := getattr(image, "n_frames", 1)) > 1:
        notes.append(f"only the first of {frames} frames is used")
    split = halves(image, path) if file else None
    layout = "" if split else _layout(image)
    inverted = getattr(image, "tag_v2", {}).get(262) == 0  # TIFF's "white is zero", which Pillow minds at 8 bits only
    image.load()
    upright = _upright(image, notes)
    if split:
        lower = [_upright(each, []) for each in split.images[1:]]
        values: Array = Halves([upright, *lower], split.top).values()
    elif upright.mode == "F":
        values = _unit_range(upright, path, notes)
    elif upright.mode.startswith("I"):
        values = _sixteen(upright, path, "I;12" in layout, inverted)
    else:
        if file and (bits := stated_bits(path, str(image.format))) > 8:
            notes.append(f"its {bits} bits were read at 8, all that Pillow can")
        values = np.array(_plain(_shallow(upright, layout, notes), notes))
    return _keyed(values[..., None] if values.ndim == 2 else values, upright), metadata(upright)


def _layout(image: Image.Image) -> str:
    """How a file lays out its values, in Pillow's words; gone after loading."""
    tiles = getattr(image, "tile", [])
    deep = any(tile.codec_name.startswith("ppm") and argument(tile, 1) > 255 for tile in tiles)
    return " ".join(rawmode(tile) for tile in tiles) + " RGB;16" * deep


def _upright(image: Image.Image, notes: list[str]) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except MemoryError:
        raise
    except Exception:  # whatever a broken block makes the parser stumble over, the pixels are sound
        notes.append("its EXIF data is broken and was ignored")
        copy = image.copy()
        copy.info.pop("exif", None)
        return copy


def _unit_range(image: Image.Image, path: Path, notes: list[str]) -> Array:
    values = np.asarray(image)
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 1):  # also true of nan
        raise UnreadableImage(
            f"{shown(path)} has floating-point values from {low:g} to {high:g}, whose meaning is unknown",
            "Scale its values to 0 (black) … 1 (white).",
        )
    notes.append("floating-point values were taken as 0 to 1; 16 bits of them are kept in writing")
    return values


def _sixteen(image: Image.Image, path: Path, twelve: bool, inverted: bool) -> Array:
    """Any grey of integers of more than 8 bits, as unsigned 16 bits."""
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise UnreadableImage(
            f"{shown(path)} has values from {values.min()} to {values.max()}, whose meaning is unknown",
            "Save it with 8 or 16 bits, from 0 (black) to 65535 (white).",
        )
    values = (np.rint(values * (65535 / 4095)) if twelve else values).astype(np.uint16)
    return 65535 - values if inverted else values


def _shallow(image: Image.Image, layout: str, notes: list[str]) -> Image.Image:
    """Mends what Pillow leaves undone where it changes the number of bits to 8."""
    if ";16" in layout.replace("BGR;16", ""):  # that one is 5, 6 and 5 bits of a BMP
        notes.append("16-bit colour was read at 8 bits, all that Pillow can")
        image.info.pop("transparency", None)  # a 16-bit colour, which would match nothing
        return image.convert("LA") if "LA;16" in layout else image
    scale = 85 if "L;2" in layout else 17 if "L;4" in layout else 1
    if isinstance(key := image.info.get("transparency"), int) and image.mode == "L":
        image.info["transparency"] = key * scale  # the values were scaled, the transparent one was not
    return image


def _plain(image: Image.Image, notes: list[str]) -> Image.Image:
    """Any mode of 8 bits as L, LA, RGB or RGBA."""
    clear = image.has_transparency_data
    if image.mode in ("CMYK", "LAB", "YCbCr"):
        return _to_rgb(image, notes)
    if image.mode in ("1", "L", "LA"):
        return image.convert("LA" if clear else "L")
    return image.convert("RGBA" if clear else "RGB")


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
            return rgb
        except ImageCms.PyCMSError:
            how = " plainly, since its embedded profile does not work"
    notes.append(f"{name} was converted to RGB" + how)
    return image.convert("RGB")


def _keyed(values: Array, image: Image.Image) -> Array:
    """16-bit values with alpha where the file names one value or colour that is transparent."""
    key = image.info.get("transparency")
    if values.dtype != np.uint16 or values.shape[2] not in (1, 3) or not isinstance(key, (int, tuple)):
        return values
    alpha = (values != np.asarray(key, np.uint16)).any(2, keepdims=True)
    return np.concatenate([values, alpha * np.uint16(65535)], 2)
