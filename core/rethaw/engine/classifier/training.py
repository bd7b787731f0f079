"""Training a classifier of a run's degraded images, by the one trainer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rethaw.api import Dataset, RethawError
from rethaw.config import load_config, load_text
from rethaw.config.dump import dump_config
from rethaw.config.model import Component
from rethaw.engine.classifier.guiding import Classifier
from rethaw.engine.degradation.observe import observe
from rethaw.engine.parts import Parts, assemble
from rethaw.engine.restorer.conditioners import how_to_have
from rethaw.engine.run import CLASSIFIER_CHECKPOINT, CONFIG, Run
from rethaw.engine.training.checkpoint import load_checkpoint
from rethaw.engine.training.examples import training_order
from rethaw.engine.training.progress import Outcome
from rethaw.engine.training.trainer import Autocast, Batch, Trainer, Watch
from rethaw.ops import mix_seed, rand, seeded

JUDGED = 512
"""Training examples, from beyond the last one trained on, that the accuracy is measured on."""


@dataclass(frozen=True)
class TrainedClassifier:
    """How a training ended: at which of how many steps, and the accuracy on training images if it got to the end."""

    outcome: Outcome
    steps: int
    accuracy: float | None


def train_classifier(run: Run, parts: Parts, watch: Watch | None = None, resume: bool = False) -> TrainedClassifier:
    """Trains a classifier of a run's degraded training images, `train.steps` steps, and writes it into the run.

    resume: goes on with an interrupted training, as that was started. watch: called after every step. SIGINT and
    SIGTERM end the training between two steps, with a checkpoint. Raises RethawError where the run is not fit for it.
    """
    with run.held():
        parts = as_started(run, parts, resume)
        data = parts.data()
        if parts.config.classifier is None:
            raise RethawError(
                "this is not a run with a classifier", "Load a run, with the override classifier.use=core.convnet."
            )
        task = ClassifierTask(run, parts, data, parts.resolved(parts.config.classifier, data))
        seed = mix_seed(parts.config.seed, "classifier")
        trainer = Trainer(replace(parts.config, seed=seed), data, task, parts.device)
        if resume:
            trainer.resume()
        outcome = trainer.run(watch)
        if outcome.finished and trainer.is_main:
            task.finish(trainer.best)
        accuracy = task.accuracy(trainer.best, trainer.accelerator.device) if outcome.finished else None
    return TrainedClassifier(outcome, parts.config.train.steps, accuracy)


def as_started(run: Run, parts: Parts, resume: bool) -> Parts:
    """The parts for a new training, or those that the interrupted one was started with."""
    checkpoint = run.path(CLASSIFIER_CHECKPOINT)
    if resume and not checkpoint.is_file():
        raise RethawError(f"there is no checkpoint at {checkpoint}", "Start the training without --resume.")
    if checkpoint.is_file() and not resume:
        raise RethawError(
            f"{checkpoint} holds an interrupted training of a classifier",
            "Add --resume to go on with it, or delete that file to start anew.",
        )
    if not resume:
        return parts
    saved = load_checkpoint(checkpoint).get("config")
    if not isinstance(saved, str):
        raise RethawError(f"{checkpoint} is not a checkpoint of a classifier", "Delete it and train again.")
    return assemble(*load_text(saved), parts.device)


class ClassifierTask:
    """A classifier learns to tell the classes of images degraded to any severity."""

    log = None

    def __init__(self, run: Run, parts: Parts, data: Dataset, item: Component) -> None:
        self.run, self.data, self.item = run, data, item
        self.parts = replace(parts, config=replace(parts.config, classifier=item))
        self.network: Classifier = self.parts.classifier(item)
        self.checkpoint = run.path(CLASSIFIER_CHECKPOINT)

    def loss(self, model: nn.Module, batch: Batch, device: torch.device, autocast: Autocast) -> Tensor:
        """-log p(label | x_t), at severities drawn uniformly, as the restorer meets them."""
        target = self.network.indices(labels_of(batch, self.network.field), device)
        x_t, t = self.examples(batch, device)
        with autocast(), seeded(device, mix_seed(self.parts.config.seed, "classifier layers", batch["position"][0])):
            return F.nll_loss(model(x_t, t).float(), target)

    def examples(self, batch: Batch, device: torch.device) -> tuple[Tensor, Tensor]:
        """Degraded images of a batch, and their severities (B,)."""
        x0, config = batch["image"].to(device), self.parts.config
        rngs = [torch.Generator().manual_seed(mix_seed(config.seed, "classify", p)) for p in batch["position"]]
        t = rand(x0, rngs, ())
        x_t = self.parts.degradation.degrade(x0, t, self.parts.degradation.draw(x0, rngs))
        return observe(x_t, config.observation, rngs), t

    @torch.no_grad()
    def accuracy(self, best: nn.Module, device: torch.device) -> float:
        """The share of training images, degraded anew, whose class it tells."""
        config = self.parts.config
        first = config.train.steps * config.train.batch_size
        order = training_order(self.data, config, first + JUDGED)
        right = 0
        for start in range(first, first + JUDGED, config.train.batch_size):
            batch = order.batch(start, min(config.train.batch_size, len(order) - start))
            target = self.network.indices(labels_of(batch, self.network.field), device)
            right += int((best.eval()(*self.examples(batch, device)).argmax(1) == target).sum())
        return right / JUDGED

    def identity(self) -> dict[str, Any]:
        """The pipeline that this training was started with."""
        return {"config": dump_config(self.parts.config)}

    def check_identity(self, saved: dict[str, Any]) -> None:
        """It is resumed as it was started."""

    def save(self, best: nn.Module, step: int) -> None:
        """Nothing is used before the end."""

    def finish(self, best: nn.Module) -> None:
        """Writes the classifier into the run, and into its description."""
        assert isinstance(best, Classifier)
        self.run.save_classifier(best.network)
        config, _ = load_config(str(self.run.path(CONFIG)))  # without what was changed for this training alone
        described = replace(config, classifier=self.item)
        self.run.describe(described, self.parts.registry, self.run.image_shape())
        self.checkpoint.unlink(missing_ok=True)


def labels_of(batch: Batch, field: str) -> Sequence[Any]:
    """The labels of a batch. Raises RethawError where the data has none."""
    if field not in batch:
        raise RethawError(f"the training data has no {field!r}", how_to_have(field))
    labels: Sequence[Any] = batch[field]
    return labels
