"""Files that are whole or not there, whatever happens in writing; names that are safe to print."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rethaw.api import RethawError
from rethaw.files import replacing, shown, write_text

# --- full disks --------------------------------------------------------------------------------------------

WRITERS = {
    "torch.save": "torch.save({'x': torch.zeros(20000)}, file)",
    "torch.save, small": "torch.save({'x': torch.zeros(2)}, file)",
    "safetensors": "file.write(safetensors.torch.save({'x': torch.zeros(20000)}))",
    "png": "Image.frombytes('L', (300, 300), os.urandom(90000)).save(file, 'PNG')",
    "tiff": "Image.frombytes('L', (300, 300), os.urandom(90000)).save(file, 'TIFF', compression='tiff_deflate')",
    "webp": "Image.frombytes('L', (300, 300), os.urandom(90000)).save(file, 'WEBP', lossless=True)",
    "text": "file.write(b'x' * 90000)",
}


@pytest.mark.long
@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_is_told_as_such(tmp_path: Path, writer: str) -> None:
    """The system's own limit on the size of a file stands for the disk: writing fails in the same places."""
    code = f"""
import os, resource, sys
from pathlib import Path
import safetensors.torch, torch
from PIL import Image
from rethaw.api import RethawError
from rethaw.files import replacing
place = Path(sys.argv[1])
for limit in (0, 1, 63, 64, 65, 200, 400):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        with replacing(place) as file:
            {WRITERS[writer]}
    except RethawError as error:
        assert "File too large" in error.message and "Free some room" in error.hint, error
    else:
        raise AssertionError(limit)
"""
    (tmp_path / "out").write_bytes(b"old")
    subprocess.run([sys.executable, "-c", code, tmp_path / "out"], check=True)
    assert [p.name for p in tmp_path.iterdir()] == ["out"] and (tmp_path / "out").read_bytes() == b"old"


def test_defects_are_not_taken_for_a_full_disk(tmp_path: Path) -> None:
    for error in (RuntimeError("write"), KeyError("write"), KeyboardInterrupt()):
        with pytest.raises(type(error)), replacing(tmp_path / "a"):
            raise error
    assert not list(tmp_path.iterdir())


def test_reasons_have_hints_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    cases = {
        tmp_path / "file" / "a": "in the way",
        tmp_path / "folder": "in the way",
        tmp_path / ("x" * 300): "shorter",
        Path("/proc/nowhere/a"): "another name or folder",
    }
    for path, hint in cases.items():
        with pytest.raises(RethawError) as caught:
            write_text(path, "new")
        assert hint in caught.value.hint and "room" not in caught.value.hint, caught.value
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.parametrize("name", [".", "..", "", "folder", "folder/..", "a\0b"])
def test_what_is_no_name_of_a_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(RethawError, match="could not be written"):
        write_text(tmp_path / name, "new")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"] and not list((tmp_path / "folder").iterdir())


# --- links -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["outside/secret", "gone", "link", "inside"])
def test_a_link_in_the_place_of_a_file_is_replaced(tmp_path: Path, target: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "outside").mkdir()
    for path in (tmp_path / "outside" / "secret", out / "inside"):
        path.write_text("untouched")
    (out / "link").symlink_to(target if target in ("link", "inside") else tmp_path / target)
    write_text(out / "link", "new")
    assert not (out / "link").is_symlink() and (out / "link").read_text() == "new"
    assert (tmp_path / "outside" / "secret").read_text() == (out / "inside").read_text() == "untouched"
    assert not (tmp_path / "gone").exists()


def test_a_folder_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to("real")
    write_text(tmp_path / "out" / "a", "new")
    assert (tmp_path / "out").is_symlink() and (tmp_path / "real" / "a").read_text() == "new"


# --- names on a terminal -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("photos/été 猫 🧑‍🚀 ½.png", "photos/été 猫 🧑‍🚀 ½.png"),
        ("a\x1b[31mred", "a\\x1b[31mred"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x9b2J", "\\x9b2J"),
        ("gnp.\u202egpj.exe", "gnp.\\u202egpj.exe"),
        ("a\u2028b\ufeff", "a\\u2028b\\ufeff"),
        (os.fsdecode(b"caf\xe9"), "caf\\udce9"),
        ("Bild 10\u202f00.png", "Bild 10\u202f00.png"),
        ("back\\slash", "back\\slash"),
    ],
)
def test_shown(text: str, safe: str) -> None:
    assert shown(Path(text)) == shown(text) == safe


@given(st.text(st.characters(codec=None, exclude_categories=())))
def test_whatever_is_shown_can_be_printed(text: str) -> None:
    safe = shown(text, lines=True)
    safe.encode()
    assert not any((ord(c) < 32 and c != "\n") or 127 <= ord(c) < 160 for c in safe)
    assert shown(safe, lines=True) == safe
