"""Pairs of files, clean and degraded."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from rethaw.api import Item, RethawError
from rethaw.builtin.datasets.listing import fingerprint, home, list_data, nfc
from rethaw.builtin.datasets.params import Pairs as Params
from rethaw.builtin.datasets.squares import UNREADABLE, Squares, reason_of
from rethaw.builtin.datasets.tables import read_table
from rethaw.ops import Listing, read_image

WINDOW, REACH = 512, 32
"""Side of the middle of two images that is compared, and the farthest move that is looked for, in pixels."""
ALIKE, BETTER = 0.6, 1.5
"""Images are moved where, moved back, they correlate so well, and leave so many times less unexplained."""

Sides = tuple[str, str]
Key = tuple[str, ...]
Place = tuple[int, Key]
"""Which side an image belongs to, 0 for the clean one, and what it has in common with its partner."""


class Found(NamedTuple):
    """Pairs of paths, and what is left out, with reasons."""

    pairs: list[Sides]
    skipped: dict[str, str]


class Pairs(Squares):
    """The same square of a clean image and of its degraded version."""

    what = "pair"

    def __init__(self, params: Params) -> None:
        self.pair_params = params
        self.root = home(params.path)
        found = from_table(self.root, params.table) if params.table else from_names(self.root, params)
        self.pairs = found.pairs
        super().__init__(params, [clean for clean, _ in self.pairs], found.skipped)

    @cached_property
    def fingerprint(self) -> str:
        """Changes when pairs are added, removed, renamed or written anew."""
        return fingerprint(Listing(self.root), [path for pair in self.pairs for path in pair])

    def item(self, index: int, generator: Generator) -> Item:
        """The pair of that index, or the next one that can be read."""
        at, both = self.square(index, generator)
        clean, degraded = both.chunk(2)
        return {"image": clean, "degraded": degraded, "path": self.files[at]}

    def whole(self, index: int) -> Item:
        """The whole pair of that index. Raises RethawError where it cannot be read, or is no pair."""
        path = self.files[index]
        try:
            clean, degraded = self.decode(index).chunk(2)
        except UNREADABLE as error:
            raise RethawError(f"{path}: {reason_of(error, path)}") from error
        return {"image": clean, "degraded": degraded, "path": path}

    def decode(self, index: int) -> Tensor:
        """Both images, the channels of the clean one first. Raises RethawError where they are no pair."""
        clean, degraded = (read_image(Path(path), self.params.channels).pixels for path in self.pairs[index])
        other = self.pairs[index][1]
        if clean.shape != degraded.shape:
            sizes = [f"{x.shape[-1]}×{x.shape[-2]}" for x in (clean, degraded)]
            raise RethawError(f"it is {sizes[0]} pixels, and its partner {other} {sizes[1]}")
        if self.pair_params.tolerance is not None:
            rows, columns = moved(clean, degraded)
            if max(abs(rows), abs(columns)) > self.pair_params.tolerance:
                raise RethawError(f"its partner {other} is moved against it by {rows} rows and {columns} columns")
        return torch.cat([clean, degraded])


# --- finding partners --------------------------------------------------------------------------------------------


def from_names(root: str, params: Params) -> Found:
    """Partners by names of folders or by endings of names, in the order of the clean images."""
    listing = list_data(root)
    skipped, neither = dict(listing.skipped), 0
    names, place_of = (params.suffixes, by_suffix) if params.suffixes else (params.folders, by_folder)
    clean, degraded = sides = dict[Key, str](), dict[Key, str]()
    for path in listing.images:
        place = place_of(nfc(listing.relative(path)).replace(os.sep, "/"), (nfc(names[0]), nfc(names[1])))
        if place is None:
            neither += 1
        elif (other := sides[place[0]].setdefault(place[1], path)) != path:
            skipped[path] = f"it would have the partner of {other}"
    for side, (mine, others) in enumerate(((clean, degraded), (degraded, clean))):
        reason = f"it has no partner in {names[1 - side]!r}"
        skipped |= {path: reason for key, path in mine.items() if key not in others}
    if neither:
        images = "1 image belongs" if neither == 1 else f"{neither} images belong"
        skipped[f"{root}{os.sep}*"] = f"{images} to neither {names[0]!r} nor {names[1]!r}"
    return Found([(path, degraded[key]) for key, path in clean.items() if key in degraded], skipped)


def by_folder(path: str, names: Sides) -> Place | None:
    """By the last folder that has one of the names; None where none has. Partners have all the rest in common."""
    *folders, file = path.split("/")
    for at in reversed(range(len(folders))):
        if folders[at] in names:
            return names.index(folders[at]), (*folders[:at], "/", *folders[at + 1 :], stem(file))
    return None


def by_suffix(path: str, suffixes: Sides) -> Place | None:
    """By the end of the name, the longer one first, since none at all fits every name."""
    name = stem(path)
    for suffix in sorted(suffixes, key=len, reverse=True):
        if name.endswith(suffix):
            return suffixes.index(suffix), (name.removesuffix(suffix),)
    return None


def stem(path: str) -> str:
    """Without the ending: partners may be of two formats."""
    return path.rpartition(".")[0]


def from_table(root: str, name: str) -> Found:
    """Pairs in the order of the rows of a table, which names files relative to itself."""
    table = Path(root, home(Path(name)))
    if not table.is_file():
        raise RethawError(f"{table} does not exist", "data.table names a .csv or .jsonl file below data.path.")
    pairs, skipped = list[Sides](), dict[str, str]()
    for line, row in read_table(table):
        cells = (row.get("image", row.get("file_name")), row.get("degraded"))
        if not all(isinstance(cell, str) and cell for cell in cells):
            raise RethawError(f"{table}:{line} does not name two files", "Name them `image` and `degraded`.")
        clean, degraded = (str(table.parent / str(cell)) for cell in cells)
        if missing := [path for path in (clean, degraded) if not Path(path).is_file()]:
            skipped[missing[0]] = f"there is no such file, but {table}:{line} names it"
        else:
            pairs.append((clean, degraded))
    return Found(pairs, skipped)


# --- are they aligned? -------------------------------------------------------------------------------------------


def moved(clean: Tensor, degraded: Tensor) -> tuple[int, int]:
    """By how many rows and columns the degraded image is moved against the clean one; (0, 0) where that is not plain.

    The place of the highest circular cross-correlation of the middles of both, in grey and faded out to their borders.
    """
    a, b = (middle(x) for x in (clean, degraded))
    product = torch.fft.rfft2(a).conj() * torch.fft.rfft2(b)
    correlation = torch.fft.irfft2(product, a.shape) / (a.norm() * b.norm()).clamp_min(1e-6)
    reach = [min(REACH, side // 4) for side in a.shape]
    near = correlation.roll(reach, (0, 1))[: 2 * reach[0] + 1, : 2 * reach[1] + 1]
    at = divmod(int(near.argmax()), near.shape[1])
    best, here = float(near.max()), float(correlation[0, 0])
    plain = best > ALIKE and 1 - here**2 > BETTER * (1 - best**2)
    return (at[0] - reach[0], at[1] - reach[1]) if plain else (0, 0)


def middle(image: Tensor) -> Tensor:
    """The middle of an image (C, H, W) as grey values of mean 0 that fade to 0 at the borders."""
    rows, columns = (min(WINDOW, side) for side in image.shape[1:])
    top, left = (image.shape[1] - rows) // 2, (image.shape[2] - columns) // 2
    grey = image[:, top : top + rows, left : left + columns].mean(0)
    fade = torch.outer(torch.hann_window(rows + 2)[1:-1], torch.hann_window(columns + 2)[1:-1])
    return (grey - (grey * fade).sum() / fade.sum()) * fade
