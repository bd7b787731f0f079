"""Snow whose flakes nobody knows: `python -m tests.bench.drawn --data cifar10/` trains, restores, measures.

A restorer of ImageNet-C's snow is trained on DATA/train, some minutes of one core. DATA/val is restored in one step,
with a state drawn anew in each step (`core.renoise`), with one that is drawn for the walk (`state: drawn`), and with
the true one. docs/degradations.md holds the table. What is trained already is not trained again.
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path

from rethaw.config.components import parse_component
from rethaw.engine.evaluation.evaluate import Contestant, evaluate
from rethaw.engine.sampling.how import How
from rethaw.engine.sampling.walking import Walker
from rethaw.images import find_images, some
from tests.bench.perception import trained

PIPELINE = """
version: 1
data: {{use: core.folder, path: {data}/train, size: 32}}
degradation: {{use: imagenet_c.snow, severity_max: 3}}
backbone: {{use: core.unet}}
restorer: {{prediction: residual}}
sampler: {{use: core.cold}}
metrics:
  - core.rmse
  - {{use: perceptual.kid, features: lite0}}
train: {{steps: 700, batch_size: 32, lr: 1.5e-3, weight_decay: 0.01, checkpoint_every: 500}}
"""


SAMPLERS = {
    "renoise": ("core.renoise", {}),
    "naive, drawn": ("core.naive", {"state": "drawn"}),
    "cold, drawn": ("core.cold", {"state": "drawn"}),
    "naive, true state": ("core.naive", {}),
    "cold, true state": ("core.cold", {}),
}
STEPS = (3, 10)


def contestants(walker: Walker) -> dict[str, Contestant]:
    """All ways to restore, by name."""
    found = {"direct": Contestant(walker, How("core.direct"), "direct")}
    for (title, (use, params)), steps in product(SAMPLERS.items(), STEPS):
        sampler = parse_component(use, "sampler", walker.parts.registry, {**params, "steps": steps})
        found[f"{title}, {steps} steps"] = Contestant(walker, How(sampler), title)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with train/ and val/")
    parser.add_argument("--out", type=Path, default=Path("experiments/drawn"))
    parser.add_argument("--images", type=int, default=1000, help="to measure on")
    parser.add_argument("overrides", nargs="*", help="of the pipeline: train.steps=300")
    options = parser.parse_intermixed_args()
    walker = trained(options.out, options.data.absolute(), options.overrides, PIPELINE).walker
    report = evaluate(walker, some(find_images([options.data / "val"]), options.images), contestants(walker))
    report.save(options.out)
    print(report.markdown())


if __name__ == "__main__":
    main()
