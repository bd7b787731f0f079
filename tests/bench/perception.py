"""Perception against distortion: `python -m tests.bench.perception --data cifar10/` trains, restores, measures.

Trains a restorer of CIFAR-10's published blur (DATA/train), restores DATA/val in one step and by cold sampling in
several, and prints RMSE, feature distance and KID of each with their 95 % intervals, on features without any download.
What is trained already is not trained again. Everything of the pipeline can be set after the options:
`observation.bits=8 train.steps=300`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import rethaw
from rethaw.api import Figure, figure
from rethaw.files import write_text
from rethaw.images import find_images, read_image

BATCH = 256
PIPELINE = """
version: 1
data: {{use: core.folder, path: {data}/train, size: 32}}
degradation: {{use: kornia.cumulative_blur, routine: special_6, steps: 50, levels: 50}}
backbone: {{use: core.unet}}
restorer: {{prediction: residual}}
sampler: {{use: core.cold}}
metrics:
  - core.rmse
  - {{use: perceptual.feature_distance, features: lite0}}
  - {{use: perceptual.kid, features: lite0}}
train: {{steps: 700, batch_size: 32, lr: 1.5e-3, weight_decay: 0.01}}
"""


def trained(folder: Path, data: Path, overrides: Sequence[str]) -> Any:
    """The pipeline, trained into the folder or loaded from it."""
    if not (folder / "done").exists():
        write_text(folder / "pipeline.yaml", PIPELINE.format(data=data))
        began, pipeline = time.perf_counter(), rethaw.Pipeline.from_yaml(folder / "pipeline.yaml", overrides)
        if not pipeline.train(folder, resume=(folder / "checkpoint.pt").is_file()).finished:
            raise SystemExit("stopped; the same command goes on")
        write_text(folder / "done", f"{time.perf_counter() - began:.0f} s\n")
    return rethaw.Pipeline.load(folder, [o for o in overrides if not o.startswith("train.")])


def restorations(pipeline: Any, clean: Tensor, seed: int, steps: Sequence[int]) -> Iterator[tuple[str, Tensor]]:
    """The degraded images, and what one step and each number of cold steps make of them."""
    x, state = pipeline.degrade(clean, seed=seed)
    yield "degraded", x
    for name, sampler, count in [("direct", "core.direct", 1), *((f"cold {n}", "core.cold", n) for n in steps)]:
        given = {"state": pipeline.parts.known(state), "sampler": sampler, "steps": count, "seed": seed}
        yield name, pipeline.restore(x, 1.0, **given)


def measured(pipeline: Any, files: Sequence[Path], steps: Sequence[int]) -> dict[str, list[Figure]]:
    """The figures of each row, in the order of the pipeline's metrics."""
    meters: dict[str, dict[str, Any]] = {}
    for first in range(0, len(files), BATCH):
        clean = torch.stack([read_image(file, 3).pixels for file in files[first : first + BATCH]])
        for name, image in restorations(pipeline, clean.to(pipeline.parts.device), first, steps):
            for meter in meters.setdefault(name, pipeline.parts.metrics()).values():
                meter.update(image, clean.to(image.device))
    return {row: [figure(meter, name) for name, meter in of.items()] for row, of in meters.items()}


def table(rows: dict[str, list[Figure]]) -> str:
    """In Markdown: a column for each label, intervals after the figures."""
    labels = [found.label for found in next(iter(rows.values()))]
    lines = [f"| | {' | '.join(labels)} |", "|---|" + "---:|" * len(labels)]
    for row, figures in rows.items():
        cells = [f"{f.value:.4f}" + (" ({:.4f} to {:.4f})".format(*f.interval) if f.interval else "") for f in figures]
        lines.append(f"| {row} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"{figures[0].images} images", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with train/ and val/")
    parser.add_argument("--out", type=Path, default=Path("experiments/perception"))
    parser.add_argument("--every", type=int, default=1, help="take every n-th image of val/")
    parser.add_argument("--steps", type=int, nargs="*", default=[3, 10, 25, 50], help="of cold sampling")
    parser.add_argument("overrides", nargs="*", help="of the pipeline: train.steps=300")
    options = parser.parse_intermixed_args()
    pipeline = trained(options.out, options.data.absolute(), options.overrides)
    found = table(measured(pipeline, find_images([options.data / "val"])[:: options.every], options.steps))
    write_text(options.out / "table.md", found)
    print(found)


if __name__ == "__main__":
    main()
