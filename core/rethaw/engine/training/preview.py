"""What a training shows of itself: the loss curve, and training images degraded and restored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from rethaw.api import Dataset
from rethaw.engine.restorer.network import Restorer
from rethaw.engine.run import LOG
from rethaw.engine.training.examples import Order, collate, observe
from rethaw.engine.training.progress import read_log
from rethaw.ops import generators
from rethaw.pictures import layout as pictures
from rethaw.pictures import plot

if TYPE_CHECKING:
    from rethaw.engine.pipeline import Pipeline

COUNT = 4


@torch.no_grad()
def draw_progress(pipeline: Pipeline, data: Dataset, restorer: Restorer, step: int, folder: Path) -> None:
    """Writes loss.png, and preview.png: four training images at severities 1/4 … 1."""
    config = pipeline.config
    rows = [(row["step"], row["loss"]) for row in read_log(folder / LOG)]
    if len(rows) > 1:
        pictures.save(plot.curve(rows, "training loss", "step", config.train.loss), folder / "loss.png")
    order = Order(data, config.seed, config.restorer.channels, COUNT)
    items = [order[i] for i in range(COUNT)]
    x0 = torch.stack([item["image"] for item in items]).to(pipeline.device)
    rngs = generators(config.seed, COUNT)
    t = torch.linspace(1 / COUNT, 1, COUNT, device=x0.device, dtype=x0.dtype)
    state = pipeline.degradation.draw(x0, rngs)
    x_t = pipeline.degradation.degrade(x0, t, state)
    cond = pipeline.conditioners.of_items({**collate(items), "image": x0}, x0, rngs)
    training = restorer.training
    reading = pipeline.parameterization
    seen = reading.shown(observe(x_t, config.observation, rngs), t, state)
    restored = reading.read(restorer.eval()(*reading.inputs(seen, t), cond), seen, t).x0
    restorer.train(training)
    labels = ["clean", "degraded", f"restored, step {step}"]
    sheet = pictures.grid([list(x0), list(x_t), list(restored)], labels, [f"t = {v:.2f}" for v in t.tolist()])
    pictures.save(sheet, folder / "preview.png")
