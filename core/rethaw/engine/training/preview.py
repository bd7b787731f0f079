"""What a training shows of itself: the loss curve, and training images degraded and restored."""

from __future__ import annotations

import torch

from rethaw import pictures
from rethaw.api import Dataset
from rethaw.engine.degradation.observe import observe
from rethaw.engine.parts import Parts
from rethaw.engine.restorer.network import Restorer
from rethaw.engine.run import LOG, Run
from rethaw.engine.training.examples import for_batch, training_order
from rethaw.engine.training.progress import read_log
from rethaw.ops import generators

COUNT = 4


@torch.no_grad()
def draw_progress(parts: Parts, data: Dataset, restorer: Restorer, step: int, run: Run) -> None:
    """Writes loss.png, and preview.png: four training images at severities 1/4 … 1."""
    config = parts.config
    rows = [(row["step"], row["loss"]) for row in read_log(run.path(LOG))]
    if len(rows) > 1:
        pictures.save(pictures.curve(rows, "training loss", "step", config.train.loss), run.path("loss.png"))
    device = next(restorer.parameters()).device
    batch = training_order(data, config, COUNT).batch(0, COUNT)
    x0 = batch["image"].to(device)
    rngs = generators(config.seed, COUNT)
    t = torch.linspace(1 / COUNT, 1, COUNT, device=device, dtype=x0.dtype)
    state = for_batch(parts.degradation, batch, config).draw(x0, rngs)
    x_t = parts.degradation.degrade(x0, t, state)
    cond = parts.conditioners.of_items({**batch, "image": x0}, x0, rngs)
    training, reading = restorer.training, parts.parameterization
    seen = reading.shown(observe(x_t, config.observation, rngs), t, state)
    restored = reading.read(restorer.eval()(*reading.inputs(seen, t), cond), seen, t).x0
    restorer.train(training)
    labels = ["clean", "degraded", f"restored, step {step}"]
    sheet = pictures.grid([list(x0), list(x_t), list(restored)], labels, [f"t = {v:.2f}" for v in t.tolist()])
    pictures.save(sheet, run.path("preview.png"))
