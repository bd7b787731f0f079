"""How cold walks drift, by frequency: `python -m tests.bench.drift RUN … --data cifar10/val` prints a table a run.

Of a linear degradation that nothing is random about, from floating-point observations. Errors are told in bins of A_1,
the gain of a frequency (a singular vector) at t = 1: that of one step, how many times larger it is after a walk, and β,
how much of what earlier estimates have got wrong in x_t the restorer takes for truth. docs/experiments.md holds what
came out.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import rethaw
from rethaw.images import find_images, read_image
from rethaw.ops import expand, pseudo_inverse

EDGES = (1.0, 0.3, 0.1, 0.03, 0.01, 1e-3, 1e-4, 1e-5)
WEIGHT = 1e-14  # of the inverse that tells what an error of x_t is on the clean image: gains below 1e-7 count as none


def drift(pipeline: Any, clean: Tensor, steps: int) -> list[list[float]]:
    """For each bin of gains: its share of frequencies, one step's error, the walk's and its ratio, β, log 1/A_1."""
    degradation, y = pipeline.parts.degradation, pipeline.degrade(clean)[0]
    svd = degradation.svd(clean, expand(1.0, clean), {})
    gain = svd.s.expand(svd.Vt(clean).shape)
    bins = [(gain > low) & (gain <= high) for high, low in pairwise(EDGES)]

    def dots(a: Tensor, b: Tensor) -> Tensor:
        product = svd.Vt(a) * svd.Vt(b)
        return torch.stack([product[each].sum() for each in bins])

    def direct(x: Tensor, t: Tensor) -> Tensor:
        *_, end = pipeline.trajectory(x, t, sampler="core.direct")
        return end.x - clean

    taken, carried = clean.new_zeros(len(bins)), clean.new_zeros(len(bins))
    *walk, end = pipeline.trajectory(y, sampler="core.cold", steps=steps)
    for step in walk[1:]:
        exact = degradation.degrade(clean, step.t, {})
        error = pseudo_inverse(degradation, clean, step.t, {}, WEIGHT)(step.x - exact)
        taken += dots(step.x0_hat - clean - direct(exact, step.t), error)
        carried += dots(error, error)
    counts = torch.stack([each.sum() for each in bins])
    first, last = ((dots(e, e) / counts).sqrt() for e in (direct(y, expand(1.0, y)), end.x - clean))
    logs = torch.stack([gain[each].log().neg().mean() for each in bins])
    columns = (counts / gain.numel(), first, last, last / first, taken / carried, logs)
    return [list(map(float, row)) for row in zip(*columns, strict=True)]


def table(rows: Sequence[Sequence[float]], steps: int) -> str:
    """In Markdown, with what β and log 1/A_1 let expect of the walk."""
    head = ("gain A_1", "frequencies", "direct", f"cold {steps}", "cold / direct", "β", "by β", "log 1/A_1")
    lines = [f"| {' | '.join(head)} |", "|---|" + "---:|" * (len(head) - 1)]
    for (high, low), (share, first, last, ratio, β, log) in zip(pairwise(EDGES), rows, strict=True):
        by = (1 - math.exp(-log * (1 - β))) / (1 - β)
        cells = f"{share:.1%} | {first:.4f} | {last:.4f} | {ratio:.2f} | {β:.2f} | {by:.2f} | {log:.2f}"
        lines.append(f"| {low:g} to {high:g} | {cells} |")
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="folder of images of the size of training")
    parser.add_argument("--every", type=int, default=10, help="take every n-th image")
    parser.add_argument("--steps", type=int, default=25, help="of cold sampling")
    options = parser.parse_args()
    files = find_images([options.data])[:: options.every]
    clean = torch.stack([read_image(file, 3).pixels for file in files]).double()
    for run in options.runs:
        rows = drift(rethaw.Pipeline.load(run), clean, options.steps)
        print(f"{run}, {len(files)} images\n\n{table(rows, options.steps)}")


if __name__ == "__main__":
    main()
