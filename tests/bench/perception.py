"""Perception against distortion: `python -m tests.bench.perception --data cifar10/` trains, restores, measures.

For floating-point and for 8-bit observations of CIFAR-10's published blur, a restorer is trained on DATA/train, plainly
and by unfolded training, about ten minutes of two cores each. All settings of direct and cold sampling restore
DATA/val: a table, a plot and a sheet of pictures in OUT/float and OUT/8-bit. The setting marked as chosen is what
`rethaw tune` chooses on images of DATA/train: the lowest KID among those whose RMSE is near the lowest. What is trained
already is not trained again. Everything of the pipelines can be set after the options: `train.steps=300`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import rethaw
from rethaw.config.model import Consistency
from rethaw.engine.evaluation.aim import Aim
from rethaw.engine.evaluation.evaluate import Contestant, evaluate
from rethaw.engine.evaluation.tune import settings, tune
from rethaw.engine.sampling.walking import Walker
from rethaw.files import write_text
from rethaw.images import find_images, some

PIPELINE = """
version: 1
data: {{use: core.folder, path: {data}/train, size: 32}}
degradation: {{use: kornia.cumulative_blur, routine: special_6, steps: 50, levels: 50}}
backbone: {{use: core.unet}}
restorer: {{prediction: residual}}
sampler: {{use: core.cold}}
metrics:
  - core.rmse
  - core.ssim
  - {{use: perceptual.feature_distance, features: lite0}}
  - {{use: perceptual.kid, features: lite0}}
train: {{batch_size: 32, lr: 1.5e-3, weight_decay: 0.01, checkpoint_every: 500}}
"""
PRECISIONS = {"float": [], "8-bit": ["observation.bits=8"]}
TRAININGS = {"plain": ["train.steps=7000"], "unfolded": ["train.steps=4700", "train.unfold={}"]}
AIMS = {"float": Aim("kid", {"rmse": 1.05}), "8-bit": Aim("kid", {"rmse": 1.1})}
SAMPLERS, STEPS = ["core.direct", "core.cold"], [3, 10, 25]


def trained(folder: Path, data: Path, overrides: Sequence[str], pipeline: str = PIPELINE) -> Any:
    """The pipeline, trained into the folder or loaded from it."""
    if not (folder / "done").exists():
        write_text(folder / "pipeline.yaml", pipeline.format(data=data))
        began, built = time.perf_counter(), rethaw.Pipeline.from_yaml(folder / "pipeline.yaml", overrides)
        if not built.train(folder, resume=(folder / "checkpoint.pt").is_file()).finished:
            raise SystemExit("stopped; the same command goes on")
        write_text(folder / "done", f"{time.perf_counter() - began:.0f} s\n")
    return rethaw.Pipeline.load(folder)


def contestants(name: str, walker: Walker) -> dict[str, Contestant]:
    """All settings of a training, by name."""
    found = settings(walker, SAMPLERS, STEPS, {"off": None, "observation": Consistency()})
    return {f"{name}, {key}": replace(each, line=f"{name}, {each.line}") for key, each in found.items()}


def compared(precision: str, data: Path, folder: Path, images: int, overrides: Sequence[str]) -> str:
    """Trains, chooses a setting, measures all; what to print."""
    walkers, minutes = {}, {}
    for name, own in TRAININGS.items():
        run = folder / name
        walkers[name] = trained(run, data, [*PRECISIONS[precision], *own, *overrides]).walker
        minutes[name] = float((run / "done").read_text().split()[0]) / 60
    given = {key: each for name, walker in walkers.items() for key, each in contestants(name, walker).items()}
    first = next(iter(walkers.values()))
    seen, held_out = some(find_images([data / "train"]), images // 4), some(find_images([data / "val"]), images)
    choice = tune(first, seen, given, AIMS[precision])
    report = evaluate(first, held_out, given)
    report.save(folder, choice.name, minutes=minutes, why=choice.why, settings_tuned_on=choice.report.images)
    took = ", ".join(f"{name} {each:.1f} min" for name, each in minutes.items())
    return (
        f"{precision}: {took} of training; chosen: {choice.name}, as {choice.why}\n\n{report.markdown(choice.name)}\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with train/ and val/")
    parser.add_argument("--out", type=Path, default=Path("experiments/perception"))
    parser.add_argument("--images", type=int, default=1000, help="to measure on")
    parser.add_argument("--only", choices=list(PRECISIONS), help="one of the two precisions")
    parser.add_argument("overrides", nargs="*", help="of the pipelines: train.steps=300")
    options = parser.parse_intermixed_args()
    for precision in [options.only] if options.only else PRECISIONS:
        folder = options.out / precision
        print(compared(precision, options.data.absolute(), folder, options.images, options.overrides), flush=True)


if __name__ == "__main__":
    main()
