"""Users' image files: reading them with all the precision there is, and writing them without losing any.

8 bits map by v / 127.5 - 1 and 16 by v / 32767.5 - 1, which rounding inverts exactly. What a reading loses or
leaves out is said in `Picture.notes`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from torch import Tensor

from rethaw.api import RethawError
from rethaw.files import replacing

__all__ = ["SUFFIXES", "Picture", "find_images", "from_pil", "quantise", "read_image", "write_image"]

SUFFIXES = frozenset(
    {
        ".apng",
        ".avif",
        ".bmp",
        ".gif",
        ".jfif",
        ".jp2",
        ".jpeg",
        ".jpg",
        ".mpo",
        ".pbm",
        ".pfm",
        ".pgm",
        ".png",
        ".pnm",
        ".ppm",
        ".tif",
        ".tiff",
        ".webp",
    }
)
# One by one, since Pillow would also open EPS (which runs Ghostscript), fonts, and nearly anything as TGA.
_READ = ["PNG", "JPEG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "JPEG2000", "PPM"]
_WRITE: dict[str, tuple[str, dict[str, Any]]] = {
    ".png": ("PNG", {}),
    ".tif": ("TIFF", {"compression": "tiff_deflate"}),
    ".tiff": ("TIFF", {"compression": "tiff_deflate"}),
    ".webp": ("WEBP", {"lossless": True, "exact": True}),  # exact: also the colours under full transparency
    ".jpg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": 0}),
}
_NO_ALPHA, _DEEP = (".jpg", ".jpeg"), (".png", ".tif", ".tiff")


@dataclass(frozen=True)
class Picture:
    """An image as it was read.

    pixels: (C, H, W), float32 in [-1, 1], C = 1 or 3. alpha: (1, H, W) in [0, 1], None if the file has none.
    grey: the file is grey though three channels were asked for; `write_image` then writes grey again.
    depth: the bits that each value of `pixels` was read with, 8 or 16. notes: sentences for the user.
    exif, icc_profile: None if absent; the orientation has been applied and is no longer in `exif`.
    """

    pixels: Tensor
    path: Path
    alpha: Tensor | None = None
    grey: bool = False
    depth: int = 8
    notes: tuple[str, ...] = ()
    exif: bytes | None = None
    icc_profile: bytes | None = None


def quantise(x: Tensor, bits: int) -> Tensor:
    """Rounds values on the [-1, 1] scale to those that a file of so many bits can hold, without clamping."""
    half = (2**bits - 1) / 2
    rounded: Tensor = ((x + 1) * half).round() / half - 1
    return rounded


# --- finding -----------------------------------------------------------------------------------------------


def find_images(paths: Sequence[Path]) -> list[Path]:
    """Files as they are given, folders searched recursively for `SUFFIXES` in sorted order; each file once.

    Hidden files and folders are passed over, links to folders are not followed. Raises RethawError for a path
    that does not exist, a folder that may not be read, and a folder without any image.
    """
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        try:
            path.stat()
            found |= dict.fromkeys(_search(path) if path.is_dir() else [path])
        except OSError as error:
            missing = isinstance(error, FileNotFoundError)
            reason = "does not exist" if missing else f"cannot be read: {error.strerror}"
            hint = "Name image files, or folders of them."
            raise RethawError(f"{error.filename or path} {reason}", hint) from error
    return list(found)


def _search(folder: Path) -> list[Path]:
    def fail(error: OSError) -> None:
        raise error

    found: list[Path] = []
    for place, folders, files in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        visible = [Path(place, name) for name in files if not name.startswith(".")]
        found += [path for path in visible if path.suffix.lower() in SUFFIXES]
    if not found:
        raise RethawError(f"{folder} has no image in it", f"Endings that count: {' '.join(sorted(SUFFIXES))}")
    return sorted(found)


# --- reading -----------------------------------------------------------------------------------------------


def read_image(path: Path, channels: int = 3) -> Picture:
    """Reads an image file, upright, as `channels` (1 or 3) channels; see `Picture`.

    Raises RethawError for a file that is missing, no image, damaged, too large to be safe, or whose values
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
        raise RethawError(
            f"{path} has floating-point values from {low:g} to {high:g}, whose meaning is unknown",
            "Scale its values to 0 (black) … 1 (white).",
        )
    notes.append("floating-point values were taken as 0 to 1; 16 bits of them are kept in writing")
    return image


def _sixteen(image: Image.Image, path: Path, twelve: bool, inverted: bool, notes: list[str]) -> Image.Image:
    """Any integer image of more than 8 bits as I;16."""
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise RethawError(
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
    """Turns whatever a decoder raises, which on a damaged file is nearly anything, into RethawError."""
    try:
        yield
    except RethawError:
        raise
    except Exception as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> RethawError:
    """What is wrong with a file, in words."""
    again = "Save it again from an image program, or get another copy."
    match error:
        case FileNotFoundError():
            return RethawError(f"{path} does not exist")
        case IsADirectoryError():
            return RethawError(f"{path} is a folder, not an image file")
        case PermissionError():
            return RethawError(f"{path} may not be read: permission denied")
        case UnidentifiedImageError() if path.stat().st_size == 0:
            return RethawError(f"{path} is empty", again)
        case UnidentifiedImageError():
            return RethawError(f"{path} is no image that can be read", f"Formats: {', '.join(_formats())}.")
        case Image.DecompressionBombError() | Image.DecompressionBombWarning() | MemoryError():
            return RethawError(f"{path} is too large: {error or 'out of memory'}", "Crop or shrink it first.")
    return RethawError(f"{path} is damaged: {str(error) or type(error).__name__}", again)


# --- writing -----------------------------------------------------------------------------------------------


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
