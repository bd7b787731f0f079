"""Writing grey with alpha and colour at 16 bits, PNG and TIFF, for which Pillow has no kind of image.

Pillow writes the metadata; the pixels are packed here.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from PIL.TiffTags import LONG, TAGS_V2_GROUPS

Values = NDArray[np.uint16]
ROWS = 64
MODES = {2: ("LA", 4), 3: ("RGB", 2), 4: ("RGBA", 6)}
"""By the number of channels, Pillow's mode and the colour type of PNG."""


def write_png(file: IO[bytes], values: Values, options: Mapping[str, Any]) -> None:
    """Writes (H, W, C), C = 2 to 4, the last of 2 and 4 alpha: https://www.w3.org/TR/png-3/."""
    high, wide, channels = values.shape
    mode, colour_type = MODES[channels]
    frame = BytesIO()
    Image.new(mode, (1, 1)).save(frame, "PNG", **options)
    file.write(frame.getvalue()[:8])
    for name, data in _chunks(frame.getvalue()):
        if name == b"IHDR":
            _write_chunk(file, name, struct.pack(">IIBBBBB", wide, high, 16, colour_type, 0, 0, 0))
        elif name == b"IDAT":
            for part in _compressed(values):
                _write_chunk(file, name, part)
        else:
            _write_chunk(file, name, data)


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 8
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        yield png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        at += 12 + length


def _write_chunk(file: IO[bytes], name: bytes, data: bytes) -> None:
    file.write(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)))


def _compressed(values: Values) -> Iterator[bytes]:
    """The rows, filtered and compressed, some at a time."""
    packer, above = zlib.compressobj(1), None
    for first in range(0, len(values), ROWS):
        rows = values[first : first + ROWS].astype(">u2").reshape(len(values[first : first + ROWS]), -1).view(np.uint8)
        above = np.zeros_like(rows[:1]) if above is None else above
        if part := packer.compress(_filtered(rows, above, 2 * values.shape[2])):
            yield part
        above = rows[-1:]
    yield packer.flush()


def _filtered(rows: NDArray[np.uint8], above: NDArray[np.uint8], pixel: int) -> bytes:
    """Rows (N, bytes) as differences from the left, from above or from both, whichever are smallest, row by row."""
    left = np.pad(rows[:, :-pixel], ((0, 0), (pixel, 0)))
    up = np.concatenate([above, rows[:-1]])
    both = ((left.astype(np.uint16) + up) >> 1).astype(np.uint8)
    candidates = np.stack([rows - left, rows - up, rows - both])  # filters 1, 2 and 3, modulo 256
    best = np.abs(candidates.view(np.int8).astype(np.int16)).sum(2).argmin(0)
    chosen = candidates[best, np.arange(len(rows))]
    return np.concatenate([best[:, None].astype(np.uint8) + 1, chosen], 1).tobytes()


def write_tiff(file: IO[bytes], values: Values, options: Mapping[str, Any]) -> None:
    """The same as TIFF 6.0: one strip, horizontal differences, deflate. Grey becomes colour, for Pillow's sake."""
    values = values[..., [0, 0, 0, 1]] if values.shape[2] == 2 else values
    high, wide, channels = values.shape
    differences = np.diff(values.astype("<u2"), axis=1, prepend=np.uint16(0))
    data = zlib.compress(differences.astype("<u2").tobytes(), 1)
    directory = ImageFileDirectory_v2()
    exif = Image.Exif()
    exif.load(options.get("exif", b""))
    for tag in exif:
        directory[tag] = exif.get_ifd(tag) if tag in TAGS_V2_GROUPS else exif[tag]
    tags: dict[int, Any] = {256: wide, 257: high, 258: (16,) * channels, 259: 8, 262: 2}
    tags |= {273: 0, 277: channels, 278: high, 279: len(data), 284: 1, 317: 2}
    if channels == 4:
        tags[338] = 2  # alpha, not multiplied into the colours
    if dpi := options.get("dpi"):
        tags |= {282: dpi[0], 283: dpi[1], 296: 2}
    if profile := options.get("icc_profile"):
        tags[34675] = profile
    for tag, value in tags.items():
        directory[tag] = value
    directory.tagtype[273] = LONG  # Pillow adds where the data begins
    directory.save(file)
    file.write(data)
