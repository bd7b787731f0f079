"""Restoring many files: read and written in threads beside the restoring; one that fails does not stop the rest."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rethaw import pictures
from rethaw.api import RethawError
from rethaw.engine.sampling.files import Job, Restored, restore_picture
from rethaw.engine.sampling.walking import Walker
from rethaw.images import Picture, read_image, write_image

PENDING = 2
"""Files that are read ahead, and results that wait for being written."""

LARGE = 3 * 2**24
"""Values of a picture from which on it is restored with no other one in memory."""

ENDINGS = (".png", "-strip.png", "-degraded.png", ".gif")
"""What is written about an image, after its name."""

Row = dict[str, Any]


@dataclass
class Report:
    """What became of the files of a batch."""

    images: list[Row] = field(default_factory=list)
    failed: list[Row] = field(default_factory=list)
    stopped: bool = False


class Batch:
    """Files on their way through one job, into a folder; names: of the results, without endings.

    watch: called with the files done, parts of one included. notify: called with what the user should know of a file.
    """

    def __init__(
        self, walker: Walker, folder: Path, job: Job, watch: Callable[[float], None], notify: Callable[[str], None]
    ) -> None:
        self.walker, self.folder, self.job, self.watch, self.notify = walker, folder, job, watch, notify
        self.report, self.single = Report(), False
        self.writing: deque[tuple[Path, Future[Row]]] = deque()

    def run(self, files: Sequence[Path], names: Sequence[str]) -> Report:
        """Restores them all. Ctrl-C ends it after what is finished."""
        self.single = len(files) == 1  # whose fault the caller tells
        channels = self.walker.parts.config.restorer.channels
        with ThreadPoolExecutor(2) as pool:
            reading = ahead(pool, files, lambda file: read_image(file, channels))
            try:
                for i, (file, name, picture) in enumerate(zip(files, names, reading, strict=True)):
                    self.one(pool, i, file, name, picture)
                    self.collect(0 if large(picture) else PENDING)
                    self.watch(i + 1)
            except KeyboardInterrupt:
                self.report.stopped = True
            self.collect(0)
        return self.report

    def one(self, pool: ThreadPoolExecutor, i: int, file: Path, name: str, picture: Future[Picture]) -> None:
        """Restores a file and hands the result to be written."""
        began = time.perf_counter()
        try:
            restored = restore_picture(
                self.walker, picture.result(), self.job, watch=lambda part: self.watch(i + min(part, 0.999))
            )
        except (RethawError, OSError, MemoryError, RuntimeError) as error:
            self.fail(file, error)
            return
        for note in restored.picture.notes:
            self.notify(f"{file}: {note}")
        args = (restored, file, self.folder, name, self.job, began)
        self.writing.append((file, pool.submit(write_about, *args)))

    def collect(self, most: int) -> None:
        """Waits until no more than so many results are still being written."""
        while len(self.writing) > most:
            file, done = self.writing.popleft()
            try:
                self.report.images.append(done.result())
            except (RethawError, OSError, MemoryError) as error:
                self.fail(file, error)

    def fail(self, file: Path, error: BaseException) -> None:
        """Notes a file that could not be restored."""
        message = error.message if isinstance(error, RethawError) else f"{file}: {type(error).__name__}: {error}"
        hint = error.hint if isinstance(error, RethawError) else ""
        self.report.failed.append({"file": str(file), "error": message, "hint": hint})
        if not self.single:
            self.notify(message if str(file) in message else f"{file}: {message}")


def ahead(
    pool: ThreadPoolExecutor, files: Sequence[Path], read: Callable[[Path], Picture]
) -> Iterator[Future[Picture]]:
    """Each file as it is being read, PENDING of them in advance, but none beside a large one."""
    waiting: deque[Future[Picture]] = deque()
    for file in files:
        while waiting and (len(waiting) > PENDING or large(waiting[0])):
            yield waiting.popleft()
        waiting.append(pool.submit(read, file))
    while waiting:
        yield waiting.popleft()


def large(picture: Future[Picture]) -> bool:
    """Whether a picture, once it is read, is so large that there should be no other beside it."""
    return picture.exception() is None and picture.result().pixels.numel() > LARGE


def write_about(restored: Restored, file: Path, folder: Path, name: str, job: Job, began: float) -> Row:
    """Writes a restored image and what belongs to it; its row of the report."""
    picture = restored.picture
    write_image(folder / f"{name}.png", picture.pixels, like=picture)
    row: Row = {"file": str(file), "restored": f"{name}.png", "severity": restored.severity}
    if restored.estimated:
        row["estimated"] = True
    if job.degrade:
        write_image(folder / f"{name}-degraded.png", restored.degraded.pixels, like=restored.degraded)
        row["degraded"] = f"{name}-degraded.png"
    if job.strip:
        first, last = (pictures.reduced(each.pixels) for each in (restored.degraded, picture))
        images = [first, *(f.x0_hat for f in restored.stations), last]
        labels = ["input", *(f"x0 seen at t = {f.t:.2f}" for f in restored.stations), "restored"]
        pictures.save(pictures.strip(images, labels, title=file.name), folder / f"{name}-strip.png")
    if job.animate:
        pictures.save_animation(
            [*(f.x for f in restored.frames), pictures.reduced(picture.pixels)], folder / f"{name}.gif"
        )
    return {**row, "seconds": round(time.perf_counter() - began, 3)}


def result_names(files: Sequence[Path], given: Sequence[Path]) -> list[str]:
    """Names of results: the files' stems, below the sub-folders that they have in the folders given.

    Numbered where anything that is written for two of them would have one name; shortened where it would be too long.
    """
    roots = [path for path in given if path.is_dir()]
    taken: set[str] = set()
    names = []
    for file in files:
        root = next((root for root in roots if file.is_relative_to(root)), file.parent)
        stem = (file.parent.relative_to(root) / short(file.stem)).as_posix()
        candidates = (stem, *(f"{stem}-{n}" for n in range(2, len(files) * 4 + 3)))
        name = next(c for c in candidates if not taken & {c + ending for ending in ENDINGS})
        taken |= {name + ending for ending in ENDINGS}
        names.append(name)
    return names


def short(stem: str, most: int = 200) -> str:
    """A file's stem in at most so many bytes, so that the endings have room."""
    return stem.encode()[:most].decode(errors="ignore") if len(stem.encode()) > most else stem
