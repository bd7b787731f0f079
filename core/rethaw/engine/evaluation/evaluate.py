"""Evaluation: clean images are degraded, restored by each sampler, and compared."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rethaw.api import Metric, RethawError
from rethaw.engine.faults import broken, naming
from rethaw.engine.sampling.how import How
from rethaw.engine.sampling.walking import Walker, last
from rethaw.images import UnreadableImage, read_image
from rethaw.ops import generators

PIXELS = 16 * 256 * 256  # that are restored at once


@dataclass
class Report:
    """What an evaluation found: by row (degraded, and each sampler) the value of each metric."""

    rows: dict[str, dict[str, float]]
    images: int
    severity: float
    seconds: dict[str, float]
    skipped: list[str] = field(default_factory=list)
    example: dict[str, Tensor] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "images": self.images,
            "severity": self.severity,
            "rows": self.rows,
            "seconds_per_image": self.seconds,
            "skipped": self.skipped,
        }

    def markdown(self) -> str:
        """A table."""
        names = list(next(iter(self.rows.values())))
        lines = [
            "| | " + " | ".join(name.upper() for name in names) + " | s/image |",
            "|---|" + "---:|" * (len(names) + 1),
        ]
        for row, values in self.rows.items():
            cells = [f"{values[name]:.{decimals(name)}f}" for name in names]
            lines.append(
                f"| {row} | {' | '.join(cells)} | {f'{self.seconds[row]:.2f}' if row in self.seconds else ''} |"
            )
        return "\n".join(lines)


def decimals(metric: str) -> int:
    return 2 if metric == "psnr" else 4


def batches(paths: Iterable[Path], channels: int, skipped: list[str]) -> Iterator[tuple[list[Path], Tensor]]:
    """Images in batches of one size, in order, with their files; those that cannot be read are listed and left out."""
    files: list[Path] = []
    held: list[Tensor] = []
    for path in paths:
        try:
            image = read_image(path, channels).pixels
        except UnreadableImage as error:
            skipped.append(error.message)
            continue
        if held and (held[0].shape != image.shape or (len(held) + 1) * image[0].numel() > PIXELS):
            yield files, torch.stack(held)
            files, held = [], []
        files.append(path)
        held.append(image)
    if held:
        yield files, torch.stack(held)


def evaluate(
    walker: Walker,
    paths: Sequence[Path],
    contestants: Mapping[str, How],
    severity: float = 1.0,
    seed: int = 0,
    watch: Callable[[int], None] | None = None,
) -> Report:
    """Measures the degraded images and each contestant's results with the pipeline's metrics.

    Samplers get the state that was drawn, or infer it where the degradation can; conditioners the contestant's
    condition (one value a field, for all images), or what they observe of the clean images, else their null. watch:
    called with images done.
    """
    names = ["degraded", *contestants]
    meters = {name: walker.parts.metrics() for name in names}
    report = Report({}, 0, severity, dict.fromkeys(contestants, 0.0))
    for _, batch in batches(paths, walker.parts.config.restorer.channels, report.skipped):
        clean = batch.to(walker.parts.device)
        results = restorations(walker, clean, contestants, report, seed)
        for name, image in results.items():
            for key, meter in meters[name].items():
                take_in(meter, key, image, clean)
        if not report.images:
            report.example = {"clean": clean[0].cpu(), **{name: image[0].cpu() for name, image in results.items()}}
        report.images += len(clean)
        if watch:
            watch(report.images)
    if not report.images:
        raise RethawError("none of the images can be read", "; ".join(islice(report.skipped, 3)))
    report.rows = {name: {key: value_of(meter, key) for key, meter in meters[name].items()} for name in names}
    report.seconds = {name: seconds / report.images for name, seconds in report.seconds.items()}
    return report


def take_in(meter: Metric, name: str, image: Tensor, clean: Tensor) -> None:
    """Hands a batch to a metric, which must leave it as it is."""
    before = image._version, clean._version
    with naming(f"the metric {name}", "measuring"):
        meter.update(image, clean)
    if (image._version, clean._version) != before:
        raise broken(f"the metric {name}", "it changes the images that it measures")


def value_of(meter: Metric, name: str) -> float:
    """What a metric found."""
    with naming(f"the metric {name}", "computing its value"):
        return float(meter.compute())


def restorations(
    walker: Walker, clean: Tensor, contestants: Mapping[str, How], report: Report, seed: int
) -> dict[str, Tensor]:
    """A batch degraded, and restored by each contestant; the seconds are added to the report."""
    x_t, state = walker.parts.degrade(clean, report.severity, seed, report.images)
    own = walker.parts.conditions_of(clean, seed, report.images)
    results = {"degraded": x_t}
    for name, how in contestants.items():
        began = time.perf_counter()
        values = {**own, **how.repeated(len(clean)).values}
        rng = generators(seed + 1, len(clean), report.images)
        walk = walker.restoration(
            x_t, report.severity, how.with_values(values), state=walker.parts.known(state), generator=rng
        )
        results[name] = last(walk).x
        report.seconds[name] += time.perf_counter() - began
    return results
