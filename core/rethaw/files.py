"""Files that are never half-written: each is written beside its place and renamed."""

from __future__ import annotations

import errno
import io
import json
import math
import os
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING
from uuid import uuid4

from filelock import FileLock, Timeout

from rethaw.api import RethawError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

PART = ".part"


class _Watched(io.FileIO):
    """A file that remembers its first error of writing.

    torch and other writers turn that error into one of their own, which no longer says that a disk is full. libtiff
    would write past it by the file's number, so that is not to be had.
    """

    failure: OSError | None = None

    def write(self, data: Buffer, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self.failure = self.failure or error
            raise

    def fileno(self) -> int:
        raise io.UnsupportedOperation("fileno")

    def sync(self) -> None:
        os.fsync(super().fileno())


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A binary file beside `path` that takes its place once it is written whole; after a failure all is as it was.

    Makes the folder. A link in that place is replaced, and what it leads to is left alone. Raises RethawError for
    what goes wrong in writing: no permission, no space, not encodable.
    """
    path = Path(path)
    part, raw = path.parent / f".{uuid4().hex[:12]}{PART}", None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        raw = _Watched(part, "x+")
        with io.BufferedRandom(raw) as file:
            yield file
            file.flush()
            raw.sync()
        part.replace(path)
    except BaseException as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        failure = (raw and raw.failure) or error
        if not isinstance(failure, OSError | ValueError):
            raise
        raise _not_written(path, failure) from error


def _not_written(path: Path, error: OSError | ValueError) -> RethawError:
    code, reason = getattr(error, "errno", None), getattr(error, "strerror", None) or error
    hint = "Choose another name or folder; what was there is unharmed."
    if code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        hint = "Free some room or choose another folder; what was there is unharmed."
    elif code in (errno.EACCES, errno.EPERM, errno.EROFS):
        hint = "Choose a folder that you may write to."
    elif code in (errno.EEXIST, errno.ENOTDIR, errno.EISDIR):
        hint = "Something else of that name is in the way."
    elif code == errno.ENAMETOOLONG:
        hint = "Choose a shorter name."
    return RethawError(f"{shown(path)} could not be written: {reason}", hint)


def shown(text: object, lines: bool = False) -> str:
    """A path or any text, safe to print on a terminal: what is no visible character is escaped, such as \\x1b.

    That is control characters, marks that reverse the direction of writing, and bytes that are not in the system's
    encoding. lines: line breaks stay.
    """
    return "".join(c if _visible(c) or (lines and c == "\n") else ascii(c)[1:-1] for c in str(text))


def expanded(path: Path | str) -> Path:
    """A path with `~` or `~name` as that user's folder; as it is where there is no such user."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def _visible(c: str) -> bool:
    joiner = c in "\u200c\u200d"  # within words of Persian and Indian languages, and within emoji
    return c.isprintable() or joiner or unicodedata.category(c) == "Zs"


def write_text(path: Path, text: str) -> None:
    """Writes a text file in UTF-8."""
    with replacing(path) as file:
        file.write(text.encode())


def json_text(content: object) -> str:
    """JSON that every program can read: nan and infinities, which JSON does not have, become null."""
    return json.dumps(plain(content), indent=2, allow_nan=False) + "\n"


def plain(value: object) -> object:
    """A value in JSON's types: numbers of numpy and torch as numbers, what JSON has no type for as text."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(item) for item in value]
    numbers = getattr(value, "tolist", None)
    return plain(numbers()) if callable(numbers) else str(value)


def sweep(folder: Path) -> None:
    """Removes the parts that a killed process has left in a folder."""
    for part in folder.glob(f".*{PART}"):
        with suppress(OSError):
            part.unlink()


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Holds a folder for one training (and its processes), swept: a second one is refused. A killed process lets go."""
    if os.environ.get("RANK", "0") != "0":
        yield
        return
    lock = FileLock(folder / "training.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise RethawError(
            f"another training is writing into {folder}", "Wait for it, or choose another --out."
        ) from None
    try:
        sweep(folder)
        yield
    finally:
        (folder / "training.lock").unlink(missing_ok=True)
        lock.release()
