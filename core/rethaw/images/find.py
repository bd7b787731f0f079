"""Finding the image files that a user names, by themselves or by their folders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TypeVar

from rethaw.api import RethawError
from rethaw.files import expanded, shown
from rethaw.images.listing import SUFFIXES, ending, list_folder

T = TypeVar("T")


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


def some(files: Sequence[T], count: int) -> list[T]:
    """At most so many of the files, from all of them and in a random order, the same every time."""
    return Random(0).sample(files, min(count, len(files)))


def search_images(paths: Sequence[Path]) -> Found:
    """Files as they are given, and those of folders as of `list_folder`, in sorted order; each once.

    `~` is the user's folder. Raises RethawError for a path that does not exist, a folder that may not be read, and a
    folder without any image.
    """
    found = Found()
    for path in map(expanded, map(Path, paths)):
        try:
            path.stat()
            found.files += below(path, found) if path.is_dir() else [path]
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            said = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read: {reason}"
            raise RethawError(f"{shown(path)} {said}", "Name image files, or folders of them.") from error
    found.files = list(dict.fromkeys(found.files))
    return found


def below(root: Path, found: Found) -> list[Path]:
    """The images below a folder; what else is there is counted."""
    listing = list_folder(str(root))
    found.passed_over.update(reason.partition(":")[0] for reason in listing.skipped.values())
    found.passed_over.update(ending(path) or "no ending" for path in listing.others)
    if not listing.images:
        beside = f"; {found.note()}" if found.passed_over else ""
        hint = f"Endings that count: {' '.join(sorted(SUFFIXES))}"
        raise RethawError(f"{shown(root)} has no image in it{beside}", hint)
    return [Path(path) for path in listing.images]
