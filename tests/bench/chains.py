"""`python -m tests.bench.chains`: images a second of Real-ESRGAN's chain in batches, beside the loop of its users.

The loop is `photo_loop.second_order`: image by image, kernels by kornia, sizes by torch, JPEG by Pillow, on the same
thread. Times are the process's own, so that other work on the machine counts little; photographs are of scikit-image.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping

import torch

import rethaw
from rethaw.ops import expand
from tests.bench.photo_loop import second_order

CASES = ((64, 16), (128, 16), (256, 8))
"""Side and number of images."""


def run(rounds: int = 15) -> Iterator[str]:
    """Markdown lines: images a second of both."""
    pipeline = rethaw.Pipeline.from_yaml("real-esrgan", device="cpu")
    d, rng = pipeline.parts.degradation, random.Random(0)
    yield "| images | rethaw, images/s | loop, images/s | ratio |"
    yield "|---|---:|---:|---:|"
    for side, count in CASES:
        photos = rethaw.build("dataset", "core.photos", size=side)
        x = torch.stack([photos.item(i, torch.Generator().manual_seed(i))["image"] for i in range(count)])
        t, unit, generator = expand(1.0, x), (x + 1) / 2, torch.Generator().manual_seed(0)
        contest = {
            "ours": lambda x=x, t=t, g=generator: d.degrade(x, t, d.draw(x, g)),
            "loop": lambda unit=unit: [second_order(each[None], rng) for each in unit],
        }
        found = medians(contest, rounds)
        ours, loop = (count / found[key] for key in ("ours", "loop"))
        yield f"| {count} of {side} px | {ours:.0f} | {loop:.0f} | {ours / loop:.1f} |"


def medians(contestants: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """CPU seconds a call, the median over rounds in which each contestant runs once, after one warm-up."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    with torch.no_grad():
        for _ in range(rounds + 1):
            for name, call in contestants.items():
                start = time.process_time()
                call()
                times[name].append(time.process_time() - start)
    return {name: statistics.median(values[1:]) for name, values in times.items()}


def main() -> None:
    torch.set_num_threads(1)
    for line in run():
        print(line, flush=True)


if __name__ == "__main__":
    main()
