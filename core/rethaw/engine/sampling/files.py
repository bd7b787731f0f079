"""Restoring a person's picture: in its own size, colours and depth, with what the file says beside the pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from rethaw.api import RethawError, State
from rethaw.engine.degradation.hosted import Hosted
from rethaw.engine.restorer.tiles import tile_progress
from rethaw.engine.sampling import enlarging
from rethaw.engine.sampling.film import Film, Frame
from rethaw.engine.sampling.how import AS_PIPELINE, How
from rethaw.engine.sampling.walking import Walker, last
from rethaw.images import Picture, Result, enlarged, read_image, read_state, repeated, to_picture
from rethaw.ops import expand, generators, rand

STATIONS, FRAMES = 8, 40

Watch = Callable[[float], None]
"""Called with the part of the work that is done."""


@dataclass(frozen=True)
class Job:
    """What to do with each image.

    severity: of the image; None: what the run estimates, else 1. degrade: the image is clean and degraded first.
    state: a known state, by key the file that holds it. strip, animate: whether stations of the way are kept for them.
    enlarge: how many times as high and wide it becomes; None: as the pipeline says.
    """

    severity: float | None = None
    how: How = AS_PIPELINE
    degrade: bool = False
    state: Mapping[str, Path] = field(default_factory=dict)
    strip: bool = False
    animate: bool = False
    enlarge: int | None = None


class Restored(NamedTuple):
    """A restored picture, like the one it was made from; at which severity, and what was kept of the way."""

    picture: Result
    degraded: Picture
    severity: float
    estimated: bool
    stations: list[Frame]
    frames: list[Frame]


class Place:
    """How far a walk has come, by stations and by the tiles of the one to come; it never goes back."""

    def __init__(self, watch: Watch) -> None:
        self.watch, self.done, self.of, self.told = watch, 0, 1, 0.0

    def move(self, done: int, of: int) -> None:
        """So many stations of so many are done."""
        self.done, self.of = done, of
        self.within(0.0)

    def within(self, part: float) -> None:
        """A part of the next one is done as well."""
        self.told = max(self.told, min((self.done + part) / self.of, 1.0))
        self.watch(self.told)


def restore_picture(
    walker: Walker,
    picture: Picture,
    job: Job,
    index: int = 0,
    state: State | None = None,
    watch: Watch = lambda _: None,
) -> Restored:
    """Restores a picture; its transparency, greyness, depth and metadata stay. index: its number, for the seed."""
    ratio, job, told = enlarging_job(walker, job)
    picture = enlarged(picture, ratio) if ratio > 1 else picture
    seed, x = walker.seed(job.how), picture.pixels[None].to(walker.parts.device)
    fields = walker.parts.degrading.fields
    how, (state, notes) = job.how, (state, ()) if state else given_state(job.state, x, fields)
    if job.degrade:
        x, drawn = walker.parts.degrade(x, 1.0 if job.severity is None else job.severity, seed, index)
        own = walker.parts.conditions_of(picture.pixels[None], seed, index)
        how, state = how.with_values({**own, **how.values}), walker.parts.known(drawn)
    severity, estimated = severity_of(walker, x, job)
    stations, frames = Film(STATIONS * job.strip), Film(FRAMES * job.animate)
    place, rng = Place(watch), walker.draws(job.how, 1, index)
    with tile_progress(place.within):
        for step in walker.restoration(x, severity, how, state=state, generator=rng, watch=place.move):
            stations.add(step, 0)
            frames.add(step, 0)
    coloured = picture.grey and makes_colour(walker, x)
    pixels, grey = step.x[0].cpu(), picture.grey and not coloured
    restored = Result(**{**vars(picture), "pixels": pixels, "grey": grey, "notes": picture.notes + told + notes})
    seen = replace(picture, pixels=x[0].cpu())
    return Restored(restored, seen, severity, estimated, [f for f in stations.frames if f.t > 0], frames.frames)


def enlarging_job(walker: Walker, job: Job) -> tuple[int, Job, tuple[str, ...]]:
    """How many times as large a picture becomes, the job with the severity of that, and what to say of it.

    Clean pictures, which are degraded first, stay as large as they are.
    """
    ratio = 1 if job.degrade else job.enlarge or walker.parts.config.restorer.enlarge
    if ratio == 1 or job.severity is not None:
        return ratio, job, ()
    by = walker.parts.measurement.degradation if walker.parts.measurement else walker.parts.degradation
    severity, notes = enlarging.severity_of(by, ratio, walker.parts.config.restorer.channels)
    return ratio, replace(job, severity=severity), notes


def severity_of(walker: Walker, x: Tensor, job: Job) -> tuple[float, bool]:
    """How degraded an image is, and whether that is an estimate: as given, else as the run estimates it, else fully."""
    if job.severity is not None:
        return job.severity, False
    if job.degrade or walker.parts.measurement or not walker.estimates:
        return 1.0, False
    return float(walker.estimate(x)), True


def given_state(files: Mapping[str, Path], x: Tensor, fields: Sequence[str]) -> tuple[State | None, tuple[str, ...]]:
    """The state that a user gives by files, and what to say of it; None without one.

    As values in [0, 1]; what is a field of the data's items, as images like x.
    """
    found: dict[str, Tensor] = {}
    notes: tuple[str, ...] = ()
    for key, file in files.items():
        values, own = image_of(file, x) if key.rpartition(".")[2] in fields else read_state(file, key)
        if values.shape[-2:] != x.shape[-2:]:
            raise RethawError(
                f"--state {key}: {file} is {values.shape[-1]}×{values.shape[-2]} pixels, "
                f"the image {x.shape[-1]}×{x.shape[-2]}"
            )
        found[key], notes = values[None].to(x), notes + own
    return found or None, notes


def image_of(file: Path, like: Tensor) -> tuple[Tensor, tuple[str, ...]]:
    """A file's image with the channels of `like`, and what to say of it."""
    picture = read_image(file, like.shape[1])
    return picture.pixels, tuple(picture.notes)


