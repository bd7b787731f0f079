"""`core.folder` holds decoded images: what comes from memory is what comes from the file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rethaw.builtin.datasets import folder, squares
from rethaw.builtin.datasets.params import Folder as Params
from tests.helpers import photos


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_from_memory_is_the_image_of_the_file(channels: int, tmp_path: Path) -> None:
    data = folder.Folder(Params(photos(tmp_path / "photos"), size=24, channels=channels))  # type: ignore[arg-type]
    first = [data.item(i, generator())["image"] for i in range(len(data))]
    assert len(data.held) == len(data)
    for path in data.files:
        Path(path).unlink()
    again = [data.item(i, generator())["image"] for i in range(len(data))]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True)) and not data.skipped


def test_every_8_bit_value_survives_memory(tmp_path: Path) -> None:
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(tmp_path / "all.png")
    data = folder.Folder(Params(tmp_path, size=16, flip=False, channels=1))
    fresh = data.read(0)
    assert 0 in data.held and torch.equal(data.read(0), fresh)


def test_deeper_images_are_not_held(tmp_path: Path) -> None:
    Image.fromarray((np.arange(256, dtype=np.uint16) * 257 + 1).reshape(16, 16)).save(tmp_path / "deep.png")
    data = folder.Folder(Params(tmp_path, size=16, channels=1))
    assert torch.equal(data.read(0), data.read(0)) and not data.held


def test_what_8_bits_do_not_hold_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the reader calls 8 bits deep: a value between two bytes comes from the file each time."""
    read = squares.read_image
    monkeypatch.setattr(squares, "read_image", lambda *given: replace(read(*given), pixels=read(*given).pixels * 0.999))
    data = folder.Folder(Params(photos(tmp_path / "photos", 1), size=16))
    assert torch.equal(data.read(0), data.read(0)) and not data.held


def test_no_more_is_held_than_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(squares, "CACHE", 2 * 3 * 40 * 32)
    data = folder.Folder(Params(photos(tmp_path / "photos", size=(40, 32)), size=24))
    for i in range(len(data)):
        data.item(i, generator())
    assert len(data.held) == 2 < len(data) and data.room == 0
