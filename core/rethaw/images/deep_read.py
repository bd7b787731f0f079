"""16-bit colour. Pillow unpacks it to its higher bytes; told the other byte order, it gives the lower ones."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFile import ImageFile

NATIVE = "L" if sys.byteorder == "little" else "B"
OTHER = {"L": "B", "B": "L"}
SPLIT = {"RGB;16", "RGBA;16", "RGBX;16", "R;16", "G;16", "B;16", "A;16"}
"""What Pillow can unpack in both byte orders."""

BITS, PLANAR = 258, 284
"""Tags of TIFF."""


class Halves(NamedTuple):
    """The images that 16-bit colour is made of: higher and lower bytes, or one of all bytes (grey and alpha)."""

    images: list[Image.Image]
    top: int

    def values(self) -> NDArray[np.uint16]:
        """(H, W, C), from 0 to 65535."""
        high, *low = (np.asarray(image, np.uint8) for image in self.images)
        if not low:
            return high.view(">u2").astype(np.uint16)
        whole = high.astype(np.uint16) << np.uint16(8) | low[0]
        return whole if self.top == 65535 else np.rint(whole * (65535 / self.top)).clip(0, 65535).astype(np.uint16)


def halves(image: Image.Image, path: Path) -> Halves | None:
    """The halves of an opened file, itself one of them; None if it is not 16-bit colour that can be split."""
    if not isinstance(image, ImageFile) or not image.tile:
        return None
    if image.tile[0].args == "LA;16B":
        image.tile = [image.tile[0]._replace(args="RGBA")]
        return Halves([image], 65535)
    layouts = [_layout(image, tile) for tile in image.tile]
    if not all(layouts):
        return None
    top = int(argument(image.tile[0], 1)) if image.tile[0].codec_name == "ppm" else 65535
    with Image.open(path, formats=[str(image.format)]) as other:
        assert isinstance(other, ImageFile)
        other.tile = [_as(tile, at[:-1] + OTHER[at[-1]]) for tile, at in zip(image.tile, layouts, strict=True)]
        image.tile = [_as(tile, at) for tile, at in zip(image.tile, layouts, strict=True)]
        other.load()
    return Halves([image, other], top)


def argument(tile: Any, index: int) -> Any:
    """What Pillow tells the decoder of a part of a file: 0 is how its values lie, 1 of PPM their maximum."""
    args = (tile.args,) if isinstance(tile.args, str) else tile.args or ()
    return args[index] if index < len(args) else ""


def rawmode(tile: Any) -> str:
    """How a part of a file lays out its values, in Pillow's words."""
    return str(argument(tile, 0))


def _layout(image: ImageFile, tile: Any) -> str:
    """The same with the byte order, such as RGB;16B; "" for all that is not to be split."""
    mode, tags = rawmode(tile), getattr(image, "tag_v2", None) or {}
    if tile.codec_name.startswith("ppm"):
        return "RGB;16B" if tile.codec_name == "ppm" and mode == "RGB" and argument(tile, 1) > 255 else ""
    if tags.get(PLANAR) == 2:  # channels apart
        if tile.codec_name == "libtiff":
            return ""  # which then minds no layout that it is given
        if len(mode) == 1 and 16 in tags.get(BITS, ()):
            mode += ";16L" if getattr(tags, "prefix", b"") == b"II" else ";16B"  # Pillow forgets the depth
            if mode[:-1] not in SPLIT:
                raise ValueError(f"16-bit channels that are stored apart, {image.mode}")
    mode = mode[:-1] + NATIVE if mode.endswith("N") else mode
    return mode if mode[:-1] in SPLIT else ""


def _as(tile: Any, layout: str) -> Any:
    """That part of a file, to be unpacked by this layout."""
    if tile.codec_name == "ppm":
        return tile._replace(codec_name="raw", args=(layout, 0, 1))
    return tile._replace(args=layout if isinstance(tile.args, str) else (layout, *tile.args[1:]))


def stated_bits(path: Path, format: str) -> int:
    """How many bits a JPEG 2000 or AVIF file says that its values have; 8 for what says nothing."""
    if format not in ("JPEG2000", "AVIF"):
        return 8
    with path.open("rb") as file:
        head = file.read(2**16)
    if (at := head.find(b"\xff\x4f\xff\x51")) >= 0 and len(head) > at + 42:
        return (head[at + 42] & 0x7F) + 1
    if (at := head.find(b"av1C")) >= 0 and len(head) > at + 6:
        return {0: 8, 2: 10}.get(head[at + 6] >> 5 & 3, 12)
    return 8
