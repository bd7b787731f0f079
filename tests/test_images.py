"""Reading and writing users' image files: every mode that Pillow knows, damaged files, exact round trips."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image, ImageCms
from torch import Tensor

from rethaw.api import RethawError
from rethaw.files import replacing
from rethaw.images import Picture, find_images, from_pil, quantise, read_image, write_image

Array = NDArray[Any]
RNG = np.random.default_rng(0)
files = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def small_pictures_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100_000)


def bytes8(*shape: int) -> Array:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def scaled(array: Array, half: float = 127.5) -> Tensor:
    """(H, W) or (H, W, C) to (C, H, W) in [-1, 1], as the documentation says."""
    return torch.from_numpy(np.atleast_3d(array).astype(np.float32)).permute(2, 0, 1) / half - 1


def saved(path: Path, array: Array, **options: Any) -> Path:
    Image.fromarray(array).save(path, **options)
    return path


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(path: Path, size: tuple[int, int], bits: int, colour: int, rows: list[bytes], key: bytes = b"") -> Path:
    """A PNG of any kind, with a transparent colour if there is a key."""
    header = struct.pack(">IIBBBBB", *size, bits, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    middle = chunk(b"tRNS", key) if key else b""
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + middle + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )
    return path


def tiff(path: Path, high: int, wide: int, bits: int, photometric: int, data: bytes) -> Path:
    """A little-endian TIFF of one uncompressed grey strip."""
    tags = [
        (256, wide),
        (257, high),
        (258, bits),
        (259, 1),
        (262, photometric),
        (273, 122),
        (277, 1),
        (278, high),
        (279, len(data)),
    ]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    path.write_bytes(b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + data)
    return path


def srgb() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def cmyk_profile() -> bytes:
    """The least profile that turns CMYK into Lab: black wherever there is key, otherwise paper white."""
    identity = bytes(range(256))
    white, black = bytes([255, 128, 128]), bytes([0, 128, 128])
    grid = b"".join(black if k else white for _ in range(8) for k in (0, 1))
    matrix = struct.pack(">9i", *(65536 * (i % 4 == 0) for i in range(9)))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + matrix + identity * 4 + grid + identity * 3
    d50 = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    start = 128 + 4 + 2 * 12
    body = d50 + table
    tags = struct.pack(">I", 2) + b"wtpt" + struct.pack(">II", start, len(d50))
    tags += b"A2B0" + struct.pack(">II", start + len(d50), len(table))
    head = struct.pack(">I", start + len(body)) + b"lcms" + bytes([2, 0x40, 0, 0]) + b"prtrCMYKLab "
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + tags + body


# --- modes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".png", ".tif", ".webp", ".bmp", ".ppm"])
def test_rgb_has_the_documented_values(tmp_path: Path, ending: str) -> None:
    array = bytes8(5, 4, 3)
    picture = read_image(saved(tmp_path / f"a{ending}", array, **({"lossless": True} if ending == ".webp" else {})))
    assert torch.equal(picture.pixels, scaled(array))
    assert picture.pixels.dtype == torch.float32 and picture.pixels.is_contiguous()
    assert (picture.alpha, picture.grey, picture.depth, picture.notes) == (None, False, 8, ())


def test_grey_is_replicated_and_remembered(tmp_path: Path) -> None:
    array = bytes8(3, 4)
    path = saved(tmp_path / "a.png", array)
    assert torch.equal(read_image(path).pixels, scaled(array).expand(3, -1, -1)) and read_image(path).grey
    one = read_image(path, channels=1)
    assert torch.equal(one.pixels, scaled(array)) and not one.grey


@pytest.mark.parametrize(("mode", "bands"), [("LA", 2), ("RGBA", 4)])
def test_alpha_is_kept_apart(tmp_path: Path, mode: str, bands: int) -> None:
    array = bytes8(3, 4, bands)
    picture = read_image(saved(tmp_path / "a.png", array))
    assert picture.alpha is not None and picture.grey == (mode == "LA")
    seen = torch.from_numpy(array[..., -1] >= 16)
    assert torch.equal(picture.pixels[:, seen], scaled(array[..., :-1]).expand(3, -1, -1)[:, seen])
    assert torch.equal(picture.alpha, torch.from_numpy(array[..., -1:].astype(np.float32)).permute(2, 0, 1) / 255)


def test_colour_becomes_grey_with_a_note(tmp_path: Path) -> None:
    array = bytes8(30, 40, 4) | np.array([0, 0, 0, 128], np.uint8)
    picture = read_image(saved(tmp_path / "a.png", array), channels=1)
    expected = np.asarray(Image.fromarray(array[..., :3]).convert("L"))
    assert torch.equal(picture.pixels, scaled(expected)) and picture.alpha is not None
    assert picture.notes == ("colour was converted to grey",) and not picture.grey


def test_palette(tmp_path: Path) -> None:
    image = Image.fromarray(bytes8(8, 8, 3)).quantize(16)
    image.save(tmp_path / "a.png")
    picture = read_image(tmp_path / "a.png")
    assert torch.equal(picture.pixels, scaled(np.asarray(image.convert("RGB")))) and picture.alpha is None
    image.save(tmp_path / "b.png", transparency=3)
    clear = read_image(tmp_path / "b.png").alpha
    assert clear is not None and torch.equal(clear[0] == 0, torch.from_numpy(np.asarray(image) == 3))


def test_one_bit(tmp_path: Path) -> None:
    array = bytes8(4, 9) > 127
    picture = read_image(saved(tmp_path / "a.png", array))
    assert torch.equal(picture.pixels, scaled(array * 255).expand(3, -1, -1)) and picture.grey


@pytest.mark.parametrize(("bits", "row"), [(1, 0b01000000), (2, 0b00011011), (4, 0x01)])
def test_transparent_grey_of_few_bits(tmp_path: Path, bits: int, row: int) -> None:
    picture = read_image(png(tmp_path / "a.png", (2, 1), bits, 0, [bytes([row])], key=b"\0\1"))
    assert picture.alpha is not None and picture.alpha.flatten().tolist() == [1, 0]


@pytest.mark.parametrize("ending", [".png", ".tif", ".pgm"])
def test_sixteen_bit_grey_has_full_depth(tmp_path: Path, ending: str) -> None:
    array = RNG.integers(0, 65536, (3, 4), dtype=np.uint16)
    picture = read_image(saved(tmp_path / f"a{ending}", array))
    assert torch.equal(picture.pixels, scaled(array, 32767.5).expand(3, -1, -1))
    assert (picture.depth, picture.grey, picture.notes) == (16, True, ())


def test_big_endian_and_32_bit_integers(tmp_path: Path) -> None:
    array = RNG.integers(0, 65536, (3, 4), dtype=np.uint16)
    Image.frombytes("I;16B", (4, 3), array.astype(">u2").tobytes()).save(tmp_path / "a.tif")
    saved(tmp_path / "b.tif", array.astype(np.int32))
    for name in "ab":
        assert torch.equal(read_image(tmp_path / f"{name}.tif", 1).pixels, scaled(array, 32767.5))
    with pytest.raises(RethawError, match="from -1 to 70000"):
        read_image(saved(tmp_path / "c.tif", np.array([[-1, 70000]], dtype=np.int32)))


def test_white_is_zero_and_twelve_bits(tmp_path: Path) -> None:
    array = RNG.integers(0, 65536, (3, 4), dtype=np.uint16)
    inverted = read_image(tiff(tmp_path / "a.tif", 3, 4, 16, 0, array.tobytes()), 1)
    assert torch.equal(inverted.pixels, scaled(65535 - array, 32767.5))
    twelve = read_image(tiff(tmp_path / "b.tif", 1, 2, 12, 1, b"\xff\xf0\x00"), 1)
    assert twelve.pixels.flatten().tolist() == [1, -1] and twelve.depth == 16


def test_floating_point(tmp_path: Path) -> None:
    array = RNG.random((3, 4), dtype=np.float32)
    picture = read_image(saved(tmp_path / "a.tif", array), 1)
    assert torch.equal(picture.pixels, torch.from_numpy(array)[None] * 2 - 1) and "0 to 1" in picture.notes[0]
    for bad in (255, np.nan):
        with pytest.raises(RethawError, match="whose meaning is unknown"):
            read_image(saved(tmp_path / "b.tif", np.array([[0, bad]], np.float32)))


def test_ycbcr_and_lab(tmp_path: Path) -> None:
    Image.new("YCbCr", (2, 2), (128, 128, 128)).save(tmp_path / "y.tif")
    Image.new("LAB", (2, 2), (136, 208, 195)).save(tmp_path / "l.tif")  # L 53, a 80, b 67: pure red
    if version("pillow") >= "13":  # an older one does not read what it has written there
        assert read_image(tmp_path / "y.tif").notes == ("YCbCr was converted to RGB",)
    red = read_image(tmp_path / "l.tif")
    assert red.notes == ("Lab was converted to RGB",)
    assert torch.allclose(red.pixels[:, 0, 0], torch.tensor([1.0, -1.0, -1.0]), atol=0.1)


@pytest.mark.parametrize("ending", [".jpg", ".tif"])
def test_cmyk(tmp_path: Path, ending: str) -> None:
    image = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    image.save(tmp_path / f"plain{ending}")
    image.save(tmp_path / f"icc{ending}", icc_profile=cmyk_profile())
    image.save(tmp_path / f"bad{ending}", icc_profile=b"nonsense")
    plain, icc, bad = (read_image(tmp_path / f"{name}{ending}") for name in ("plain", "icc", "bad"))
    assert plain.notes == ("CMYK was converted to RGB",) and plain.pixels[:, 0, 0].tolist() == [-1, 1, 1]
    assert icc.notes == ("CMYK was converted to RGB with its embedded profile",) and icc.pixels.min() > 0.95
    assert "does not work" in bad.notes[0] and torch.equal(bad.pixels, plain.pixels)


@pytest.mark.parametrize("ending", [".gif", ".png", ".webp", ".tif"])
def test_first_of_many_frames(tmp_path: Path, ending: str) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "lime", "blue")]
    frames[0].save(tmp_path / f"a{ending}", save_all=True, append_images=frames[1:], duration=100, lossless=True)
    picture = read_image(tmp_path / f"a{ending}")
    assert picture.notes == ("only the first of 3 frames is used",)
    assert picture.pixels[:, 1, 1].tolist() == [1, -1, -1]


@pytest.mark.parametrize("mode", ["RGB", "L", "I;16"])
def test_orientation_is_applied_and_dropped(tmp_path: Path, mode: str) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    image = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3)).convert(mode)
    image.save(tmp_path / "a.png", exif=exif)
    picture = read_image(tmp_path / "a.png", 1)
    assert picture.pixels.shape == (1, 3, 2) and picture.exif is not None
    write_image(tmp_path / "b.png", picture.pixels, picture)
    again = Image.open(tmp_path / "b.png")
    assert again.size == (2, 3) and dict(again.getexif()) == {0x010F: "Maker"}


def test_broken_exif_does_not_cost_the_picture(tmp_path: Path) -> None:
    array = bytes8(3, 4, 3)
    picture = read_image(saved(tmp_path / "a.png", array, exif=b"Exif\0\0garbage garbage"))
    assert torch.equal(picture.pixels, scaled(array)) and picture.notes == ("its EXIF data is broken and was ignored",)


def test_from_pil_leaves_its_image_alone() -> None:
    image = Image.fromarray(bytes8(3, 4))
    picture = from_pil(image)
    assert picture.pixels.shape == (3, 3, 4) and picture.grey and image.mode == "L"


# --- files that cannot be read ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.png", b"", "is empty"),
        ("a.png", b"hello", "no image that can be read"),
        ("a.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n", "no image that can be read"),
        ("a.png", None, "does not exist"),
        ("", None, "is a folder"),
    ],
)
def test_not_an_image(tmp_path: Path, name: str, content: bytes | None, reason: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RethawError, match=reason) as caught:
        read_image(path)
    assert str(path) in caught.value.message


@pytest.mark.parametrize("ending", [".png", ".jpg", ".tif", ".webp", ".gif", ".bmp"])
def test_truncated(tmp_path: Path, ending: str) -> None:
    whole = saved(tmp_path / f"a{ending}", bytes8(40, 40, 3)).read_bytes()
    (tmp_path / f"a{ending}").write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(RethawError, match=f"a{ending}"):
        read_image(tmp_path / f"a{ending}")


def test_sixteen_bit_bmp_is_no_deep_colour(tmp_path: Path) -> None:
    header = struct.pack("<2sIII", b"BM", 0, 0, 66) + struct.pack("<IiiHHIIiiII", 40, 1, 1, 1, 16, 3, 4, 0, 0, 0, 0)
    (tmp_path / "a.bmp").write_bytes(header + struct.pack("<3I", 0xF800, 0x07E0, 0x001F) + b"\x00\xf8\0\0")
    picture = read_image(tmp_path / "a.bmp")
    assert picture.pixels.flatten().tolist() == [1, -1, -1] and not picture.notes


def test_bomb_and_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "a.png", bytes8(40, 40))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(RethawError, match="too large"):
        read_image(path)

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Image, "open", refuse)
    with pytest.raises(RethawError, match="may not be read"):
        read_image(path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP", "JPEG2000"])
@settings(files, max_examples=40)
@given(flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=6))
def test_damaged_files_are_read_or_refused(tmp_path: Path, kind: str, flips: list[tuple[float, int]]) -> None:
    file = io.BytesIO()
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(file, kind)
    damaged = bytearray(file.getvalue())
    for where, mask in flips:
        damaged[int(where * len(damaged))] ^= mask
    (tmp_path / "a").write_bytes(damaged)
    try:
        picture = read_image(tmp_path / "a")
    except RethawError:
        return
    assert picture.pixels.shape[0] == 3 and picture.pixels.isfinite().all()


# --- writing ------------------------------------------------------------------------------------------------


def same(a: Picture, b: Picture) -> bool:
    alpha = a.alpha is b.alpha is None or (
        a.alpha is not None and b.alpha is not None and torch.equal(a.alpha, b.alpha)
    )
    return torch.equal(a.pixels, b.pixels) and alpha and (a.grey, a.depth) == (b.grey, b.depth)


@st.composite
def pixel_arrays(draw: st.DrawFn) -> Array:
    """L, LA, RGB, RGBA or 16-bit grey."""
    side = st.integers(1, 7)
    bands = draw(st.sampled_from([(), (2,), (3,), (4,)]))
    dtype = draw(st.sampled_from([np.uint8, np.uint16])) if not bands else np.uint8
    result: Array = draw(arrays(dtype, (draw(side), draw(side), *bands)))
    return result


@files
@given(array=pixel_arrays(), ending=st.sampled_from([".png", ".tif", ".TIFF"]), channels=st.sampled_from([1, 3]))
def test_round_trip(tmp_path: Path, array: Array, ending: str, channels: int) -> None:
    first = read_image(saved(tmp_path / "a.png", array), channels)
    write_image(tmp_path / f"b{ending}", first.pixels, first)
    assert same(read_image(tmp_path / f"b{ending}", channels), first)
    if channels == 3 or array.ndim == 2 or array.shape[2] == 2:
        assert np.array_equal(np.asarray(Image.open(tmp_path / f"b{ending}")), array)


@files
@given(array=pixel_arrays().filter(lambda a: a.dtype == np.uint8))
def test_round_trip_through_webp(tmp_path: Path, array: Array) -> None:
    first = read_image(saved(tmp_path / "a.png", array))
    write_image(tmp_path / "b.webp", first.pixels, first)
    again = read_image(tmp_path / "b.webp")
    assert torch.equal(again.pixels, first.pixels)
    assert first.alpha is None or again.alpha is None or torch.equal(again.alpha, first.alpha)


def test_out_of_range_is_clamped_and_rounded(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", torch.tensor([[[-3.0, 2.0, 0.4 / 127.5 - 1, 0.6 / 127.5 - 1]]]))
    assert np.asarray(Image.open(tmp_path / "a.png")).tolist() == [[0, 255, 0, 1]]


def test_restored_colour_of_a_grey_file_is_averaged(tmp_path: Path) -> None:
    like = read_image(saved(tmp_path / "a.png", bytes8(2, 2)))
    write_image(tmp_path / "b.png", torch.tensor([-1.0, 0.0, 1.0]).view(3, 1, 1).expand(3, 2, 2), like)
    assert Image.open(tmp_path / "b.png").mode == "L" and read_image(tmp_path / "b.png").pixels.abs().max() < 0.01


@pytest.mark.parametrize(("shape", "fits"), [((4, 4, 3), True), ((4, 4), False)])
def test_icc_profile_is_kept_where_it_fits(tmp_path: Path, shape: tuple[int, ...], fits: bool) -> None:
    like = read_image(saved(tmp_path / "a.png", bytes8(*shape), icc_profile=srgb()))
    write_image(tmp_path / "b.png", like.pixels, like)
    assert Image.open(tmp_path / "b.png").info.get("icc_profile") == (srgb() if fits else None)


def test_thumbnail_of_the_degraded_picture_is_dropped(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif.get_ifd(0x8769)[0x9003] = "2001:02:03 04:05:06"
    exif.get_ifd(1)[0x0201] = 1
    like = read_image(saved(tmp_path / "a.jpg", bytes8(8, 8, 3), exif=exif))
    write_image(tmp_path / "b.jpg", like.pixels, like)
    again = Image.open(tmp_path / "b.jpg").getexif()
    assert again.get_ifd(0x8769)[0x9003] == "2001:02:03 04:05:06" and not again.get_ifd(1)


@pytest.mark.parametrize(
    ("name", "pixels", "reason"),
    [
        ("a.xyz", torch.zeros(3, 2, 2), "ending"),
        ("a.png", torch.zeros(2, 2, 2), "shape"),
        ("a.png", torch.full((1, 2, 2), torch.nan), "not finite"),
        ("a.webp", torch.zeros(1, 1, 20000), "could not be written"),
    ],
)
def test_what_cannot_be_written(tmp_path: Path, name: str, pixels: Tensor, reason: str) -> None:
    with pytest.raises(RethawError, match=reason) as caught:
        write_image(tmp_path / name, pixels)
    assert str(tmp_path / name) in caught.value.message and not list(tmp_path.iterdir())


def test_folders_are_made_unless_a_file_is_in_the_way(tmp_path: Path) -> None:
    write_image(tmp_path / "new" / "deep" / "a.png", torch.zeros(1, 2, 2))
    assert (tmp_path / "new" / "deep" / "a.png").is_file()
    with pytest.raises(RethawError, match=r"could not be written: (Not a directory|File exists)"):
        write_image(tmp_path / "new" / "deep" / "a.png" / "b.png", torch.zeros(1, 2, 2))


def test_alpha_that_does_not_fit(tmp_path: Path) -> None:
    like = read_image(saved(tmp_path / "a.png", bytes8(3, 4, 4)))
    with pytest.raises(RethawError, match="cannot hold the transparency"):
        write_image(tmp_path / "b.jpg", like.pixels, like)
    with pytest.raises(RethawError, match="does not fit"):
        write_image(tmp_path / "b.png", torch.zeros(3, 8, 8), like)


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def fail(self: Image.Image, file: Any, *_: Any, **__: Any) -> None:
        file.write(b"half of it")
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Image.Image, "save", fail)
    yield


def test_failure_midway_leaves_the_old_file(tmp_path: Path, full_disk: None) -> None:
    (tmp_path / "a.png").write_bytes(b"old")
    with pytest.raises(RethawError, match="No space left"):
        write_image(tmp_path / "a.png", torch.zeros(1, 2, 2))
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"] and (tmp_path / "a.png").read_bytes() == b"old"


def test_an_old_file_is_replaced_in_one_go(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"old")
    os.link(tmp_path / "a.png", tmp_path / "witness")  # would change with the old file
    write_image(tmp_path / "a.png", torch.zeros(1, 2, 2))
    assert (tmp_path / "witness").read_bytes() == b"old" and read_image(tmp_path / "a.png").depth == 8
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "witness"]


def test_interruption_cleans_up_and_passes(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "a") as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_permissions_are_ordinary(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", torch.zeros(1, 2, 2))
    (tmp_path / "plain").touch()
    assert (tmp_path / "a.png").stat().st_mode == (tmp_path / "plain").stat().st_mode


# --- finding and rounding -----------------------------------------------------------------------------------


def test_find_images(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpg", "sub/c.webp", ".hidden.png", ".git/d.png", "notes.txt", "odd"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = [p.relative_to(tmp_path).as_posix() for p in find_images([tmp_path / "odd", tmp_path, tmp_path / "a.jpg"])]
    assert names == ["odd", "a.jpg", "b.PNG", "sub/c.webp"]


def test_find_images_refuses(tmp_path: Path) -> None:
    with pytest.raises(RethawError, match="gone\\.png does not exist"):
        find_images([tmp_path / "gone.png"])
    with pytest.raises(RethawError, match="has no image in it"):
        find_images([tmp_path])


@pytest.mark.parametrize("bits", [8, 16])
def test_quantise_is_the_grid_of_a_file(bits: int) -> None:
    top = 2**bits - 1
    grid = torch.arange(top + 1, dtype=torch.float32) / (top / 2) - 1
    assert torch.equal(quantise(grid, bits), grid)
    noisy = grid + (torch.rand(top + 1, generator=torch.Generator().manual_seed(0)) - 0.5) * 0.9 / (top / 2)
    assert torch.equal(quantise(noisy, bits), grid)
    assert quantise(torch.tensor([3.0]), bits).item() == pytest.approx(3, abs=1 / top)
