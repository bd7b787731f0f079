"""Files that must not stop the others: pipes, loops of links, bombs, too little memory; what a folder leaves out."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rethaw.api import RethawError
from rethaw.images import Found, UnreadableImage, find_images, read_image, read_mask, search_images, write_image
from rethaw.images.find import SUFFIXES


@pytest.fixture(autouse=True)
def half_a_minute() -> Iterator[None]:
    """Whatever waits for a pipe or goes round in links fails."""
    signal.alarm(30)
    yield
    signal.alarm(0)


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (2, 2), "red").save(path, "PNG")
    return path


def below(root: Path, found: Found) -> list[str]:
    return [path.relative_to(root).as_posix() for path in found.files]


# --- what is no file -----------------------------------------------------------------------------------------


def special(folder: Path) -> dict[str, Path]:
    """One of each kind, and links to them."""
    os.mkfifo(folder / "pipe.png")
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(folder)  # the name of a socket must be short
        server.bind("socket.png")
        os.chdir(here)
    targets = {
        "nowhere": "gone.png",
        "self": "self.png",
        "null": "/dev/null",
        "zero": "/dev/zero",
        "piped": "pipe.png",
        "one": "two.png",
        "two": "one.png",
    }
    for name, target in targets.items():
        (folder / f"{name}.png").symlink_to(target)
    return {path.stem: path for path in folder.iterdir()}


@pytest.mark.parametrize("read", [read_image, read_mask])
def test_what_is_no_file_is_never_opened(tmp_path: Path, read: object) -> None:
    reasons = {"pipe": "is a named pipe", "piped": "is a named pipe", "socket": "is a socket", "null": "is a device"}
    reasons |= {"zero": "is a device", "nowhere": "does not exist"}
    for name, path in special(tmp_path).items():
        with pytest.raises(UnreadableImage, match=reasons.get(name, "Too many levels of symbolic links")):
            read(path)  # type: ignore[operator]


def test_a_folder_passes_over_what_is_no_file(tmp_path: Path) -> None:
    special(tmp_path)
    picture(tmp_path / "a.png")
    found = search_images([tmp_path])
    assert below(tmp_path, found) == ["a.png"]
    assert found.passed_over == {"link that leads nowhere": 4, "pipe, socket or device": 5}


@pytest.mark.parametrize("name", ["x" * 300 + ".png", "y/" * 2500 + "a.png", "a\0b.png"])
def test_names_that_no_file_can_have(name: str) -> None:
    with pytest.raises(UnreadableImage):
        read_image(Path(name))
    with pytest.raises(RethawError):
        find_images([Path(name)])


def test_escape_characters_of_names_do_not_reach_messages(tmp_path: Path) -> None:
    evil = tmp_path / "a\x1b[2J\u202e.png"
    evil.write_bytes(b"no image")
    for act in (lambda: read_image(evil), lambda: read_mask(evil), lambda: find_images([tmp_path / "\x1b]0;x\x07"])):
        with pytest.raises(RethawError) as caught:
            act()
        assert ("\\x1b" in caught.value.message and str(caught.value).isprintable()) or "\n" in str(caught.value)
        assert "\x1b" not in str(caught.value) and "\u202e" not in str(caught.value)


# --- what declares too much ----------------------------------------------------------------------------------


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def webp(wide: int, high: int, frames: int) -> bytes:
    """An animation of tiny frames on a canvas that may be large."""
    file = BytesIO()
    Image.new("RGBA", (16, 16), "red").save(file, "WEBP", lossless=True)

    def part(name: bytes, data: bytes) -> bytes:
        return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)

    def three(value: int) -> bytes:
        return struct.pack("<I", value)[:3]

    head = part(b"VP8X", bytes([0x12, 0, 0, 0]) + three(wide - 1) + three(high - 1)) + part(b"ANIM", bytes(6))
    frame = part(b"ANMF", bytes(6) + three(15) + three(15) + three(100) + b"\0" + file.getvalue()[12:])
    body = b"WEBP" + head + frame * frames
    return b"RIFF" + struct.pack("<I", len(body)) + body


def gif(wide: int, high: int) -> bytes:
    file = BytesIO()
    Image.new("L", (2, 2)).save(file, "GIF")
    data = file.getvalue()
    return data[:6] + struct.pack("<HH", wide, high) + data[10:]


def png(wide: int, high: int, frames: int = 1) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", wide, high, 8, 2, 0, 0, 0))
    animated = chunk(b"acTL", struct.pack(">II", frames, 0)) if frames > 1 else b""
    return b"\x89PNG\r\n\x1a\n" + head + animated + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")


def tiff(wide: int, high: int) -> bytes:
    tags = [(256, wide), (257, high), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, high), (279, 4)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)


BOMBS = {
    "tall.webp": webp(24, 2_490_388, 1),
    "wide.webp": webp(2_490_388, 24, 20),
    "square.webp": webp(9000, 9000, 3),
    "canvas.gif": gif(13_000, 13_000),
    "large.gif": gif(65_535, 65_535),
    "tall.png": png(1, 100_000_000),
    "square.png": png(9_000, 9_000),
    "square.apng": png(9_000, 9_000, 2**31 - 1),
    "endless.png": png(2**31 - 1, 2**31 - 1),
    "large.tif": tiff(12_000, 12_000),
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("name", BOMBS)
def test_declared_sizes_have_a_limit(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(BOMBS[name])
    assert len(BOMBS[name]) < 3000
    with pytest.raises(UnreadableImage, match=r"declares \d+ × \d+ pixels in a file of|is too large") as caught:
        read_image(tmp_path / name)
    assert "RETHAW_MAX_PIXELS=" in caught.value.hint


def test_the_limit_can_be_raised_and_lowered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow's own limit is far away from 500 pixels, or just below them."""
    path = tmp_path / "a.png"
    Image.new("L", (50, 10)).save(path)
    for limit, own, reads in (("500", None, True), ("499", None, False), ("500", 100, True), ("501", 240, True)):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", own)
        monkeypatch.setenv("RETHAW_MAX_PIXELS", limit)
        if reads:
            assert read_image(path).pixels.shape == (3, 10, 50)
        else:
            with pytest.raises(UnreadableImage, match=r"declares 50 × 10 pixels, more than RETHAW_MAX_PIXELS allows"):
                read_image(path)


