"""The images: extracted from their tars, those of faces divided, the held-out ones as tensors."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import torch
from torch import Tensor

import rethaw
from rethaw.api import RethawError
from rethaw.files import write_text
from rethaw.images import find_images

TARS = (
    "mnist-train-20k.tar",
    "mnist-val-1k.tar",
    "cifar10-train-25k.tar",
    "cifar10-val-1k.tar",
    "faces-animal-ref.tar",
    "faces-human-ref.tar",
)
HELD_OUT = 5
"""Each so many-th human face is held out."""


def prepared(source: Path, to: Path) -> Path:
    """The folder of all images, extracted from the tars in `source` where that has not been done."""
    for name in TARS:
        done = to / f"{name}.done"
        if done.exists():
            continue
        if not (source / name).is_file():
            raise RethawError(f"there is no {source / name}", f"--data is a folder with {', '.join(TARS)}.")
        with tarfile.open(source / name) as tar:
            tar.extractall(to, filter="data")  # nothing outside the folder, no links out of it, no devices
        write_text(done, "")
    divide(to / "human_faces", to / "faces")
    return to


def divide(faces: Path, to: Path) -> None:
    """Copies faces into train/ and val/."""
    for i, file in enumerate(find_images([faces])):
        place = to / ("train" if i % HELD_OUT else "val") / f"{file.parent.name}-{file.name}"
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)


def tensors(folder: Path, count: int, size: int, channels: int) -> tuple[Tensor, list[str]]:
    """At most so many images below a folder, evenly taken, (N, C, size, size), and their labels ("" where none)."""
    params = {"path": str(folder), "size": size, "channels": channels, "flip": False}
    data = rethaw.build("dataset", "core.folder", **params)
    chosen = torch.linspace(0, len(data) - 1, min(count, len(data))).round().long().tolist()
    items = [data.item(i, torch.Generator().manual_seed(0)) for i in chosen]
    return torch.stack([item["image"] for item in items]), [str(item.get("label", "")) for item in items]
