"""Training a classifier of a run's degraded images; interrupted, it leaves a checkpoint and can be taken up again."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from rethaw.api import RethawError
from rethaw.config import load_config, load_text
from rethaw.config.dump import dump_config
from rethaw.engine.classifier.guiding import build_classifier
from rethaw.engine.parts import complete
from rethaw.engine.restorer.conditioners import lacking
from rethaw.engine.run import (
    CLASSIFIER,
    CLASSIFIER_CHECKPOINT,
    CONFIG,
    load_checkpoint,
    save_checkpoint,
    save_tensors,
    write_description,
)
from rethaw.engine.training.examples import Order, loader, observe
from rethaw.engine.training.progress import interruptible
from rethaw.ops import mix_seed, rand, seeded

if TYPE_CHECKING:
    from rethaw.engine.pipeline import Pipeline


class Trained(NamedTuple):
    """How a training ended: at which of how many steps; loss and accuracy are means of the last tenth, nan before it."""

    step: int
    steps: int
    loss: float
    accuracy: float


def train_classifier(
    pipeline: Pipeline, steps: int, watch: Callable[[int, int], None] | None = None, resume: bool = False
) -> Trained:
    """Trains a classifier of a run's degraded training images and writes it into the run.

    resume: goes on with an interrupted training, as that was started. watch: called with each step, and how many there
    are. SIGINT and SIGTERM end the training between two steps, with a checkpoint. Raises RethawError where the run is
    not fit for it.
    """
    if pipeline.config.classifier is None or pipeline.folder is None:
        raise RethawError(
            "this is not a run with a classifier", "Load a run, with the override classifier.use=core.convnet."
        )
    checkpoint = pipeline.folder / CLASSIFIER_CHECKPOINT
    if checkpoint.is_file() and not resume:
        raise RethawError(
            f"{checkpoint} holds an interrupted training of a classifier",
            "Add --resume to go on with it, or delete that file to start anew.",
        )
    saved = load_checkpoint(checkpoint) if resume else None
    if saved:
        pipeline.config = load_text(saved["config"])[0]
    training = Training(pipeline, int(saved["steps"]) if saved else steps)
    if saved:
        training.restore(saved)
    if training.run(checkpoint, watch):
        training.finish(pipeline.folder)
        checkpoint.unlink(missing_ok=True)
    return training.outcome()


class Training:
    """All that changes while a classifier is trained."""

    def __init__(self, pipeline: Pipeline, steps: int) -> None:
        assert pipeline.config.classifier is not None
        self.pipeline, self.steps, self.step = pipeline, steps, 0
        self.data = pipeline.build_data()
        self.item = complete(pipeline.config.classifier, self.data, pipeline.registry)
        pipeline.config = replace(pipeline.config, classifier=self.item)
        self.classifier, train = build_classifier(pipeline).train(), pipeline.config.train
        self.optimizer = torch.optim.AdamW(self.classifier.parameters(), lr=train.lr, weight_decay=train.weight_decay)
        self.tail = max(1, steps // 10)
        self.sums = torch.zeros(2, device=pipeline.device)  # of loss and accuracy, over the tail

    def run(self, checkpoint: Path, watch: Callable[[int, int], None] | None) -> bool:
        """Trains to the last step, or until interrupted; whether it got there."""
        config, train = self.pipeline.config, self.pipeline.config.train
        seed = mix_seed(config.seed, "classifier")
        order = Order(self.data, seed, config.restorer.channels, self.steps * train.batch_size)
        with interruptible() as stop:
            for batch in loader(order, self.step * train.batch_size, train.batch_size, train.workers):
                if stop.is_set():
                    break
                self.advance(batch)
                if watch:
                    watch(self.step, self.steps)
                if self.step % train.checkpoint_every == 0 and self.step < self.steps:
                    self.save(checkpoint)
        if self.step < self.steps:
            self.save(checkpoint)
        return self.step == self.steps

    def advance(self, batch: dict[str, Any]) -> None:
        """One optimizer step."""
        pipeline, classifier = self.pipeline, self.classifier
        target = classifier.indices(labels_of(batch, classifier.field), pipeline.device)
        with seeded(pipeline.device, mix_seed(pipeline.config.seed, "classifier layers", self.step)):
            log_p = classifier(*degraded(pipeline, batch))
            loss = F.nll_loss(log_p, target)
            self.optimizer.zero_grad()
            loss.backward()
        self.optimizer.step()
        self.step += 1
        if self.step > self.steps - self.tail:
            self.sums += torch.stack([loss.detach(), (log_p.argmax(1) == target).float().mean()])

    def save(self, checkpoint: Path) -> None:
        """Writes all that resuming needs."""
        self.sound()
        save_checkpoint(
            checkpoint,
            {
                "config": dump_config(self.pipeline.config),
                "steps": self.steps,
                "step": self.step,
                "sums": self.sums,
                "network": self.classifier.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
            },
        )

    def restore(self, saved: dict[str, Any]) -> None:
        """Takes up where the checkpoint ends."""
        self.step, self.sums = int(saved["step"]), saved["sums"].to(self.pipeline.device)
        self.classifier.network.load_state_dict(saved["network"])
        self.optimizer.load_state_dict(saved["optimizer"])

    def finish(self, folder: Path) -> None:
        """Writes the classifier into the run, and into its description."""
        self.sound()
        save_tensors(folder / CLASSIFIER, self.classifier.network.state_dict())
        run = load_config(str(folder / CONFIG))[0]  # without what the command line changed for this training alone
        described = replace(run, classifier=self.item)
        write_description(folder, described, self.pipeline.registry, self.pipeline.image_shape)

    def sound(self) -> None:
        """Stops at broken weights, before they replace anything."""
        if not all(bool(torch.isfinite(p).all()) for p in self.classifier.parameters()):
            raise RethawError(
                f"the classifier's weights are not finite at step {self.step}",
                f"Lower the learning rate (train.lr={self.pipeline.config.train.lr / 4:g}).",
            )

    def outcome(self) -> Trained:
        """Where it stands."""
        done = self.step == self.steps
        loss, accuracy = (self.sums / self.tail).tolist() if done else (math.nan, math.nan)
        return Trained(self.step, self.steps, loss, accuracy)


def degraded(pipeline: Pipeline, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Training images at severities drawn uniformly, as the restorer meets them."""
    x0 = batch["image"].to(pipeline.device)
    rngs = [torch.Generator().manual_seed(mix_seed(pipeline.config.seed, "classify", p)) for p in batch["position"]]
    t = rand(x0, rngs, ())
    x_t = pipeline.degradation.degrade(x0, t, pipeline.degradation.draw(x0, rngs))
    return observe(x_t, pipeline.config.observation, rngs), t


def labels_of(batch: dict[str, Any], field: str) -> Sequence[Any]:
    """The labels of a batch. Raises RethawError where the data has none."""
    if field not in batch:
        raise RethawError(f"the training data has no {field!r}", lacking(field))
    labels: Sequence[Any] = batch[field]
    return labels
