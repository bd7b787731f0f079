"""Files that are never half-written: each is written beside its place and renamed."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO
from uuid import uuid4

from filelock import FileLock, Timeout

from rethaw.api import RethawError

PART = ".part"


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A binary file beside `path` that takes its place once it is written whole; after a failure all is as it was.

    Makes the folder. Raises RethawError for what goes wrong in writing: no permission, no space, not encodable.
    """
    final = Path(os.path.realpath(path))  # a link stays a link
    part = final.with_name(f".{uuid4().hex[:12]}{PART}")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        with part.open("x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(final)
    except BaseException as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        if not isinstance(error, OSError | ValueError) and not write_failed(error):
            raise
        reason = getattr(error, "strerror", None) or error
        raise RethawError(
            f"{path} could not be written: {reason}",
            "Free some room or choose another folder; what was there is unharmed.",
        ) from error


def write_failed(error: BaseException) -> bool:
    """torch and safetensors tell a full disk in exceptions of their own."""
    return type(error).__name__ == "SafetensorError" or (
        isinstance(error, RuntimeError) and "write" in str(error).lower()
    )


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
