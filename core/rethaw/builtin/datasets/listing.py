"""The files of a data folder, listed once: links are followed, and what is left out is listed with the reason."""

from __future__ import annotations

import json
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

from rethaw.api import RethawError
from rethaw.ops import SUFFIXES

RUN, RUN_PICTURES = "resolved.yaml", ("preview.png", "loss.png")
REPORTS = {"report.json": "run", "results.json": "rows"}
"""What marks a folder of results that rethaw has written, and a key that its own reports have."""
NAMED = 8  # endings that are named one by one


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


def nfc(text: str) -> str:
    """Composed Unicode: systems write é as one character or as two, and both mean one name."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def file_name(path: str) -> str:
    """The last part of a path."""
    return path.rpartition(os.sep)[2]


def home(path: Path) -> str:
    """A path with `~` replaced by the user's folder."""
    try:
        return str(path.expanduser())
    except RuntimeError as error:
        raise RethawError(f"{path}: there is no such user's folder", "Write the whole path.") from error


def ending(path: str) -> str:
    """`.png` of a name, in small letters; "" where it has none."""
    stem, dot, last = file_name(path).rpartition(".")
    return f".{last.lower()}" if stem and dot else ""


# --- listing -------------------------------------------------------------------------------------------------


def list_folder(root: str) -> Listing:
    """All visible files below a folder.

    Links to folders are followed once everything else is read, so that each folder is read once and by its own name.
    Left out: folders that rethaw has written (runs, results), links that lead nowhere or back, pipes and devices,
    folders that cannot be read. Raises RethawError for a root that is no readable folder.
    """
    found, seen = Listing(root), set[tuple[int, int]]()
    with suppress(OSError):
        seen |= {identity(place) for place in Path(os.path.realpath(root)).parents}
    folders, links = [root], list[str]()
    while folders or links:
        folder = folders.pop() if folders else links.pop(0)
        try:
            if (place := identity(Path(folder))) in seen:
                found.skipped[folder] = "it is a link to a folder that is read already, or that this one lies in"
                continue
            seen.add(place)
            inner, linked = read_folder(folder, found)
        except OSError as error:
            if folder == root:
                raise no_folder(root, error) from error
            found.skipped[folder] = f"this folder cannot be read: {error.strerror}"
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


def read_folder(folder: str, found: Listing) -> tuple[list[str], list[str]]:
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
                skipped[path] = "it is a link that leads nowhere" if entry.is_symlink() else "it is not a file"
        except OSError as error:
            skipped[path] = f"it cannot be read: {error.strerror}"
    if reason := written_by_rethaw(files):
        if folder != found.root:
            found.skipped[folder] = reason
            return [], []
        files = [path for path in files if file_name(path) not in RUN_PICTURES]
    found.skipped |= skipped
    for path in files:
        (found.images if ending(path) in SUFFIXES else found.others).append(path)
    return folders, links


def written_by_rethaw(files: Iterable[str]) -> str:
    """Why a folder of these files is no training data: it is a run, or has the results of one; else ""."""
    names = {file_name(path): path for path in files}
    if RUN in names:
        return "it is a run of rethaw: its pictures are no training data"
    for name, key in REPORTS.items():
        if name in names and has_key(Path(names[name]), key):
            return f"it holds results of rethaw ({name}), which are no training data"
    return ""


def has_key(path: Path, key: str) -> bool:
    """Whether a file is a JSON object with that key."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and key in content


def no_folder(root: str, error: OSError) -> RethawError:
    """Why data cannot be read from there."""
    match error:
        case FileNotFoundError():
            reason = "does not exist"
        case NotADirectoryError():
            reason = "is a file, not a folder of images"
        case _:
            reason = f"cannot be read: {error.strerror}"
    return RethawError(f"{root} {reason}", "Name a folder with images in it: data.path=photos/")


def passed_over(found: Listing, used: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Files that are not read as images, counted by their ending. used: endings of files that are read otherwise."""
    counts = Counter(ending(path) for path in found.others)
    for known in used:
        counts.pop(known, None)
    for suffix, count in counts.most_common(NAMED):
        files = f"{count} file{'s' * (count > 1)}"
        yield f"{found.root}{os.sep}*{suffix}", f"{files} {'with this' if suffix else 'without an'} ending, not read"
    if rest := counts.most_common()[NAMED:]:
        yield (
            f"{found.root}{os.sep}*.*",
            f"{sum(count for _, count in rest)} files with {len(rest)} other endings, not read",
        )


# --- has it changed? -----------------------------------------------------------------------------------------


def fingerprint(listing: Listing, files: Iterable[str], texts: Iterable[str] = ()) -> str:
    """A digest of the names below the root, sizes and times of change in seconds of files, and of texts.

    It is the same where the folder has moved, and costs one look at the file system for each file.
    """
    digest = blake2b(digest_size=16)
    for path in files:
        row: list[object] = [nfc(listing.relative(path)).replace(os.sep, "/")]
        with suppress(OSError):
            status = os.stat(path)  # noqa: PTH116 - a sixth of the time that a Path takes
            row += [status.st_size, int(status.st_mtime)]
        digest.update(repr(row).encode())
    for text in texts:
        digest.update(repr(text).encode())
    return digest.hexdigest()
