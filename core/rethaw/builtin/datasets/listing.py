"""The files of a data folder, without what rethaw has written; what is left out, and whether they have changed."""

from __future__ import annotations

import json
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

from rethaw.api import RethawError
from rethaw.ops import Listing, ending, list_folder

RUN, RUN_PICTURES = "resolved.yaml", ("preview.png", "loss.png")
REPORTS = {"report.json": "run", "results.json": "rows"}
"""What marks a folder of results that rethaw has written, and a key that its own reports have."""
NAMED = 8  # endings that are named one by one


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


def list_data(root: str) -> Listing:
    """All visible files below a folder of training images, but those that rethaw has written: runs and results.

    Raises RethawError for a root that is no readable folder.
    """
    try:
        found = list_folder(root, written_by_rethaw)
    except OSError as error:
        raise no_folder(root, error) from error
    if written_by_rethaw(path for path in found.images + found.others if os.sep not in found.relative(path)):
        found.images = [path for path in found.images if found.relative(path) not in RUN_PICTURES]
    return found


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
