"""Finding image files in folders."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rethaw.api import RethawError

SUFFIXES = frozenset(
    {
        ".apng",
        ".avif",
        ".bmp",
        ".gif",
        ".jfif",
        ".jp2",
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


def find_images(paths: Sequence[Path]) -> list[Path]:
    """Files as they are given, folders searched recursively for `SUFFIXES` in sorted order; each file once.

    Hidden files and folders are passed over, links to folders are not followed. Raises RethawError for a path
    that does not exist, a folder that may not be read, and a folder without any image.
    """
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        try:
            path.stat()
            found |= dict.fromkeys(_search(path) if path.is_dir() else [path])
        except OSError as error:
            missing = isinstance(error, FileNotFoundError)
            reason = "does not exist" if missing else f"cannot be read: {error.strerror}"
            hint = "Name image files, or folders of them."
            raise RethawError(f"{error.filename or path} {reason}", hint) from error
    return list(found)


def _search(folder: Path) -> list[Path]:
    def fail(error: OSError) -> None:
        raise error

    found: list[Path] = []
    for place, folders, files in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        visible = [Path(place, name) for name in files if not name.startswith(".")]
        found += [path for path in visible if path.suffix.lower() in SUFFIXES]
    if not found:
        raise RethawError(f"{folder} has no image in it", f"Endings that count: {' '.join(sorted(SUFFIXES))}")
    return sorted(found)
