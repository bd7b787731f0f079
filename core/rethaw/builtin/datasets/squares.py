"""Random squares of image files, which are read when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from rethaw.api import RethawError
from rethaw.builtin.datasets.params import Squares as Params
from rethaw.ops import SUFFIXES, read_image

CACHE = 256 * 2**20
"""Bytes of 8-bit pixels that a process holds, so that a small set is decoded once and not in every epoch."""
LONGEST = 16
"""Sides of an image beyond so many times the other are cut before anything is made larger."""
UNREADABLE = (RethawError, OSError, MemoryError, RuntimeError)  # the last is what torch raises without memory


class Squares:
    """Squares cut from image files; what cannot be read is left out and listed in `skipped`.

    files: one for each example, by which messages name it. left_out: paths that are left out already, with reasons.
    """

    what = "image"

    def __init__(self, params: Params, files: Sequence[str], left_out: dict[str, str]) -> None:
        self.params, self.files, self.left_out = params, files, left_out
        if not files:
            found = "".join(f"\n  {path}: {reason}" for path, reason in islice(left_out.items(), 3))
            hint = f"Endings that count: {' '.join(sorted(SUFFIXES))}{found}"
            raise RethawError(f"{params.path} has no {self.what} in it", hint)
        self.broken = torch.zeros(len(files), dtype=torch.bool)
        with suppress(RuntimeError, OSError):  # where the system has no shared memory, each process knows its own
            self.broken.share_memory_()
        self.reasons: dict[int, str] = {}
        self.held: dict[int, Tensor] = {}
        self.room = CACHE

    def __len__(self) -> int:
        return len(self.files)

    @property
    def skipped(self) -> dict[str, str]:
        """What was left out, with reasons: when the files were listed, and since by this process or its workers."""
        for index in self.broken.nonzero().flatten().tolist():
            if index not in self.reasons:  # a worker has met it
                self.reasons[index] = self.fault(index)
        return self.left_out | {self.files[index]: self.reasons[index] for index in sorted(self.reasons)}

    def fault(self, index: int) -> str:
        """Why a file cannot be read."""
        try:
            self.cut(self.read(index), Generator())
        except UNREADABLE as error:
            return reason_of(error, self.files[index])
        return "it could not be read at one time, though it can now"

    def square(self, index: int, generator: Generator) -> tuple[int, Tensor]:
        """A square of the file of that index, or of the next one that can be read; and which one that is."""
        for at in chain(range(index, len(self.files)), range(index)):
            if self.broken[at]:
                continue
            try:
                return at, self.cut(self.read(at), generator)
            except UNREADABLE as error:
                self.reasons[at], self.broken[at] = reason_of(error, self.files[at]), True
        raise RethawError(
            f"none of the {len(self.files)} {self.what}s below {self.params.path} can be read",
            "; ".join(f"{self.files[at]}: {reason}" for at, reason in islice(self.reasons.items(), 3)),
        )

    def decode(self, index: int) -> Tensor:
        """The whole image (C, H, W) from its file."""
        return read_image(Path(self.files[index]), self.params.channels).pixels

    def read(self, index: int) -> Tensor:
        """The whole image (C, H, W): from memory, or from its file. What fits into memory first stays there."""
        if index in self.held:
            return self.held[index] / 127.5 - 1
        pixels = self.decode(index)
        if pixels.numel() <= self.room:
            bytes_ = ((pixels + 1) * 127.5).round().to(torch.uint8)
            if torch.equal(bytes_ / 127.5 - 1, pixels):  # not of deeper images
                self.room -= pixels.numel()
                self.held[index] = bytes_
        return pixels

    def cut(self, image: Tensor, generator: Generator) -> Tensor:
        """A random square of the image, (C, size, size)."""
        top, left, mirror = torch.rand(3, generator=generator).tolist()
        size, shorter = self.params.size, min(image.shape[-2:])
        image = part(image, top, left, LONGEST * max(shorter, size))
        if shorter < size or (self.params.crop == "resize" and shorter != size):
            shape = [max(size, round(n * size / shorter)) for n in image.shape[-2:]]
            image = F.interpolate(image[None], shape, mode="bicubic", antialias=True)[0].clamp(-1, 1)
        square = part(image, top, left, size)
        return square.flip(-1).contiguous() if self.params.flip and mirror < 0.5 else square.contiguous()


def part(image: Tensor, top: float, left: float, longest: int) -> Tensor:
    """At most `longest` rows and columns of an image, from the place that top and left in [0, 1) say."""
    for axis, at in ((1, top), (2, left)):
        side = min(longest, image.shape[axis])
        image = image.narrow(axis, int(at * (image.shape[axis] - side + 1)), side)
    return image


def reason_of(error: Exception, path: str) -> str:
    """What is wrong with a file that is named already, in one line."""
    if isinstance(error, RethawError):
        return error.message.replace(f"{path} ", "it ", 1) if error.message.startswith(f"{path} ") else error.message
    return f"it cannot be read: {(str(error) or type(error).__name__).splitlines()[0]}"
