"""What a file says beside its pixels: read as `Picture` keeps it, and as Pillow writes it."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from rethaw.images.picture import Picture

XMP_TAG, XRESOLUTION = 700, 282
"""Tags of TIFF."""
JPEG_BLOCK = 65_000
"""Bytes that fit into one block of a JPEG file, where EXIF and XMP have only one."""


def metadata(image: Image.Image) -> dict[str, Any]:
    """The fields of `Picture` that a decoded image knows, its orientation applied."""
    exif = image.getexif() if "exif" in image.info else None  # not from TIFF, where it mixes with the file's layout
    xmp = image.info.get("xmp")
    return {
        "exif": exif.tobytes() if exif else None,  # without the thumbnail
        "icc_profile": image.info.get("icc_profile"),
        "xmp": xmp if isinstance(xmp, bytes) else None,
        "dpi": _resolution(image),
        "png": tuple(_colour_chunks(image.info)),
    }


def _resolution(image: Image.Image) -> tuple[float, float] | None:
    if image.format == "TIFF" and XRESOLUTION not in getattr(image, "tag_v2", {}):
        return None  # Pillow's 1
    try:
        across, down = (float(value) for value in image.info.get("dpi", ()))
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (across, down) if all(math.isfinite(v) and 1 < v < 1e6 for v in (across, down)) else None


def _colour_chunks(info: Mapping[Any, Any]) -> Iterator[tuple[bytes, bytes]]:
    """What PNG says of colours without a profile: gamma, primaries, and that they are sRGB."""
    if isinstance(gamma := info.get("gamma"), float):
        yield b"gAMA", struct.pack(">I", round(gamma * 100_000))
    if isinstance(primaries := info.get("chromaticity"), tuple) and len(primaries) == 8:
        yield b"cHRM", struct.pack(">8I", *(round(value * 100_000) for value in primaries))
    if isinstance(intent := info.get("srgb"), int):
        yield b"sRGB", bytes([intent])


def options(kind: str, like: Picture | None, colour: bool) -> dict[str, Any]:
    """The same as options of Pillow's writer of that format. colour: the file has three channels."""
    if like is None:
        return {}
    profile = like.icc_profile
    found: dict[str, Any] = {"exif": like.exif, "xmp": like.xmp, "dpi": like.dpi}
    if profile and profile[16:20] == (b"RGB " if colour or kind == "WEBP" else b"GRAY"):
        found["icc_profile"] = profile
    if kind == "PNG":
        found["pnginfo"] = _png_info(like)
    if kind == "JPEG":
        found |= {key: None for key in ("exif", "xmp") if len(found[key] or b"") > JPEG_BLOCK}
    if kind == "TIFF" and like.xmp:
        exif = Image.Exif()
        exif.load(like.exif or b"")
        exif[XMP_TAG] = like.xmp
        found["exif"] = exif.tobytes()
    return {key: value for key, value in found.items() if value}


def _png_info(like: Picture) -> PngInfo:
    info = PngInfo()
    for name, data in like.png:
        info.add(name, data)
    if like.xmp:
        info.add_itxt("XML:com.adobe.xmp", like.xmp.decode("utf-8", "replace"))
    return info
