"""When does iterating help? Direct, naive and cold restoration of real photographs: `python -m tests.bench.iterating`.

Trains small restorers on scikit-image's photographs (about ten minutes on two CPU cores), each for few and for many
steps, and restores the two photographs that are held out. Writes a table, pictures and a curve into the folder that is
named first (default: experiments/); what is trained there already is not trained again, and an interrupted training
goes on. Further words choose parts: tasks (blur pixelate mask noise), sharpness, consistency, generation.
docs/experiments.md holds what came out.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

import rethaw
from rethaw import pictures
from rethaw.builtin.datasets.photos import HELD_OUT, photo
from rethaw.files import write_text
from rethaw.images import read_image
from rethaw.ops import generators

SIDE, SEED, STEPS = 160, 0, 20
LENGTHS = {"few": 100, "many": 1000}
TASKS = {
    "blur": "{use: kornia.gaussian_blur, sigma_max: 2.5}",
    "pixelate": "{use: kornia.pixelate, block_max: 6}",
    "mask": "{use: core.mask, shape: strokes, size: 0.4}",
    "noise": "{use: core.gaussian_noise, schedule: [[0, 0], [1, 0.5]]}",
}
"""Nothing about the first two is random, the third has a known state, and that of the fourth is inferred."""
SAMPLERS = {"direct": "core.direct", "naive": "core.naive", "cold": "core.cold"}
CONSISTENCIES = ("", "{}", "{weight: 2.3e-4}", "{to: state}", "{to: state, weight: 2.3e-4}")
"""None, the default, and what the default was: the weight of a restorer that is wrong by 0.15, and x_t."""
GENERATIONS = {
    "generation from 2×2 pixels": "{use: kornia.pixelate, block_max: 16}",
    "generation from noise": "{use: core.gaussian_noise}",
}


def trained(folder: Path, degradation: str, steps: int, size: int, extra: tuple[str, ...] = ()) -> Any:
    """The pipeline of a task, trained or loaded."""
    if not (folder / "done").exists():
        text = (
            f"version: 1\ndata: {{use: core.photos, size: {size}}}\ndegradation: {degradation}\n"
            "observation: {bits: 8}\nrestorer: {prediction: residual}\n"
            f"sampler: {{use: core.cold, steps: {STEPS}}}\n"
            f"train: {{steps: {steps}, batch_size: 4, lr: 1.5e-3, weight_decay: 0.01, checkpoint_every: 200}}\n"
        )
        write_text(folder.with_suffix(".yaml"), text)
        pipeline = rethaw.Pipeline.from_yaml(folder.with_suffix(".yaml"), extra)
        if not pipeline.train(folder, resume=(folder / "checkpoint.pt").is_file()).finished:
            raise SystemExit(f"stopped while training {folder}; the same command goes on")
        write_text(folder / "done", "")
    return rethaw.Pipeline.load(folder)


def held_out() -> Tensor:
    """Astronaut and chelsea, the middle square of each, SIDE pixels wide."""
    squares = []
    for name in HELD_OUT:
        x = read_image(photo(name), 3).pixels[None]
        side = min(x.shape[-2:])
        top, left = ((n - side) // 2 for n in x.shape[-2:])
        square = x[..., top : top + side, left : left + side]
        squares.append(interpolate(square, (SIDE, SIDE), mode="bicubic", antialias=True).clamp(-1, 1))
    return torch.cat(squares)


def sharpness(x: Tensor) -> float:
    """The mean absolute difference of neighbouring pixels: blur lowers it, and noise raises it."""
    return float(x.diff(dim=-1).abs().mean() + x.diff(dim=-2).abs().mean())


def psnr(x: Tensor, clean: Tensor) -> float:
    error = ((x.clamp(-1, 1) - clean) / 2).square().mean((1, 2, 3))
    return float(-10 * error.log10().mean())


def restorations(pipeline: Any, clean: Tensor) -> dict[str, Tensor]:
    """The degraded photographs and what each sampler makes of them."""
    x, state = pipeline.degrade(clean, seed=SEED)
    options = {"state": pipeline.parts.known(state), "steps": STEPS, "seed": SEED}
    return {"degraded": x} | {n: pipeline.restore(x, sampler=use, **options) for n, use in SAMPLERS.items()}


def compare(folder: Path, clean: Tensor, tasks: Sequence[str]) -> tuple[list[str], list[list[Tensor]], list[str]]:
    """The rows of the table, and those of the picture with their labels: one photograph each."""
    names = ["degraded", *SAMPLERS]
    lines = [
        "| task | training steps | "
        + " | ".join(f"{n}, dB" for n in names)
        + " | "
        + " | ".join(f"{n}, sharpness" for n in names)
        + " |",
        "|---|---:|" + "---:|" * 2 * len(names),
    ]
    rows, labels = [], []
    for task in tasks:
        for length, steps in LENGTHS.items():
            found = restorations(trained(folder / f"{task}-{length}", TASKS[task], steps, 48), clean)
            decibels = [f"{psnr(found[n], clean):.2f}" for n in names]
            ratios = [f"{sharpness(found[n]) / sharpness(clean):.2f}" for n in names]
            lines.append(f"| {task} | {steps} | {' | '.join(decibels)} | {' | '.join(ratios)} |")
            print(lines[-1], flush=True)
            rows.append([*(found[n][0] for n in names), clean[0]])
            labels.append(f"{task}, {steps} training steps")
    return lines, rows, labels


def profile(pipeline: Any, clean: Tensor) -> dict[str, list[tuple[float, float]]]:
    """Sharpness against t, of the photographs = 1: of D(x0, t), of R(D(x0, t), t), and of x̂0 along the cold walk."""
    one = sharpness(clean)
    lines: dict[str, list[tuple[float, float]]] = {
        "degraded x_t": [],
        "restored in one step": [],
        "seen on the cold walk": [],
    }
    for t in torch.linspace(0.05, 1, 20).tolist():
        x, state = pipeline.degrade(clean, t, SEED)
        restored = pipeline.restore(x, t, state=pipeline.parts.known(state), sampler="core.direct")
        lines["degraded x_t"].append((t, sharpness(x) / one))
        lines["restored in one step"].append((t, sharpness(restored) / one))
    x, state = pipeline.degrade(clean, seed=SEED)
    for step in pipeline.trajectory(x, state=pipeline.parts.known(state), sampler="core.cold", steps=STEPS):
        lines["seen on the cold walk"].append((float(step.t[0]), sharpness(step.x0_hat) / one))
    lines["seen on the cold walk"].reverse()
    return lines


def generations(folder: Path) -> tuple[list[str], list[list[Tensor]], list[str]]:
    """One step against a walk, where x_1 says almost nothing: rows of the table and of the picture."""
    lines = ["| generation | direct | naive | cold | renoise |", "|---|---:|---:|---:|---:|"]
    rows, labels, data = [], [], rethaw.build("dataset", "core.photos", size=32)
    for name, degradation in GENERATIONS.items():
        fitted = ("prior={use: core.mixture, size: 2}", "train.severities=heavy")
        pipeline = trained(folder / name.split()[-1], degradation, LENGTHS["many"], 32, fitted)
        x, state = pipeline.walker.start(4, None, SEED)
        real = torch.stack([data.item(i, generators(i, 1)[0])["image"] for i in range(16)])
        known = None if hasattr(pipeline.parts.degradation, "infer") else state
        options = {"state": known, "steps": 50}
        made = {
            n: last(pipeline.trajectory(x, sampler=f"core.{n}", generator=generators(1, 4), **options))
            for n in ("direct", "naive", "cold", "renoise")
        }
        ratios = [f"{sharpness(image) / sharpness(real):.2f}" for image in made.values()]
        lines.append(f"| {name} | {' | '.join(ratios)} |")
        print(lines[-1], flush=True)
        for row, label in ((x, "x_1"), *((made[n], n) for n in made)):
            rows.append(list(row))
            labels.append(f"{name}: {label}")
    return lines, rows, labels


def consistencies(folder: Path, clean: Tensor) -> list[str]:
    """What data consistency adds to the restorer of the blur, for observations of 8 bits and of floating point."""
    lines = ["| observation | consistency | direct | naive | cold |", "|---|---|---:|---:|---:|"]
    trained(folder / "blur-many", TASKS["blur"], LENGTHS["many"], 48)
    for bits in ("8", "null"):
        for how in CONSISTENCIES:
            options = [f"observation.bits={bits}", *([f"consistency={how}"] if how else [])]
            found = restorations(rethaw.Pipeline.load(folder / "blur-many", options), clean)
            cells = [f"{psnr(found[n], clean):.2f}" for n in SAMPLERS]
            words = {"8": "8-bit", "null": "float"}[bits], f"`{how}`" if how else "none"
            lines.append(f"| {' | '.join((*words, *cells))} |")
            print(lines[-1], flush=True)
    return lines


def last(steps: Any) -> Tensor:
    *_, step = steps
    return step.x  # type: ignore[no-any-return]


def main(to: str = "experiments", *parts: str) -> None:
    """All of it, or some parts."""
    folder, clean = Path(to), held_out()
    chosen = parts or (*TASKS, "sharpness", "consistency", "generation")
    if tasks := [task for task in TASKS if task in chosen]:
        lines, rows, labels = compare(folder, clean, tasks)
        pictures.save(pictures.grid(rows, labels, ["degraded", *SAMPLERS, "clean"]), folder / "samplers.jpg")
        write_text(folder / "samplers.md", "\n".join([*lines, ""]))
    if "sharpness" in chosen:
        blur = profile(trained(folder / "blur-many", TASKS["blur"], LENGTHS["many"], 48), clean)
        pictures.save(
            pictures.curves(
                blur, "Heavy severities blur, mild ones sharpen", "severity t", "sharpness, of the photograph = 1"
            ),
            folder / "sharpness.png",
        )
    if "consistency" in chosen:
        write_text(folder / "consistency.md", "\n".join([*consistencies(folder, clean), ""]))
    if "generation" in chosen:
        lines, rows, labels = generations(folder)
        pictures.save(pictures.grid(rows, labels, []), folder / "generation.jpg")
        write_text(folder / "generation.md", "\n".join([*lines, ""]))


if __name__ == "__main__":
    main(*sys.argv[1:])