def makes_colour(walker: Walker, like: Tensor) -> bool:
    """Whether the degradation leaves no colour in images like (1, 3, H, W), so that a grey file becomes coloured."""
    if like.shape[1] != 3:
        return False
    try:
        return loses_colour(walker.parts.degradation, like[..., :64, :64])  # a corner tells, and is no large picture
    except RethawError:  # it is made for pictures of that size
        return loses_colour(walker.parts.degradation, like)


def loses_colour(degradation: Hosted, like: Tensor) -> bool:
    """Whether a degradation leaves no colour in images like (1, 3, H, W)."""
    colours = rand(like, generators(0, 1)) * 2 - 1
    x = degradation.degrade(colours, expand(1.0, colours), degradation.stand_in(colours))
    return bool((x - x.mean(1, keepdim=True)).abs().max() < 1e-3)


def restore_images(
    walker: Walker,
    images: Any,
    severity: float | Tensor | None,
    how: How,
    state: State | None,
    enlarge: int | None = None,
) -> Any:
    """Restores images that are degraded already: by the measurement, if there is one.

    A tensor (B, C, H, W) gives a tensor. A picture (a path, PIL image or numpy array) gives a `Result` as `rethaw
    restore` would write it, with `save(path)`; a list gives a list, of tensors where it has tensors (C, H, W).
    severity: one for all, one for each image (B,), or None for what the run estimates (1 where it has not learnt to).
    state: of each image, batch first. enlarge: how many times as high and wide the results are; None: as the pipeline
    says.
    """
    if isinstance(images, Tensor):
        ratio, job, _ = enlarging_job(walker, Job(enlarge=enlarge))
        images, severity = repeated(images, ratio), job.severity if severity is None else severity
        return last(walker.restoration(images, severity, how, state=state)).x
    if not isinstance(images, (list, tuple)):
        return restore_images(walker, [images], severity, how, state, enlarge)[0]
    found: list[Picture | Tensor] = []
    for i, image in enumerate(images):
        picture = to_picture(image, walker.parts.config.restorer.channels)
        own = float(severity[i]) if isinstance(severity, Tensor) and severity.dim() else severity
        job = Job(None if own is None else float(own), how.of_images(i, 1), enlarge=enlarge)
        its = state and {key: v[i : i + 1] if len(v) == len(images) else v for key, v in state.items()}
        restored = restore_picture(walker, picture, job, i, its).picture
        found.append(restored.pixels if isinstance(image, Tensor) else restored)
    return found
