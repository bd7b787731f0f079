"""The parameters and specs of the built-in datasets; neither needs torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le

from rethaw.api import Spec, dataset

AT = "rethaw.builtin.datasets"


@dataclass(frozen=True)
class Squares:
    """
    path: the folder; it is searched to any depth. `~` is the user's folder.
    size: side of the square that is cut out of each image, in pixels.
    crop: resize scales the shorter side to `size` first; random cuts from the image as it is.
    flip: mirrors half of the images.
    channels: 3 for colour, 1 for grey.
    """

    path: Path
    size: Annotated[int, Ge(1)] = 64
    crop: Literal["resize", "random"] = "resize"
    flip: bool = True
    channels: Literal[1, 3] = 3


@dataclass(frozen=True)
class Folder(Squares):
    """The images below a folder; the names of sub-folders are their labels.

    Links to folders are followed. What cannot be read, has an ending that is not an image's, or was written by rethaw
    (runs and results) is left out and listed. Each process holds up to 256 MB of decoded 8-bit images, so that a small
    set is read once and not in every epoch.

    captions: sidecar (photo.txt beside photo.png), metadata (metadata.jsonl or metadata.csv with file_name and text),
        or a template over labels such as "a photo of a {label}"; by default there are none.
    """

    captions: str | None = None

    def __post_init__(self) -> None:
        if self.captions not in (None, "sidecar", "metadata") and "{label}" not in str(self.captions):
            raise ValueError(
                f"captions is sidecar, metadata, or a template with {{label}} in it, not {self.captions!r}"
            )


@dataclass(frozen=True)
class Pairs(Squares):
    """Pairs of files, clean and degraded, as `image` and `degraded`: the same square of both.

    They are told apart by two names, the clean one first: of folders, of endings of the name, or of columns of a table.
    Images without a partner, of another size than theirs, or moved against it are left out and listed.

    folders: names of the folders of clean and of degraded images, at any depth; partners have equal names in them.
    suffixes: what the names end in instead, before the dot: ["", _blur] for photo.png and photo_blur.png.
    table: a .csv or .jsonl file below `path` instead, with the columns `image` and `degraded`.
    tolerance: pixels by which partners may be moved against each other; null does not look.
    """

    folders: tuple[str, str] = ("clean", "degraded")
    suffixes: tuple[str, str] | None = None
    table: str | None = None
    tolerance: Annotated[int, Ge(0)] | None = 2

    def __post_init__(self) -> None:
        if self.suffixes and self.table:
            raise ValueError("pairs are found by suffixes or by a table, not by both")
        for name in ("folders", "suffixes"):
            clean, degraded = getattr(self, name) or ("a", "b")
            if clean == degraded:
                raise ValueError(f"{name} are two names: {clean!r} cannot be both")


@dataclass(frozen=True)
class Photos:
    """Random crops of the photographs that come with scikit-image; `astronaut` and `chelsea` are held out.

    size: side of the square crops, in pixels.
    scale: the photographs are shrunk by a random factor between this and 1 before cropping.
    turn: mirrors the crops and turns them by quarters.
    """

    size: Annotated[int, Ge(8), Le(256)] = 64
    scale: Annotated[float, Gt(0), Le(1)] = 0.5
    turn: bool = True


SPECS: list[Spec] = [
    dataset("folder", Folder, target=f"{AT}.folder:Folder", summary="The images below a folder."),
    dataset("pairs", Pairs, target=f"{AT}.pairs:Pairs", summary="Pairs of clean and degraded files."),
    dataset("photos", Photos, target=f"{AT}.photos:Photos", summary="Crops of scikit-image's photographs."),
]
