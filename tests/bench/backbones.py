"""Backbones at equal training time: `python -m tests.bench.backbones --data DIR --minutes 10`.

DIR has the folders `train` and `val` of CIFAR-10. The task is the published deblurring (50 levels, special_6). Each
contestant trains by rethaw's own engine for so many minutes on two threads; its error on `val` is measured on the way,
and that time does not count. Everything found is kept in OUT/results.json, a contestant that is there already is not
trained again, and an interrupted one is taken up from its checkpoint. `--only NAME` trains one, `--plot` none;
`--vary` trains `core.unet` with one thing changed at a time.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import torch

import rethaw
from rethaw.config import load_config
from rethaw.engine.evaluation.evaluate import evaluate
from rethaw.engine.sampling.how import How
from rethaw.engine.training.progress import Progress
from rethaw.files import write_text
from rethaw.ops import find_images
from rethaw.registry import Registry
from tests.bench.convnext import ConvNeXtUNet

TASK = """
version: 1
degradation: {use: kornia.cumulative_blur, routine: special_6}
backbone: {use: core.unet}
restorer: {prediction: residual}
sampler: {use: core.cold, steps: 50}
train: {batch_size: 32, lr: 2.0e-3, weight_decay: 0.01, severities: heavy, warmup: 50}
"""
PUBLISHED = "convnext-unet"
CONTESTANTS: dict[str, Sequence[str]] = {
    "core.unet": [],
    "timm.unet convnext_atto": ["backbone={use: timm.unet, encoder: convnext_atto, width: 16}"],
    "timm.unet mobilenetv3": ["backbone={use: timm.unet, encoder: mobilenetv3_small_050, width: 16}", "train.lr=4e-3"],
    "timm.unet resnet10t": ["backbone={use: timm.unet, encoder: resnet10t, width: 16}", "train.lr=4e-3"],
    PUBLISHED: ["train.lr=2e-4"],
    "core.unet, inverse": ["restorer.input=inverse", "backbone.bands=0"],
    "core.unet, 8 bits": ["observation.bits=8"],
}
VARIATIONS: dict[str, Sequence[str]] = {
    "as it is": [],
    "restorer.input: inverse": ["restorer.input=inverse"],
    "restorer.input: inverse, bands: 0": ["restorer.input=inverse", "backbone.bands=0"],
    "bands: 0": ["backbone.bands=0"],
    "bands: 5": ["backbone.bands=5"],
    "width: 48": ["backbone.width=48"],
    "multipliers: [1, 2, 4]": ["backbone.multipliers=[1,2,4]"],
    "patch: 1, width: 16": ["backbone={use: core.unet, patch: 1, width: 16}"],
    "prediction: x0": ["restorer.prediction=x0"],
    "loss: l2": ["train.loss=l2"],
    "severities: uniform": ["train.severities=uniform"],
    "lr: 1e-3": ["train.lr=1e-3"],
    "lr: 4e-3": ["train.lr=4e-3"],
    "lr_schedule: constant": ["train.lr_schedule=constant"],
    "batch_size: 16": ["train.batch_size=16"],
    "batch_size: 64": ["train.batch_size=64"],
}
"""What may have moved it: `core.unet` as it contests, with one thing changed."""
ALL = {**CONTESTANTS, **VARIATIONS}
MARKS = 10  # measurements on the way
TRIAL = 20.0  # seconds of steps that the speed is measured on
FEW = 5  # one image in so many is measured on the way and walked to with 50 steps


def pipeline(name: str, data: Path, out: Path, steps: int) -> rethaw.Pipeline:
    """The pipeline of a contestant, untrained."""
    (out / "task.yaml").write_text(TASK)
    settings = [
        f"data={{use: core.folder, path: {data / 'train'}, size: 32}}",
        f"train.steps={steps}",
        f"train.checkpoint_every={max(2, steps // MARKS)}",
        *ALL[name],
    ]
    return rethaw.Pipeline(*load_config(str(out / "task.yaml"), settings), device="cpu")


class Measured:
    """Watches a training: counts its minutes without those of saving, and measures what has been saved."""

    def __init__(self, name: str, data: Path, folder: Path, every: int, state: dict[str, Any], kept: Path) -> None:
        self.name, self.folder, self.every, self.state, self.kept = name, folder, every, state, kept
        self.images = find_images([data / "val"])
        self.seconds, self.steps = state["seconds"], state["step"]
        self.since = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        saved = progress.step % self.every == 1 and progress.step > 1  # the step before this one
        average = self.seconds / self.steps if self.steps else 0.0
        self.seconds += average if saved and self.steps else time.monotonic() - self.since
        self.steps += 1
        if saved:
            self.measure(progress.step - 1, {"core.direct": ()}, self.images[::FEW])
        self.since = time.monotonic()

    def measure(self, step: int, ways: Mapping[str, Sequence[str]], images: Sequence[Path]) -> None:
        """Adds a row: each way is a sampler, and what its pipeline is loaded with."""
        found: dict[str, Any] = {}
        for way, settings in ways.items():
            made = rethaw.Pipeline.load(self.folder, settings, device="cpu")
            sampler = way.split(" ")[0]
            some = images if sampler == "core.direct" else images[::FEW]
            rows = evaluate(made.walker, some, {sampler: How(sampler)}).rows
            found = {"degraded": rows["degraded"], **found, way: rows[sampler]}
        self.state["rows"].append({"minutes": round(self.seconds / 60, 2), "step": step, **found})
        self.state |= {"seconds": self.seconds, "step": step}
        write_text(self.kept, json.dumps(self.state))
        print(
            f"{self.name}: {self.seconds / 60:.1f} min, step {step}, RMSE {found['core.direct']['rmse']:.4f}",
            flush=True,
        )


WAYS: dict[str, Sequence[str]] = {
    "core.direct": (),
    "core.cold": (),
    "core.direct consistent": ("consistency={}",),
    "core.cold consistent": ("consistency={}",),
}
"""What is measured at the end."""


def contest(name: str, data: Path, out: Path, minutes: float, ways: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Trains a contestant for that long, from where it was left, and says what was found."""
    short = re.sub(r"[^\w.]+", "-", name)
    folder, kept = out / short, out / f"{short}.json"
    with published(name):
        state = json.loads(kept.read_text()) if kept.is_file() else None
        resume = state is not None and (folder / "checkpoint.pt").is_file()
        if state is None or not resume:
            steps = state["steps"] if state else affordable(name, data, out, minutes)
            state = {"steps": steps, "seconds": 0.0, "step": 0, "rows": []}
            write_text(kept, json.dumps(state))
        made = pipeline(name, data, out, state["steps"])
        watch = Measured(name, data, folder, made.config.train.checkpoint_every, state, kept)
        outcome = made.train(folder, resume=resume, watch=watch)
        weights = sum(p.numel() for p in made._trained().parameters())
        if not outcome.finished:
            write_text(kept, json.dumps(state | {"seconds": watch.seconds, "step": outcome.step}))
            raise SystemExit(f"{name} was interrupted; the same command goes on")
        watch.measure(outcome.step, ways, watch.images)
    images = state["steps"] * made.config.train.batch_size
    return {"weights": weights, "images": images, "rows": state["rows"]}


