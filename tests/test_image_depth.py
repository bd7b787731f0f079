"""16-bit colour, greys stored as colour, transparency and metadata: what a file has comes back in the file written."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin
from torch import Tensor
from torchvision.io import ImageReadMode, decode_png

from rethaw.images import from_pil, read_image, to_picture, write_image
from rethaw.images.deep_read import stated_bits
from rethaw.images.transparency import HIDDEN, filled
from tests.test_images import png, scaled, srgb

Array = NDArray[Any]
RNG = np.random.default_rng(1)
pytestmark = pytest.mark.filterwarnings("ignore:.*TorchVision:DeprecationWarning")
files = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
COLOUR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}


def words(*shape: int) -> Array:
    return RNG.integers(0, 65536, shape, dtype=np.uint16)


def deep_png(path: Path, array: Array, key: bytes = b"") -> Path:
    rows = [row.astype(">u2").tobytes() for row in array]
    return png(path, array.shape[1::-1], 16, COLOUR_TYPE[array.shape[2]], rows, key)


def seen_png(path: Path) -> Array:
    """(H, W, C) of a PNG file as libpng decodes it."""
    data = torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8)
    return decode_png(data, ImageReadMode.UNCHANGED).permute(1, 2, 0).numpy()


def seen_tiff(path: Path) -> Array:
    """The same of a TIFF file; grey with alpha is stored as colour with alpha."""
    array: Array = tifffile.imread(path)
    return array[..., None] if array.ndim == 2 else array


def fits(written: Array, array: Array) -> bool:
    return np.array_equal(written, array if written.shape == array.shape else array[..., [0, 0, 0, 1]])


def opaque(array: Array) -> Array:
    """The same without hidden pixels, whose values are not those of `Picture.pixels`."""
    if array.shape[2] in (2, 4):
        array[..., -1] |= 1 << (8 * array.itemsize - 1)
    return array


# --- 16 bits: reading ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_png_of_16_bits(tmp_path: Path, channels: int) -> None:
    array = opaque(words(5, 7, channels))
    picture = read_image(deep_png(tmp_path / "a.png", array))
    colours, alpha = (array[..., :-1], array[..., -1:]) if channels in (2, 4) else (array, None)
    assert torch.equal(picture.pixels, scaled(colours, 32767.5).expand(3, -1, -1))
    assert (picture.depth, picture.grey, picture.notes) == (16, channels == 2, ())
    if alpha is not None:
        assert picture.alpha is not None and torch.equal(picture.alpha, (scaled(alpha, 32767.5) + 1) / 2)


TIFFS: dict[str, dict[str, Any]] = {
    "plain": {},
    "big-endian": {"byteorder": ">"},
    "deflate": {"compression": "zlib"},
    "deflate, big-endian": {"compression": "zlib", "byteorder": ">"},
    "predictor": {"compression": "zlib", "predictor": True},
    "tiles": {"tile": (16, 16)},
    "tiles, deflate": {"tile": (16, 16), "compression": "zlib"},
    "apart": {"planarconfig": "separate"},
    "apart, big-endian": {"planarconfig": "separate", "byteorder": ">"},
    "apart, deflate": {"planarconfig": "separate", "compression": "zlib"},
    "strips": {"rowsperstrip": 3},
    "bigtiff": {"bigtiff": True},
}


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("kind", TIFFS)
def test_tiff_of_16_bits(tmp_path: Path, kind: str, channels: int) -> None:
    array = opaque(words(19, 37, channels))
    layout = array.transpose(2, 0, 1) if "apart" in kind else array
    extra = {"extrasamples": ["unassalpha"]} if channels == 4 else {}
    tifffile.imwrite(tmp_path / "a.tif", layout, photometric="rgb", **extra, **TIFFS[kind])
    picture = read_image(tmp_path / "a.tif")
    assert (picture.alpha is not None) == (channels == 4)
    if kind == "apart, deflate":
        assert picture.notes == ("16-bit colour was read at 8 bits, all that Pillow can",)
        assert torch.equal(picture.pixels, scaled(array[..., :3] >> 8))
        return
    assert picture.depth == 16 and not picture.notes
    assert torch.equal(picture.pixels, scaled(array[..., :3], 32767.5))


@pytest.mark.parametrize("top", [256, 1023, 4095, 65535])
def test_ppm_of_more_than_8_bits(tmp_path: Path, top: int) -> None:
    array = RNG.integers(0, top + 1, (3, 4, 3), dtype=np.uint16)
    array[0, 0] = 0, top // 2, top
    (tmp_path / "a.ppm").write_bytes(b"P6 4 3 %d\n" % top + array.astype(">u2").tobytes())
    picture = read_image(tmp_path / "a.ppm")
    expected = torch.from_numpy(array.astype(np.float64) / top * 2 - 1).permute(2, 0, 1)
    assert picture.depth == 16 and not picture.notes
    assert (picture.pixels - expected).abs().max() <= (1.01 / 65535 if top < 65535 else 1e-6)


def test_transparent_values_of_16_bits(tmp_path: Path) -> None:
    """The one value, or colour, that a file names as transparent; its neighbours differ in the last bit only."""
    grey = np.array([[[258], [259]]], np.uint16)
    colour = np.array([[[1, 2, 258], [1, 2, 259]]], np.uint16)
    for array in (grey, colour):
        key = array[0, 0].astype(">u2").tobytes()
        picture = read_image(deep_png(tmp_path / "a.png", array, key))
        assert picture.alpha is not None and picture.alpha.flatten().tolist() == [0, 1] and picture.depth == 16


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_16_bits(tmp_path: Path, orientation: int) -> None:
    array = words(3, 5, 3)
    exif = Image.Exif()
    exif[0x0112] = orientation
    plain = deep_png(tmp_path / "a.png", array).read_bytes()
    block = b"eXIf" + exif.tobytes()[6:]
    chunk = struct.pack(">I", len(block) - 4) + block + struct.pack(">I", zlib.crc32(block))
    (tmp_path / "a.png").write_bytes(plain[:33] + chunk + plain[33:])
    turned = {1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud}
    turned |= {5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a, -1)}
    turned |= {7: lambda a: np.rot90(a, 2).swapaxes(0, 1), 8: np.rot90}
    assert torch.equal(read_image(tmp_path / "a.png").pixels, scaled(turned[orientation](array).copy(), 32767.5))


def test_what_is_read_at_8_bits_says_so(tmp_path: Path) -> None:
    (tmp_path / "plain.ppm").write_bytes(b"P3 1 1 65535\n258 32832 65534\n")
    cmyk = RNG.integers(0, 65536, (4, 4, 4), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "cmyk.tif", cmyk, photometric="separated")
    for name in ("plain.ppm", "cmyk.tif"):
        assert any("at 8 bits" in note for note in read_image(tmp_path / name).notes), name
    deep = deep_png(tmp_path / "a.png", words(3, 4, 3))
    assert "16-bit colour was read at 8 bits" in from_pil(Image.open(deep)).notes[0]


def test_stated_bits_of_formats_that_are_read_at_8(tmp_path: Path) -> None:
    """JPEG 2000: Ssiz of the first component, ISO 15444-1 A.5.1. AVIF: high_bitdepth and twelve_bit of av1C."""
    colours = Image.fromarray(words(16, 16, 3).astype(np.uint8))
    colours.save(tmp_path / "a.jp2")
    colours.save(tmp_path / "a.avif")
    for name, mark, at, patches in (
        ("a.jp2", b"\xff\x4f\xff\x51", 42, {7: 8, 11: 12, 15: 16, 0x8B: 12}),
        ("a.avif", b"av1C", 6, {0x0C: 8, 0x4C: 10, 0x6C: 12}),
    ):
        data = bytearray((tmp_path / name).read_bytes())
        kind = Image.open(tmp_path / name).format
        for byte, bits in patches.items():
            data[data.index(mark) + at] = byte
            (tmp_path / name).write_bytes(data)
            assert stated_bits(tmp_path / name, str(kind)) == bits
    assert read_image(tmp_path / "a.jp2").notes == ("its 12 bits were read at 8, all that Pillow can",)


# --- 16 bits: writing ----------------------------------------------------------------------------------------

SEEN = {".png": seen_png, ".tif": seen_tiff}


@st.composite
def deep_arrays(draw: st.DrawFn) -> Array:
    shape = draw(st.integers(1, 9)), draw(st.integers(1, 9)), draw(st.integers(1, 4))
    result: Array = draw(arrays(np.uint16, shape))
    return result


@files
@given(array=deep_arrays(), ending=st.sampled_from([".png", ".tif"]), channels=st.sampled_from([1, 3]))
def test_16_bits_come_back(tmp_path: Path, array: Array, ending: str, channels: int) -> None:
    first = read_image(deep_png(tmp_path / "a.png", array), channels)
    write_image(tmp_path / f"b{ending}", first.pixels, first)
    if channels == 3 or array.shape[2] < 3:
        assert fits(SEEN[ending](tmp_path / f"b{ending}"), array)
    again = read_image(tmp_path / f"b{ending}", channels)
    assert torch.equal(again.pixels, first.pixels) and again.depth == 16


@pytest.mark.parametrize("ending", [".png", ".tif"])
@pytest.mark.parametrize("shape", [(130, 3, 3), (64, 70, 4), (65, 1, 2), (1, 200, 3)])
def test_many_rows_smooth_and_noisy(tmp_path: Path, shape: tuple[int, int, int], ending: str) -> None:
    ramp = np.linspace(0, 65535, int(np.prod(shape))).astype(np.uint16).reshape(shape)
    for array in (opaque(words(*shape)), opaque(ramp)):
        first = read_image(deep_png(tmp_path / "a.png", array))
        write_image(tmp_path / f"b{ending}", first.pixels, first)
        assert fits(SEEN[ending](tmp_path / f"b{ending}"), array)
        high = np.asarray(Image.open(tmp_path / f"b{ending}").convert("RGB"))  # and as Pillow sees it
        assert shape[2] == 2 or np.array_equal(high, array[..., :3] >> 8)
    assert (tmp_path / f"b{ending}").stat().st_size < 0.8 * ramp.nbytes + 500


def test_other_endings_hold_8_bits(tmp_path: Path) -> None:
    picture = read_image(deep_png(tmp_path / "a.png", words(4, 4, 3)))
    for ending in (".webp", ".jpg"):
        write_image(tmp_path / f"b{ending}", picture.pixels, picture)
        assert read_image(tmp_path / f"b{ending}").depth == 8
    assert torch.equal(read_image(tmp_path / "b.webp").pixels, ((picture.pixels + 1) * 127.5).round() / 127.5 - 1)


# --- greys that are stored as colour -------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("ending", [".png", ".tif", ".webp", ".bmp", ".jpg", "16.png"])
def test_grey_that_is_stored_as_rgb(tmp_path: Path, ending: str, channels: int) -> None:
    grey = np.repeat(words(8, 8, 1) if "16" in ending else words(8, 8, 1) >> 8, 3, 2)
    path = tmp_path / f"a{ending}"
    if "16" in ending:
        deep_png(path, grey)
    else:
        Image.fromarray(grey.astype(np.uint8)).save(path, **({"lossless": True} if ending == ".webp" else {}))
    picture = read_image(path, channels)
    assert picture.grey == (channels == 3) and picture.rgb and not picture.notes
    tinted = picture.pixels + torch.tensor([0.2, -0.1, -0.1])[:channels, None, None] * (channels == 3)
    write_image(tmp_path / "b.png", tinted, picture)
    written = seen_png(tmp_path / "b.png")
    assert written.shape == (8, 8, 3) and (written == written[..., :1]).all()
    if ending != ".jpg":
        assert np.abs(written.astype(int) - grey).max() <= 1


def test_one_coloured_pixel_is_colour(tmp_path: Path) -> None:
    for y, x in ((0, 0), (16, 16), (33, 47)):
        array = np.full((34, 48, 3), 128, np.uint8)
        array[y, x, 1] = 129
        Image.fromarray(array).save(tmp_path / "a.png")
        assert not read_image(tmp_path / "a.png").grey


def test_profile_of_a_grey_stored_as_rgb_stays(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), "grey").save(tmp_path / "a.png", icc_profile=srgb())
    picture = read_image(tmp_path / "a.png")
    write_image(tmp_path / "b.png", picture.pixels, picture)
    assert picture.grey and Image.open(tmp_path / "b.png").info["icc_profile"] == srgb()


# --- hidden colours ------------------------------------------------------------------------------------------


def hidden_variants(channels: int, dtype: type[np.unsignedinteger[Any]], faint: float) -> list[Array]:
    """Pictures that look alike: a disc in the middle of hidden pixels with black, white, noise or grey in them."""
    top = np.iinfo(dtype).max
    y, x = np.mgrid[:48, :64]
    seen = (y - 20) ** 2 + (x - 30) ** 2 < 300
    visible = (RNG.random((48, 64, channels - 1)) * top).astype(dtype)
    alpha = np.where(seen, top, int(faint * top)).astype(dtype)
    fills = [np.zeros_like(visible), np.full_like(visible, top), RNG.permuted(visible, axis=0), visible * 0 + top // 2]
    return [np.dstack([np.where(seen[..., None], visible, fill), alpha]) for fill in fills]


def save_array(path: Path, array: Array) -> Path:
    if array.dtype == np.uint16:
        return deep_png(path, array)
    Image.fromarray(array).save(path)
    return path


@pytest.mark.parametrize("faint", [0.0, 0.5 * HIDDEN])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [2, 4])
@pytest.mark.parametrize("asked", [1, 3])
def test_hidden_colours_are_never_seen(
    tmp_path: Path, asked: int, channels: int, dtype: type[np.unsignedinteger[Any]], faint: float
) -> None:
    variants = hidden_variants(channels, dtype, faint)
    pictures = [read_image(save_array(tmp_path / f"{i}.png", array), asked) for i, array in enumerate(variants)]
    for picture, array in zip(pictures, variants, strict=True):
        assert torch.equal(picture.pixels, pictures[0].pixels)
        write_image(tmp_path / "b.png", picture.pixels, picture)
        if asked == 3 or channels == 2:
            assert np.array_equal(seen_png(tmp_path / "b.png"), array)


def test_restoring_does_not_show_in_hidden_pixels(tmp_path: Path) -> None:
    array = hidden_variants(4, np.uint8, 0)[2]
    picture = read_image(save_array(tmp_path / "a.png", array))
    write_image(tmp_path / "b.png", -picture.pixels, picture)
    written, hidden = seen_png(tmp_path / "b.png"), array[..., 3] == 0
    assert np.array_equal(written[hidden], array[hidden])
    assert np.array_equal(written[~hidden][:, :3], 255 - array[~hidden][:, :3])


def test_hidden_pixels_go_on_from_their_neighbours() -> None:
    x = torch.linspace(-1, 1, 40).expand(3, 30, 40)
    seen = torch.zeros(30, 40, dtype=torch.bool)
    seen[:, :15] = seen[:, 25:] = True
    found = filled(torch.where(seen, x, 9), seen)
    assert torch.equal(found[:, seen], x[:, seen]) and (found - x).abs().max() < 0.4
    assert (found.diff(dim=2).abs().max() < 0.5) and found.abs().max() <= 1
    assert torch.equal(filled(x, ~seen & seen), torch.zeros_like(x))


@given(seen=arrays(np.bool_, st.tuples(st.integers(1, 17), st.integers(1, 17))), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_filling_stays_within_what_is_seen(seen: Array, seed: int) -> None:
    mask = torch.from_numpy(seen)
    x = torch.rand(1, *mask.shape, generator=torch.Generator().manual_seed(seed))
    found = filled(torch.where(mask, x, torch.inf), mask)
    assert torch.equal(found[:, mask], x[:, mask]) and found.isfinite().all()
    if mask.any():
        assert x[:, mask].min() - 1e-5 <= found.min() and found.max() <= x[:, mask].max() + 1e-5


def test_a_grey_picture_with_coloured_hidden_pixels_is_grey(tmp_path: Path) -> None:
    array = np.full((9, 9, 4), 77, np.uint8)
    array[..., 3], array[2:4, 2:4] = 255, (255, 0, 9, 0)
    picture = read_image(save_array(tmp_path / "a.png", array))
    assert picture.grey and (picture.pixels - picture.pixels[0, 0, 0]).abs().max() < 1e-6
    write_image(tmp_path / "b.png", picture.pixels, picture)
    assert np.array_equal(seen_png(tmp_path / "b.png"), array)


def test_a_picture_with_another_alpha_is_written(tmp_path: Path) -> None:
    """In Python anything may be changed before writing."""
    picture = to_picture(hidden_variants(4, np.uint8, 0)[1], 3)
    assert picture.hidden is not None and picture.alpha is not None
    seen = replace(picture, alpha=torch.ones_like(picture.alpha))
    write_image(tmp_path / "b.png", seen.pixels, seen)
    written = read_image(tmp_path / "b.png")
    assert (written.pixels - picture.pixels).abs().max() < 0.005


# --- metadata ------------------------------------------------------------------------------------------------

XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><title>caf\xc3\xa9</title></x:xmpmeta>"


def with_metadata(path: Path, deep: bool = False) -> Path:
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", XMP.decode())
    info.add(b"gAMA", struct.pack(">I", 100_000))
    info.add(b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000))
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    Image.fromarray(words(4, 4, 3).astype(np.uint8)).save(path, pnginfo=info, exif=exif, dpi=(300, 150))
    return path


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("ending", [".png", ".tif", ".jpg", ".webp"])
def test_resolution_gamma_xmp_and_exif_stay(tmp_path: Path, ending: str, deep: bool) -> None:
    picture = read_image(with_metadata(tmp_path / "a.png"))
    picture = replace(picture, depth=16 if deep else 8)
    write_image(tmp_path / f"b{ending}", picture.pixels, picture)
    written = Image.open(tmp_path / f"b{ending}")
    written.load()
    assert written.info["xmp"].rstrip(b"\0") == XMP
    assert written.getexif()[0x010F] == "Maker"
    if ending != ".webp":
        assert [round(float(v)) for v in written.info["dpi"]] == [300, 150]
    if ending == ".png":
        assert written.info["gamma"] == 1.0 and written.info["chromaticity"][0] == 0.3127
        again = read_image(tmp_path / "b.png")
        assert (again.dpi, again.xmp, again.png, again.exif) == (picture.dpi, picture.xmp, picture.png, picture.exif)
    assert torch.equal(read_image(tmp_path / f"b{ending}").pixels, picture.pixels) or ending == ".jpg"


def test_srgb_stays(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add(b"sRGB", b"\x01")
    Image.new("RGB", (2, 2), "red").save(tmp_path / "a.png", pnginfo=info)
    picture = read_image(tmp_path / "a.png")
    write_image(tmp_path / "b.png", picture.pixels, picture)
    assert Image.open(tmp_path / "b.png").info["srgb"] == 1


def test_files_without_metadata_get_none(tmp_path: Path) -> None:
    for ending in (".png", ".tif", ".jpg", ".webp", ".bmp", ".gif"):
        Image.new("RGB", (2, 2), "red").save(tmp_path / f"a{ending}")
        picture = read_image(tmp_path / f"a{ending}")
        assert (picture.exif, picture.xmp, picture.png, picture.icc_profile) == (None, None, (), None), ending
        assert picture.dpi is None or ending == ".bmp"


@pytest.mark.parametrize("dpi", [(0, 0), (1, 1), (float("inf"), 72), ("a", 3), (72,), None, 300])
def test_nonsense_resolution_is_left_out(tmp_path: Path, dpi: Any) -> None:
    image = Image.new("RGB", (2, 2), "red")
    image.info["dpi"] = dpi
    assert from_pil(image).dpi is None


def test_blocks_that_jpeg_cannot_hold_are_left_out(tmp_path: Path) -> None:
    picture = read_image(with_metadata(tmp_path / "a.png"))
    large = replace(picture, xmp=b"x" * 70_000, exif=b"Exif\0\0" + b"x" * 70_000)
    write_image(tmp_path / "b.jpg", large.pixels, large)
    assert "xmp" not in Image.open(tmp_path / "b.jpg").info


# --- arrays --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_an_array_is_read_as_its_file_is(tmp_path: Path, dtype: Any, channels: int) -> None:
    whole = opaque(words(6, 5, channels) if dtype != np.uint8 else words(6, 5, channels).astype(np.uint8))
    array = whole if dtype in (np.uint8, np.uint16) else (whole / 65535).astype(dtype)
    before = array.copy()
    found = to_picture(array, 3)
    if dtype == np.uint8:
        Image.fromarray(whole.squeeze()).save(tmp_path / "a.png")
    else:
        deep_png(tmp_path / "a.png", whole)
    file = read_image(tmp_path / "a.png", 3)
    assert torch.allclose(found.pixels, file.pixels, atol=1e-6) and np.array_equal(array, before)
    assert found.depth == (16 if dtype == np.uint16 else 8)
    assert _same_alpha(found.alpha, file.alpha)


def _same_alpha(a: Tensor | None, b: Tensor | None) -> bool:
    return a is b is None or (a is not None and b is not None and torch.allclose(a, b))
