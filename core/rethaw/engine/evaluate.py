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

from rethaw.api import RethawError
from rethaw.config.model import Guidance
from rethaw.engine.pipeline import Pipeline
from rethaw.engine.restorer.conditioners import Values
from rethaw.engine.sampling.walking import last
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


def batches(paths: Iterable[Path], pipeline: Pipeline, skipped: list[str]) -> Iterator[Tensor]:
    """Images in batches of one size, in order; files that cannot be read are listed and left out."""
    held: list[Tensor] = []
    for path in paths:
        try:
            image = pipeline.tensor(path)
        except RethawError as error:
            skipped.append(error.message)
            continue
        if held and (held[0].shape != image.shape or (len(held) + 1) * image[0].numel() > PIXELS):
            yield torch.stack(held)
            held = []
        held.append(image)
    if held:
        yield torch.stack(held)


def evaluate(
    pipeline: Pipeline,
    paths: Sequence[Path],
    samplers: Sequence[str],
    severity: float = 1.0,
    steps: int | None = None,
    seed: int = 0,
    watch: Callable[[int], None] | None = None,
    cond: Mapping[str, str] | None = None,
    guidance: Guidance | float | None = None,
) -> Report:
    """Measures the degraded images and each sampler's results with the pipeline's metrics.

    Samplers get the state that was drawn, or infer it where the degradation can; conditioners what `cond` says for all
    images, by field, or what they observe of the clean images, else their null. watch: called with images done.
    """
    names = ["degraded", *samplers]
    meters = {
        name: {item.id: pipeline.registry.build("metric", item.use, item.params) for item in pipeline.config.metrics}
        for name in names
    }
    report = Report({}, 0, severity, dict.fromkeys(samplers, 0.0))
    for clean in batches(paths, pipeline, report.skipped):
        clean = clean.to(pipeline.device)
        x_t, state = pipeline.degrade(clean, severity, seed, report.images)
        told: Values = {key: [value] * len(clean) for key, value in (cond or {}).items()}
        results, told = {"degraded": x_t}, {**pipeline.observed(clean, seed, report.images), **told}
        for name in samplers:
            began = time.perf_counter()
            rng = generators(seed + 1, len(clean), report.images)
            walk = pipeline.restoration(
                x_t,
                severity,
                state=pipeline.known(state),
                sampler=name,
                steps=steps,
                cond=told,
                guidance=guidance,
                generator=rng,
            )
            results[name] = last(walk).x
            report.seconds[name] += time.perf_counter() - began
        for name, image in results.items():
            for meter in meters[name].values():
                meter.update(image, clean)
        if not report.images:
            report.example = {"clean": clean[0].cpu(), **{name: image[0].cpu() for name, image in results.items()}}
        report.images += len(clean)
        if watch:
            watch(report.images)
    if not report.images:
        raise RethawError("none of the images can be read", "; ".join(islice(report.skipped, 3)))
    report.rows = {name: {key: float(meter.compute()) for key, meter in meters[name].items()} for name in names}
    report.seconds = {name: seconds / report.images for name, seconds in report.seconds.items()}
    return report
