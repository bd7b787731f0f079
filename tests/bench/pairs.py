"""Pairs and no formula: `python -m tests.bench.pairs --data cifar10/` makes pairs, trains, restores, measures.

The pairs are images of DATA/train and DATA/val and what a chain has left of them that no pipeline is told: a blur,
noise and JPEG, each of a strength drawn for each image. `core.pair` is trained on them, plainly and as a noisy bridge,
about ten minutes of one core each. One step (direct) and InDI's walk of 3, 10 and 25 steps (cold sampling with inferred
state; of the noisy bridge, drawn anew in each step) restore the pairs of DATA/val: a table, a plot and a sheet of
pictures in OUT. What is made or trained already is not made again. Everything of the pipelines can be set after the
options: `train.steps=300`.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from rethaw.config.components import parse_component
from rethaw.engine.evaluation.evaluate import Contestant, evaluate
from rethaw.engine.evaluation.grid import grid
from rethaw.engine.evaluation.subjects import subjects
from rethaw.engine.sampling.walking import Walker
from rethaw.files import write_text
from rethaw.images import find_images, some
from tests.bench.perception import trained

PIPELINE = """
version: 1
data: {{use: core.pairs, path: {data}/train, size: 32}}
degradation: {{use: core.pair}}
backbone: {{use: core.unet}}
restorer: {{prediction: residual}}
sampler: {{use: core.cold, state: inferred}}
metrics:
  - core.rmse
  - core.ssim
  - {{use: perceptual.kid, features: lite0}}
train: {{steps: 4500, batch_size: 32, lr: 1.5e-3, weight_decay: 0.01, checkpoint_every: 500}}
"""
TRAININGS: Mapping[str, tuple[list[str], str]] = {
    "plain": ([], "core.cold"),
    "bridge": (["degradation.noise=0.25"], "core.renoise"),
}
"""By name, what is set, and the sampler of the walk."""
BLUR, NOISE, QUALITY = (0.4, 1.2), (4.0, 16.0), (25, 70)
STEPS = [3, 10, 25]


def chain(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Blur (deviation in pixels), noise (deviation of 255), JPEG, each of a random strength."""
    blurred = np.asarray(image.filter(ImageFilter.GaussianBlur(rng.uniform(*BLUR))), np.float32)
    noisy = blurred + rng.uniform(*NOISE) * rng.standard_normal(blurred.shape, np.float32)
    held = io.BytesIO()
    Image.fromarray(noisy.round().clip(0, 255).astype(np.uint8)).save(held, "JPEG", quality=int(rng.integers(*QUALITY)))
    return Image.open(held).convert("RGB")


def make_pairs(source: Path, folder: Path, count: int) -> None:
    """At most so many images and what the chain leaves of them, in folder/clean and folder/degraded."""
    if (folder / "done").exists():
        return
    for side in ("clean", "degraded"):
        (folder / side).mkdir(parents=True, exist_ok=True)
    for i, path in enumerate(some(find_images([source]), count)):
        image = Image.open(path).convert("RGB")
        image.save(folder / "clean" / f"{i:05d}.png")
        chain(image, np.random.default_rng(i)).save(folder / "degraded" / f"{i:05d}.png")
    write_text(folder / "done", f"{count}\n")


def contestants(name: str, walker: Walker, sampler: str) -> dict[str, Contestant]:
    """One step, and the walks."""
    given = {"state": "inferred"} if sampler == "core.cold" else {}
    walk = parse_component(sampler, "sampler", walker.parts.registry, given)
    found = grid(walker, ["core.direct", walk], STEPS)
    return {f"{name}, {key}": replace(each, line=name) for key, each in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with train/ and val/")
    parser.add_argument("--out", type=Path, default=Path("experiments/pairs"))
    parser.add_argument("--pairs", type=int, default=10_000, help="to train on")
    parser.add_argument("--images", type=int, default=1000, help="to measure on")
    parser.add_argument("--only", choices=list(TRAININGS), help="one of the two trainings")
    parser.add_argument("overrides", nargs="*", help="of the pipelines: train.steps=300")
    options = parser.parse_intermixed_args()
    out = options.out.absolute()
    for name, count in (("train", options.pairs), ("val", options.images)):
        make_pairs(options.data / name, out / name, count)
    walkers, given = {}, dict[str, Contestant]()
    for name in [options.only] if options.only else TRAININGS:
        own, sampler = TRAININGS[name]
        walkers[name] = trained(out / name, out, [*own, *options.overrides], PIPELINE).walker
        given |= contestants(name, walkers[name], sampler)
    first, skipped = next(iter(walkers.values())), list[str]()
    report = evaluate(first, subjects(first.parts, [out / "val"], skipped), given)
    report.save(out, took={name: (out / name / "done").read_text() for name in walkers})
    print(report.markdown(), *skipped, *report.skipped, sep="\n")


if __name__ == "__main__":
    main()