class Enough(Exception):
    """The speed is known."""


def affordable(name: str, data: Path, out: Path, minutes: float) -> int:
    """How many steps fit, from the speed of a trial that is thrown away."""
    times: list[float] = []

    def watch(progress: Progress) -> None:
        times.append(time.monotonic())
        if len(times) > 6 and times[-1] - times[2] > TRIAL:
            raise Enough

    with contextlib.suppress(Enough), tempfile.TemporaryDirectory(dir=out) as trial:
        pipeline(name, data, out, 1_000_000).train(trial, watch=watch)
    return max(MARKS, int(minutes * 60 / ((times[-1] - times[2]) / (len(times) - 3))))


def published(name: str) -> Any:
    """Within it, the network of published size stands where core.unet would; nothing else differs."""
    build = Registry.build

    def instead(registry: Registry, kind: str, use: str, params: Any, *args: Any) -> Any:
        return ConvNeXtUNet() if kind == "backbone" else build(registry, kind, use, params, *args)

    return mock.patch.object(Registry, "build", instead if name == PUBLISHED else build)


def table(results: Mapping[str, Any]) -> list[str]:
    """Markdown: the last row of each contestant. SSIM is the direct one; *consistent* is with data consistency."""
    ways = [way for way in WAYS if all(way in found["rows"][-1] for found in results.values())]
    heads = ["weights, M", "minutes", "images", "SSIM", *(way.removeprefix("core.") for way in ways)]
    lines = [f"| network | {' | '.join(heads)} |", "|---|" + "---:|" * len(heads)]
    for name, found in results.items():
        last = found["rows"][-1]
        cells = [
            f"{found['weights'] / 1e6:.2f}",
            f"{last['minutes']:.1f}",
            f"{found['images']:,}",
            f"{last['core.direct']['ssim']:.3f}",
            *(f"{last[way]['rmse']:.4f}" for way in ways),
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def plot(results: Mapping[str, Any], path: Path) -> None:
    """RMSE against minutes of training, a line a contestant."""
    from matplotlib.figure import Figure

    figure = Figure((8, 4), layout="constrained")
    axes = figure.subplots()
    for name, found in results.items():
        rows = found["rows"][:-1]  # the last one is of all images
        axes.plot([r["minutes"] for r in rows], [r["core.direct"]["rmse"] for r in rows], marker=".", label=name)
    axes.set(xlabel="minutes of training", ylabel="RMSE, direct, of every fifth image", yscale="log")
    axes.yaxis.set_major_formatter("{x:.2f}")
    axes.yaxis.set_minor_formatter("{x:.2f}")
    figure.legend(fontsize=8, loc="outside right")
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, help="folder with train/ and val/")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--out", type=Path, default=Path("bench-backbones"))
    parser.add_argument("--only", choices=ALL, action="append", metavar="NAME")
    parser.add_argument("--vary", action="store_true", help="variations of core.unet instead, measured directly only")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--plot", action="store_true", help="only the table and the plot of what is there")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    given.out.mkdir(parents=True, exist_ok=True)
    kept = given.out / "results.json"
    results: dict[str, Any] = json.loads(kept.read_text()) if kept.is_file() else {}
    ways = {way: settings for way, settings in WAYS.items() if "direct" in way or not given.vary}
    for name in () if given.plot else given.only or (VARIATIONS if given.vary else CONTESTANTS):
        if name not in results:
            results[name] = contest(name, given.data, given.out, given.minutes, ways)
            write_text(kept, json.dumps(results, indent=1) + "\n")
    print("\n".join(table(results)))
    plot(results, given.out / "backbones.png")


if __name__ == "__main__":
    main()
