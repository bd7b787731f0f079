"""Opening image files safely: ordinary files of known formats and sane sizes; what goes wrong, in words."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from rethaw.api import RethawError
from rethaw.files import shown
from rethaw.images.picture import UnreadableImage

# One by one, since Pillow would also open EPS (which runs Ghostscript), fonts, and nearly anything as TGA.
READ = ["PNG", "JPEG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "JPEG2000", "PPM"]
LIMIT = "RETHAW_MAX_PIXELS"
"""The environment variable that says how many pixels an image may declare; otherwise it is what Pillow allows."""
SMALL, DENSEST = 2**24, 10_000
"""An image beyond so many pixels must not declare more than so many for each byte of its file."""
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
AGAIN = "Save it again from an image program, or get another copy."


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """A file as Pillow opens it, before anything is decoded. Pipes and devices are never opened.

    Raises UnreadableImage for what is no ordinary file, and for sizes that are not sane.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        kind = KINDS.get(stat.S_IFMT(status.st_mode), "no ordinary file")
        raise UnreadableImage(f"{shown(path)} is {kind}, not an image file")
    if not status.st_size:
        raise UnreadableImage(f"{shown(path)} is empty", AGAIN)
    limit = allowed()
    with Image.open(path, formats=formats()) as image:
        check_size(path, image.size, status.st_size, limit)
        yield image


@cache
def formats() -> list[str]:
    """Those of `READ` that this Pillow was built with."""
    Image.init()
    return [name for name in READ if name in Image.OPEN]


def allowed() -> int | None:
    """The pixels that an image may declare, if RETHAW_MAX_PIXELS says so."""
    text = os.environ.get(LIMIT)
    if not text:
        return None
    if not text.isdecimal() or not int(text):
        raise RethawError(f"{LIMIT} is {shown(text)!r}, not a number of pixels", f"Such as {LIMIT}=500000000.")
    if Image.MAX_IMAGE_PIXELS is not None:
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, int(text))
    return int(text)


def check_size(path: Path, size: tuple[int, int], length: int, limit: int | None) -> None:
    """Refuses a size that an image declares: beyond the limit, or far more pixels than its file can tell of."""
    pixels, declared = size[0] * size[1], f"{shown(path)} declares {size[0]} × {size[1]} pixels"
    if limit is not None and pixels > limit:
        raise UnreadableImage(f"{declared}, more than {LIMIT} allows ({limit})", "Crop or shrink it first.")
    if limit is None and pixels > max(SMALL, DENSEST * length):
        raise UnreadableImage(
            f"{declared} in a file of {length} bytes, as no real picture does", f"To read it: {LIMIT}={pixels}"
        )


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turns whatever a decoder raises, which on a damaged file is nearly anything, into UnreadableImage."""
    try:
        yield
    except RethawError:
        raise
    except Exception as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: Exception) -> UnreadableImage:
    """What is wrong with a file, in words."""
    name = shown(path)
    match error:
        case FileNotFoundError():
            return UnreadableImage(f"{name} does not exist")
        case PermissionError():
            return UnreadableImage(f"{name} may not be read: permission denied")
        case UnidentifiedImageError() if path.suffix.lower() in (".heic", ".heif"):
            return UnreadableImage(f"{name} is an image of Apple's kind, HEIC", "Export it as JPEG, PNG or AVIF.")
        case UnidentifiedImageError():
            return UnreadableImage(f"{name} is no image that can be read", f"Formats: {', '.join(formats())}.")
        case Image.DecompressionBombError() | Image.DecompressionBombWarning():
            return UnreadableImage(f"{name} is too large: {error}", f"Crop or shrink it, or allow it: {LIMIT}=PIXELS.")
        case MemoryError():
            return UnreadableImage(f"{name} is too large: there is not enough memory", "Crop or shrink it first.")
        case OSError() if error.errno:
            return UnreadableImage(f"{name} cannot be read: {error.strerror}")
    return UnreadableImage(f"{name} is damaged: {str(error) or type(error).__name__}", AGAIN)
