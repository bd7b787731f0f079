"""Evaluation: clean images are degraded once, restored by each contestant, and compared."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

import torch
from torch import Tensor

from rethaw.api import Figure, Metric, RethawError, State, figure
from rethaw.engine.degradation.fields import Fields
from rethaw.engine.evaluation.report import Report, Row
from rethaw.engine.evaluation.subjects import Subject, batches
from rethaw.engine.faults import broken, naming
from rethaw.engine.restorer.conditioners import Values
from rethaw.engine.sampling.how import AS_PIPELINE, How, described
from rethaw.engine.sampling.walking import Walker, last
from rethaw.ops import generators

T = TypeVar("T")
Watch = Callable[[float], None]
"""Called with the images that are done, those of each contestant counted."""

EXAMPLES = 4  # images that are kept to be looked at
DEGRADED = "degraded"


@dataclass(frozen=True)
class Contestant:
    """A way to restore: a pipeline, and how it samples. line: which contestants differ in their steps alone."""

    walker: Walker
    how: How = AS_PIPELINE
    line: str = ""

    @property
    def steps(self) -> int:
        """How many steps it walks; 1 of a sampler that does not say."""
        item = self.walker.parts.sampler_item(self.how.sampler, self.how.steps)
        return int(getattr(item.params, "steps", None) or 1)


@dataclass
class Taken:
    """What has been measured so far of a contestant, or of the degraded images themselves, by metrics by their ids.

    uses: the metrics' full names.
    """

    meters: Mapping[str, Metric]
    uses: Mapping[str, str]
    contestant: Contestant | None = None
    images: int = 0
    seconds: float = 0.0
    examples: list[Tensor] = field(default_factory=list)

    def take(self, images: Tensor, clean: Tensor) -> None:
        """Takes in a batch."""
        for key, meter in self.meters.items():
            take_in(meter, self.uses[key], images, clean)
        self.images += len(images)
        self.examples += some(images, EXAMPLES - len(self.examples))

    def row(self) -> Row:
        """As a row of a report."""
        figures = {key: figure_of(meter, key, self.uses[key]) for key, meter in self.meters.items()}
        by = self.contestant
        if by is None:
            return Row(figures, self.images, examples=self.examples)
        how = described(by.walker.parts, by.how)
        return Row(figures, self.images, self.seconds / self.images, by.line, str(by.steps), self.examples, how)


class Evaluation:
    """Contestants that are measured on more and more images.

    running: those that are still measured; the others are where they came to. refused: those that could not restore
    the images, and why.
    """

    def __init__(
        self,
        walker: Walker,
        contestants: Mapping[str, Contestant],
        severity: float | None = 1.0,
        seed: int = 0,
        watch: Watch | None = None,
        clean: bool = True,
    ) -> None:
        self.parts, self.severity, self.seed, self.watch = walker.parts, severity, seed, watch or (lambda done: None)
        self.clean = clean
        uses = {item.id: item.use for item in self.parts.config.metrics}
        self.degraded = Taken(self.parts.metrics(), uses)
        self.taken = {name: Taken(self.parts.metrics(), uses, each) for name, each in contestants.items()}
        self.running = dict(self.taken)
        self.refused: dict[str, str] = {}
        self.skipped: list[str] = []
        self.examples: list[Tensor] = []

    def run(self, files: Sequence[Subject]) -> None:
        """Measures more images. Raises RethawError where none can be read, or no contestant can restore them."""
        channels, asking = self.parts.config.restorer.channels, self.parts.degrading if self.clean else None
        for _, images, fields in beside(batches(files, channels, asking, self.skipped)):
            self.take(images.to(self.parts.device), fields)
        if not self.degraded.images:
            raise RethawError("none of the images can be read", "; ".join(islice(self.skipped, 3)))

    def take(self, images: Tensor, fields: Fields) -> None:
        """Measures one batch, of clean images or of degraded ones. fields: that the degradation asks for."""
        first, count = self.degraded.images, len(images)
        x_t, known = images, None
        own: Values = {}
        if self.clean:
            severity = 1.0 if self.severity is None else self.severity
            x_t, state = self.parts.degrade(images, severity, self.seed, first, fields)
            known, own = self.parts.known(state), self.parts.conditions_of(images, self.seed, first)
            self.examples += some(images, EXAMPLES - len(self.examples))
        for number, (name, taken) in enumerate(self.taken.items()):
            begun = first * len(self.taken) + number * count
            if name in self.running:
                try:
                    restored = self.restored(taken, x_t, known, own, begun)
                except RethawError as error:
                    self.refuse(name, error)
                else:
                    taken.take(restored, images)
            self.watch(begun + count)
        self.degraded.take(x_t, images)

    def restored(self, taken: Taken, x_t: Tensor, known: State | None, own: Values, begun: int) -> Tensor:
        """A contestant's results for a batch. own: what conditioners observe of the clean images."""
        by, count = taken.contestant, len(x_t)
        assert by is not None
        steps, began = by.steps, time.perf_counter()
        how = by.how.with_values({**own, **by.how.repeated(count).values})
        rng = generators(self.seed + 1, count, self.degraded.images)
        walk = by.walker.restoration(x_t, self.severity, how, state=known, generator=rng)
        found = last(watched(walk, lambda k: self.watch(begun + count * min(k / steps, 1)))).x
        if found.is_cuda:
            torch.cuda.synchronize(found.device)
        taken.seconds += time.perf_counter() - began
        return found

    def refuse(self, name: str, error: RethawError) -> None:
        """Goes on without a contestant; if it was the last one, the error stands."""
        del self.running[name]
        self.refused[name] = error.message
        if not self.running:
            raise error

    def report(self) -> Report:
        """What was found so far."""
        rows = {DEGRADED: self.degraded, **self.taken}
        table = {name: taken.row() for name, taken in rows.items() if name not in self.refused}
        count = self.degraded.images
        return Report(table, count, self.severity, self.seed, self.refused, self.skipped, self.examples)