def test_a_bomb_can_be_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.webp").write_bytes(webp(5000, 3400, 1))
    with pytest.raises(UnreadableImage, match="in a file of"):
        read_image(tmp_path / "a.webp")
    monkeypatch.setenv("RETHAW_MAX_PIXELS", "17000000")
    assert read_image(tmp_path / "a.webp", 1).pixels.shape == (1, 3400, 5000)


@pytest.mark.parametrize("limit", ["many", "-5", "0", "1e9", "²"])
def test_a_limit_that_is_no_number_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setenv("RETHAW_MAX_PIXELS", limit)
    with pytest.raises(RethawError, match="RETHAW_MAX_PIXELS is") as caught:
        read_image(picture(tmp_path / "a.png"))
    assert not isinstance(caught.value, UnreadableImage)  # the file is not to blame


def test_flat_pictures_of_usual_size_are_read(tmp_path: Path) -> None:
    for ending, options in (
        (".png", {}),
        (".webp", {"lossless": True}),
        (".gif", {}),
        (".tif", {"compression": "group4"}),
    ):
        image = Image.new("1", (4000, 3000)) if ending == ".tif" else Image.new("L", (4000, 3000))
        image.save(tmp_path / f"a{ending}", **options)
        assert read_image(tmp_path / f"a{ending}", 1).pixels.shape == (1, 3000, 4000)


@pytest.mark.long
@pytest.mark.parametrize(
    ("mode", "ending"), [("RGB", ".png"), ("RGBA", ".png"), ("L", ".tif"), ("I;16", ".png"), ("RGB", ".jpg")]
)
def test_refused_memory_is_an_unreadable_image(tmp_path: Path, mode: str, ending: str) -> None:
    """The system refuses memory at different stages: opening, decoding, converting, filling in."""
    image = Image.new("RGB" if mode == "RGBA" else mode, (4000, 4000), 77)
    if mode == "RGBA":
        image.putalpha(Image.linear_gradient("L").resize((4000, 4000)))
    image.save(tmp_path / f"a{ending}")
    code = """
import resource, sys
from pathlib import Path
from rethaw.images import UnreadableImage, read_image
import torch
torch.nn.functional.interpolate(torch.zeros(1, 1, 64, 64), (9, 9), mode="bilinear")
pages = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
refused = 0
for megabytes in (8, 24, 60, 110, 180, 260, 340):
    resource.setrlimit(resource.RLIMIT_AS, (pages + megabytes * 2**20, resource.RLIM_INFINITY))
    try:
        read_image(Path(sys.argv[1]))
    except UnreadableImage as error:
        assert "too large" in error.message or "memory" in error.message, error
        refused += 1
assert refused > 1, refused
"""
    subprocess.run([sys.executable, "-c", code, tmp_path / f"a{ending}"], check=True)


