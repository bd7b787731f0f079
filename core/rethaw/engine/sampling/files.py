"""Restoring people's files: read, restored in their own size, colours and depth, written; many side by side."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from rethaw import pictures
from rethaw.api import RethawError, State
from rethaw.engine.sampling.film import Film, Frame
from rethaw.engine.sampling.how import AS_PIPELINE, How
from rethaw.engine.sampling.walking import Walker, last
from rethaw.images import Picture, read_image, to_picture, write_image
from rethaw.ops import expand, generators, rand

STATIONS, FRAMES = 8, 40
PENDING = 2
"""Files that are read ahead, and results that wait for being written."""

ENDINGS = (".png", "-strip.png", "-degraded.png", ".gif")
"""What is written about an image, after its name."""


@dataclass(frozen=True)
class Job:
    """What to do with each image.

    severity: of the image; None: what the run estimates, else 1. degrade: the image is clean and degraded first.
    state: a known state, by key the file that holds it. strip, animate: whether stations of the way are kept for them.
    """

    severity: float | None = None
    how: How = AS_PIPELINE
    degrade: bool = False
    state: Mapping[str, Path] = field(default_factory=dict)
    strip: bool = False
    animate: bool = False


class Restored(NamedTuple):
    """A restored picture, like the one it was made from; at which severity, and what was kept of the way."""

    picture: Picture
    degraded: Picture
    severity: float
    estimated: bool
    stations: list[Frame]
    frames: list[Frame]


def restore_picture(walker: Walker, picture: Picture, job: Job, index: int = 0, state: State | None = None) -> Restored:
    """Restores a picture; its transparency, greyness, depth and metadata stay. index: its number, for the seed."""
    seed, x = walker.seed(job.how), picture.pixels[None].to(walker.parts.device)
    how, state = job.how, state or given_state(job.state, x)
    if job.degrade:
        x, drawn = walker.parts.degrade(x, 1.0 if job.severity is None else job.severity, seed, index)
        own = walker.parts.conditions_of(picture.pixels[None], seed, index)
        how, state = how.with_values({**own, **how.values}), walker.parts.known(drawn)
    severity, estimated = severity_of(walker, x, job)
    stations, frames = Film(STATIONS * job.strip), Film(FRAMES * job.animate)
    for step in walker.restoration(x, severity, how, state=state, generator=generators(seed, 1, index)):
        stations.add(step, 0)
        frames.add(step, 0)
    coloured = picture.grey and makes_colour(walker, x)
    restored = replace(picture, pixels=step.x[0].cpu(), grey=picture.grey and not coloured)
    seen = replace(picture, pixels=x[0].cpu())
    return Restored(restored, seen, severity, estimated, [f for f in stations.frames if f.t > 0], frames.frames)


def severity_of(walker: Walker, x: Tensor, job: Job) -> tuple[float, bool]:
    """How degraded an image is, and whether that is an estimate: as given, else as the run estimates it, else fully."""
    if job.severity is not None:
        return job.severity, False
    if job.degrade or walker.parts.measurement or not walker.estimates:
        return 1.0, False
    return float(walker.estimate(x)), True


def given_state(files: Mapping[str, Path], x: Tensor) -> State | None:
    """The state that a user gives by files, as values in [0, 1]; None without one."""
    found = {}
    for key, file in files.items():
        values = (read_image(Path(file), 1).pixels[None].to(x) + 1) / 2
        if values.shape[-2:] != x.shape[-2:]:
            raise RethawError(
                f"--state {key}: {file} is {values.shape[-1]}×{values.shape[-2]} pixels, "
                f"the image {x.shape[-1]}×{x.shape[-2]}"
            )
        found[key] = values
    return found or None


def makes_colour(walker: Walker, like: Tensor) -> bool:
    """Whether the degradation leaves no colour in images like (1, 3, H, W), so that a grey file becomes coloured."""
    if like.shape[1] != 3:
        return False
    degradation, rng = walker.parts.degradation, generators(0, 1)
    colours = rand(like, rng) * 2 - 1
    x = degradation.degrade(colours, expand(1.0, colours), degradation.draw(colours, generators(0, 1)))
    return bool((x - x.mean(1, keepdim=True)).abs().max() < 1e-3)


def restore_images(walker: Walker, images: Any, severity: float | Tensor | None, how: How, state: State | None) -> Any:
    """Restores images that are degraded already: by the measurement, if there is one.

    A tensor (B, C, H, W) gives a tensor. A picture (a path, PIL image or numpy array) gives a `Picture` as `rethaw
    restore` would write it, with `save(path)`, a list gives a list, of tensors where it has tensors (C, H, W). severity: one for
    all, one for each image (B,), or None for what the run estimates (1 where it has not learnt to). state: of each
    image, batch first.
    """
    if isinstance(images, Tensor):
        return last(walker.restoration(images, severity, how, state=state)).x
    if not isinstance(images, (list, tuple)):
        return restore_images(walker, [images], severity, how, state)[0]
    found: list[Picture | Tensor] = []
    for i, image in enumerate(images):
        picture = to_picture(image, walker.parts.config.restorer.channels)
        own = float(severity[i]) if isinstance(severity, Tensor) and severity.dim() else severity
        job = Job(None if own is None else float(own), how.of_images(i, 1))
        restored = restore_picture(walker, picture, job, i, state).picture
        found.append(restored.pixels if isinstance(image, Tensor) else restored)
    return found


# --- many files --------------------------------------------------------------------------------------------------


@dataclass
class Report:
    """What became of the files of a batch."""

    images: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)
    stopped: bool = False

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"images": self.images, "failed": self.failed}


def restore_files(
    walker: Walker,
    files: Sequence[Path],
    names: Sequence[str],
    folder: Path,
    job: Job,
    watch: Callable[[int], None],
    notify: Callable[[str], None],
) -> Report:
    """Restores files into a folder; one that fails is named in the report and the rest goes on.

    Files are read and results written in threads beside the restoring. Ctrl-C ends it after what is finished. watch:
    called with the files done. notify: called with what the user should know of a file.
    """
    report = Report()
    channels = walker.parts.config.restorer.channels
    with ThreadPoolExecutor(2) as pool:
        writing: deque[Future[dict[str, Any]]] = deque()
        reading = ahead(pool, files, lambda file: read_image(file, channels))
        try:
            for i, (file, name, picture) in enumerate(zip(files, names, reading, strict=True)):
                try:
                    began = time.perf_counter()
                    restored = restore_picture(walker, picture.result(), job)
                    writing.append(pool.submit(write_about, restored, file, folder, name, job, began))
                    for note in restored.picture.notes:
                        notify(f"{file}: {note}")
                except RethawError as error:
                    if len(files) == 1:
                        raise
                    report.failed.append({"file": str(file), "error": error.message})
                    notify(error.message)
                while len(writing) > PENDING:
                    report.images.append(writing.popleft().result())
                watch(i + 1)
        except KeyboardInterrupt:
            report.stopped = True
        report.images += [done.result() for done in writing]
    return report


def ahead(
    pool: ThreadPoolExecutor, files: Sequence[Path], read: Callable[[Path], Picture]
) -> Iterator[Future[Picture]]:
    """Each file as it is being read, PENDING of them in advance."""
    waiting: deque[Future[Picture]] = deque()
    for file in files:
        waiting.append(pool.submit(read, file))
        if len(waiting) > PENDING:
            yield waiting.popleft()
    yield from waiting


def write_about(restored: Restored, file: Path, folder: Path, name: str, job: Job, began: float) -> dict[str, Any]:
    """Writes a restored image and what belongs to it; its row of the report."""
    picture = restored.picture
    write_image(folder / f"{name}.png", picture.pixels, like=picture)
    row: dict[str, Any] = {"file": str(file), "restored": f"{name}.png", "severity": restored.severity}
    if restored.estimated:
        row["estimated"] = True
    if job.degrade:
        write_image(folder / f"{name}-degraded.png", restored.degraded.pixels, like=restored.degraded)
        row["degraded"] = f"{name}-degraded.png"
    if job.strip:
        images = [restored.degraded.pixels, *(f.x0_hat for f in restored.stations), picture.pixels]
        labels = ["input", *(f"x0 seen at t = {f.t:.2f}" for f in restored.stations), "restored"]
        pictures.save(pictures.strip(images, labels, title=file.name), folder / f"{name}-strip.png")
    if job.animate:
        pictures.save_animation([*(f.x for f in restored.frames), picture.pixels], folder / f"{name}.gif")
    return {**row, "seconds": round(time.perf_counter() - began, 3)}


def unique_names(files: Sequence[Path]) -> list[str]:
    """The files' stems, numbered where anything that is written for two of them would have one name."""
    taken: set[str] = set()
    names = []
    for file in files:
        candidates = (file.stem, *(f"{file.stem}-{n}" for n in range(2, len(files) * 4 + 3)))
        name = next(c for c in candidates if not taken & {c + ending for ending in ENDINGS})
        taken |= {name + ending for ending in ENDINGS}
        names.append(name)
    return names
