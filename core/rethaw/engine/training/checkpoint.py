"""Checkpoints: all that resuming a training needs, with a digest, so that no damaged one is taken for whole."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import IO, Any, cast

import torch

from rethaw.api import RethawError
from rethaw.files import replacing

HEAD = b"rethaw checkpoint "
DAMAGED = "Delete it and train again; the weights in model.safetensors are a file of their own."


class Hashing:
    """A file that is written through, and hashed on the way."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.hash = file, hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.hash.update(data)
        return self.file.write(data)

    def flush(self) -> None:
        self.file.flush()


def save_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a checkpoint in one step: a line with the digest, and what torch makes of the content."""
    with replacing(path) as file:
        file.write(HEAD + b"0" * 64 + b"\n")
        hashing = Hashing(file)
        torch.save(dict(content), cast("IO[bytes]", hashing))
        file.seek(len(HEAD))
        file.write(hashing.hash.hexdigest().encode())


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint: tensors and plain data only, nothing in it can run. Raises RethawError for a damaged one."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RethawError(f"the checkpoint {path} cannot be read: {error.strerror}") from error
    if data.startswith(HEAD):
        digest, data = data[len(HEAD) : len(HEAD) + 64], data[len(HEAD) + 65 :]
        if hashlib.sha256(data).hexdigest().encode() != digest:
            raise RethawError(f"the checkpoint {path} is damaged: it is not what was written", DAMAGED)
    try:
        content = torch.load(BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:
        raise RethawError(f"the checkpoint {path} is damaged ({type(error).__name__})", DAMAGED) from error
    if not isinstance(content, dict) or not isinstance(content.get("step"), int):
        raise RethawError(f"{path} is not a checkpoint of rethaw", DAMAGED)
    return content