def evaluate(
    walker: Walker,
    files: Sequence[Subject],
    contestants: Mapping[str, Contestant],
    severity: float | None = 1.0,
    seed: int = 0,
    watch: Watch | None = None,
    clean: bool = True,
) -> Report:
    """Measures the degraded images and each contestant's results with the pipeline's metrics.

    clean: whether the files are clean images, which are degraded to the severity; otherwise they are degraded ones, of
    that severity (None: what the run estimates), whose state nobody knows, for metrics that need no clean image.

    Samplers get the state that was drawn, or infer it where the degradation can; conditioners the contestant's
    condition (one value a field, for all images), or what they observe of the clean images, else their null. One that
    cannot restore these images is left out, and the report says why.
    """
    evaluation = Evaluation(walker, contestants, severity, seed, watch, clean)
    evaluation.run(files)
    return evaluation.report()


def some(images: Tensor, count: int) -> Tensor:
    """At most so many images of a batch, from all of it."""
    return images[:: max(1, len(images) // max(1, count))][:count].cpu()


def watched(steps: Iterator[T], watch: Callable[[int], None]) -> Iterator[T]:
    """The same items; how many there were is told before each."""
    for k, step in enumerate(steps):
        watch(k)
        yield step


def take_in(meter: Metric, name: str, image: Tensor, clean: Tensor) -> None:
    """Hands a batch to a metric, by its full name, which must leave it as it is."""
    before = image._version, clean._version
    with naming(name, "measuring"):
        meter.update(*([image, clean] if needs_clean(meter) else [image]))
    if (image._version, clean._version) != before:
        raise broken(name, "it changes the images that it measures")


def needs_clean(meter: Metric) -> bool:
    """Whether a metric compares with clean images."""
    return bool(getattr(meter, "reference", True))


def figure_of(meter: Metric, key: str, name: str) -> Figure:
    """What a metric found. key: its id; name: its full name."""
    with naming(name, "computing its value"):
        return figure(meter, key)


def beside(items: Iterator[T]) -> Iterator[T]:
    """The same items, the next of them made in a thread while one is used."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, items, None)
        while (found := coming.result()) is not None:
            coming = pool.submit(next, items, None)
            yield found
