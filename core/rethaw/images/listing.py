"""The files below a folder, listed once: links are followed, and what is left out is listed with the reason."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

ENDINGS = "apng avif bmp gif jfif jp2 jpe jpeg jpg mpo pbm pfm pgm png pnm ppm tif tiff webp"
SUFFIXES = frozenset(f".{ending}" for ending in ENDINGS.split())


@dataclass
class Listing:
    """The images and the other files below a root folder, each in sorted order; paths left out, with reasons."""

    root: str
    images: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    def relative(self, path: str) -> str:
        """A listed path as seen from the root."""
        return path[len(self.root) :].lstrip(os.sep) if path.startswith(self.root + os.sep) else path


def ending(path: str) -> str:
    """`.png` of a name, in small letters; "" where it has none."""
    stem, _, last = path.rpartition(os.sep)[2].rpartition(".")
    return f".{last.lower()}" if stem and last else ""


def list_folder(root: str, why_not: Callable[[list[str]], str] = lambda _: "") -> Listing:
    """All visible files below a folder. why_not: the reason to leave out a folder of these files, "" for none.

    Links to folders are followed once everything else is read, so that each folder is read once and by its own name.
    Raises OSError for a root that is no readable folder.
    """
    found, seen = Listing(root), set[tuple[int, int]]()
    with suppress(OSError):
        seen |= {identity(place) for place in Path(os.path.realpath(root)).parents}
    folders, links = [root], list[str]()
    while folders or links:
        folder = folders.pop() if folders else links.pop(0)
        try:
            if (place := identity(Path(folder))) in seen:
                found.skipped[folder] = "link to a folder that is read already, or that this one lies in"
                continue
            seen.add(place)
            inner, linked = read_folder(folder, found, why_not)
        except OSError as error:
            if folder == root:
                raise
            found.skipped[folder] = f"folder that cannot be read: {error.strerror}"
            continue
        folders += inner
        links += linked
    for paths in (found.images, found.others):
        paths.sort(key=lambda path: path.replace(os.sep, "\0"))  # part by part
    return found


def identity(path: Path) -> tuple[int, int]:
    """What two paths to one file have in common."""
    status = path.stat()
    return status.st_dev, status.st_ino


def read_folder(folder: str, found: Listing, why_not: Callable[[list[str]], str]) -> tuple[list[str], list[str]]:
    """Adds the files of one folder to a listing; gives the real folders in it, and the links to folders."""
    files, folders, links, skipped = list[str](), list[str](), list[str](), dict[str, str]()
    with os.scandir(folder) as scan:
        entries = sorted((entry for entry in scan if not entry.name.startswith(".")), key=lambda entry: entry.name)
    for entry in entries:
        path = entry.name if folder == os.curdir else entry.path
        try:
            if entry.is_dir():
                (links if entry.is_symlink() else folders).append(path)
            elif entry.is_file():
                files.append(path)
            else:
                leads = not entry.is_symlink() or Path(path).exists()
                skipped[path] = "pipe, socket or device" if leads else "link that leads nowhere"
        except OSError:  # a loop of links
            skipped[path] = "link that leads nowhere"
    if folder != found.root and (reason := why_not(files)):
        found.skipped[folder] = reason
        return [], []
    found.skipped |= skipped
    for path in files:
        (found.images if ending(path) in SUFFIXES else found.others).append(path)
    return folders, links