# --- folders -------------------------------------------------------------------------------------------------


def test_linked_folders_and_files_are_followed(tmp_path: Path) -> None:
    picture(tmp_path / "elsewhere" / "deeper" / "dog.png")
    picture(tmp_path / "data" / "cat" / "1.png")
    (tmp_path / "data" / "dog").symlink_to("../elsewhere")
    (tmp_path / "data" / "one.png").symlink_to(tmp_path / "elsewhere" / "deeper" / "dog.png")
    (tmp_path / "entry").symlink_to("data")
    names = ["cat/1.png", "dog/deeper/dog.png", "one.png"]
    assert below(tmp_path / "data", search_images([tmp_path / "data"])) == names
    assert below(tmp_path / "entry", search_images([tmp_path / "entry"])) == names


@pytest.mark.parametrize(
    "links",
    [
        {"a/self": "."},
        {"a/up": ".."},
        {"a/top": "../.."},
        {"a/x": "../b", "b/y": "../a"},
        {"aa": "a", "b/bb": "../a"},
        {f"{x}/to{y}": f"../{y}" for x in "abcdefghij" for y in "abcdefghij"},
    ],
)
def test_loops_of_links_end_and_the_real_name_wins(tmp_path: Path, links: dict[str, str]) -> None:
    root = tmp_path / "data"
    for name in "abcdefghij":
        picture(root / name / "1.png")
    for name, target in links.items():
        (root / name).symlink_to(target)
    assert below(root, search_images([root]))[:10] == [f"{name}/1.png" for name in "abcdefghij"]
    assert len(search_images([root]).files) == 10


def test_what_is_passed_over_is_counted(tmp_path: Path) -> None:
    names = "a.HEIC b.heic c.tga none d.txt d.txt2 sub/none .hidden .git/x.heic e.é sub/e. d.jsonl f.jpe g.PNG"
    for name in names.split():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = search_images([tmp_path])
    assert below(tmp_path, found) == ["f.jpe", "g.PNG"]
    counts = {"no ending": 3, ".heic": 2, ".tga": 1, ".txt": 1, ".txt2": 1, ".é": 1, ".jsonl": 1}
    assert found.passed_over == counts
    said = found.note({".txt", ".jsonl"})
    assert said.startswith("passed over: 3 × no ending, 2 × .heic, 1 × ") and ".txt," not in said and "json" not in said
    assert Found().note() == "" and found.note(counts) == ""


def test_a_folder_of_other_files_says_what_it_has(tmp_path: Path) -> None:
    for i in range(3):
        (tmp_path / f"{i}.heic").touch()
    with pytest.raises(RethawError, match=r"has no image in it; passed over: 3 × \.heic"):
        find_images([tmp_path])


def test_a_folder_below_that_cannot_be_read_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "locked").mkdir()
    scan = os.scandir

    def locked(path: Path) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", locked)
    assert search_images([tmp_path]).passed_over == {"folder that cannot be read": 1}
    with pytest.raises(RethawError, match="locked cannot be read: Permission denied"):
        find_images([tmp_path / "locked"])


def test_the_users_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    picture(tmp_path / "photos" / "a.png")
    assert find_images([Path("~/photos")]) == [tmp_path / "photos" / "a.png"]
    image = read_image(Path("~/photos/a.png"))
    write_image(Path("~/b.png"), image.pixels, image)
    assert (tmp_path / "b.png").is_file()
    with pytest.raises(UnreadableImage, match=r"~nobody-of-that-name/a\.png does not exist"):
        read_image(Path("~nobody-of-that-name/a.png"))


def test_heic_has_a_message_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(60))
    with pytest.raises(UnreadableImage, match="HEIC") as caught:
        read_image(tmp_path / "a.heic")
    assert "JPEG" in caught.value.hint


def test_every_ending_that_counts_is_read(tmp_path: Path) -> None:
    kinds = Image.registered_extensions()
    for ending in sorted(SUFFIXES - {".pfm", ".pbm"}):
        Image.new("RGB", (8, 8), "red").save(tmp_path / f"a{ending}", kinds[ending])
    for path in find_images([tmp_path]):
        assert np.allclose(read_image(path).pixels.mean((1, 2)), [1, -1, -1], atol=0.05), path
    assert len(find_images([tmp_path])) == len(SUFFIXES) - 2
