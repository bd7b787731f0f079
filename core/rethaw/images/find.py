"""Finding image files in folders, and counting what is passed over."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rethaw.api import RethawError
from rethaw.files import expanded, shown

SUFFIXES = frozenset(
    {
        ".apng",
        ".avif",
        ".bmp",
        ".gif",
        ".jfif",
        ".jp2",
        ".jpe",
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


@dataclass
class Found:
    """Image files in order, each once, and what lies beside them: how many, by ending or reason."""

    files: list[Path] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)

    def note(self, known: Collection[str] = ()) -> str:
        """A sentence on what was passed over, "" if it is nothing. known: endings that need no mention."""
        counts = [(reason, count) for reason, count in self.passed_over.most_common() if reason not in known]
        listed = ", ".join(f"{count} × {shown(reason)}" for reason, count in counts[:8])
        return f"passed over: {listed}{', …' * (len(counts) > 8)}" if counts else ""


def find_images(paths: Sequence[Path]) -> list[Path]:
    """The files of `search_images`."""
    return search_images(paths).files


def search_images(paths: Sequence[Path]) -> Found:
    """Files as they are given, and those below folders whose ending is one of `SUFFIXES`, in sorted order; each once.

    Hidden files and folders are left out, links are followed; of a folder that several names lead to, the real one
    counts. `~` is the user's folder. Raises RethawError for a path that does not exist, a folder that may not be read,
    and a folder without any image.
    """
    found = Found()
    for path in map(expanded, map(Path, paths)):
        try:
            path.stat()
            files = _search(path, found) if path.is_dir() else [path]
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            said = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read: {reason}"
            raise RethawError(f"{shown(path)} {said}", "Name image files, or folders of them.") from error
        found.files += files
    found.files = list(dict.fromkeys(found.files))
    return found


def _search(root: Path, found: Found) -> list[Path]:
    """The images below a folder. Each folder is read once, those that links lead to after all others."""
    files, read = list[Path](), set[tuple[int, int]]()
    folders, links = [root], list[Path]()
    while folders or links:
        folder = folders.pop() if folders else links.pop(0)
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) not in read:
                read.add((status.st_dev, status.st_ino))
                _read_folder(folder, folders, links, files, found.passed_over)
        except OSError:
            if folder == root:
                raise
            found.passed_over["folder that cannot be read"] += 1
    if not files:
        beside = f"; {found.note()}" if found.passed_over else ""
        hint = f"Endings that count: {' '.join(sorted(SUFFIXES))}"
        raise RethawError(f"{shown(root)} has no image in it{beside}", hint)
    return sorted(files)


def _read_folder(
    folder: Path, folders: list[Path], links: list[Path], files: list[Path], passed_over: Counter[str]
) -> None:
    """Adds what is visible in one folder: folders, links to folders, images, and reasons why others are none."""
    with os.scandir(folder) as entries:
        for entry in sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: e.name):
            path = folder / entry.name
            try:
                is_folder, is_file = entry.is_dir(), entry.is_file()
            except OSError:  # a loop of links
                is_folder = is_file = False
            if is_folder:
                (links if entry.is_symlink() else folders).append(path)
            elif not is_file:
                passed_over["pipe, socket or device" if _exists(path) else "link that leads nowhere"] += 1
            elif (ending := path.suffix.lower()) in SUFFIXES:
                files.append(path)
            else:
                passed_over[ending.rstrip(".") or "no ending"] += 1


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a loop of links
        return False
