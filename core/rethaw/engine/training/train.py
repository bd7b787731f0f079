"""Training a restorer into a run folder: draw t and ξ, degrade, restore, compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from rethaw.api import Cond, Dataset, RethawError
from rethaw.config.dump import dump_config
from rethaw.config.model import Config
from rethaw.engine.degradation.observe import observe
from rethaw.engine.faults import naming
from rethaw.engine.parts import Parts
from rethaw.engine.restorer.blind import estimation_loss
from rethaw.engine.restorer.network import Restorer
from rethaw.engine.run import CHECKPOINT, LOG, Run
from rethaw.engine.training.examples import for_batch
from rethaw.engine.training.memory import check_memory
from rethaw.engine.training.objective import Objective
from rethaw.engine.training.preflight import fit_prior, preflight, rehearse
from rethaw.engine.training.preview import draw_progress
from rethaw.engine.training.progress import Outcome
from rethaw.engine.training.trainer import Autocast, Batch, Trainer, Watch
from rethaw.engine.training.unfolding import Unfolding
from rethaw.ops import mix_seed, seeded

Notify = Callable[[str], None]

CHANGED = "the training data are not what they were when this training was interrupted, so its weights are others too"


@dataclass(frozen=True)
class Trained:
    """What a training gives: how it ended, and all that a `Walker` is made of."""

    outcome: Outcome
    parts: Parts
    restorer: Restorer
    fitted: Mapping[str, Tensor]
    image_shape: tuple[int, ...]
    skipped: Mapping[str, str]


def train(
    parts: Parts, folder: Path, resume: bool = False, watch: Watch | None = None, notify: Notify = lambda text: None
) -> Trained:
    """Trains into a run folder, or takes up an interrupted training there.

    watch: called after every step. notify: called with what the user should know: before the first step the files that
    are left out already, data that changed, memory that may not suffice; at the end the files left out since.
    SIGINT and SIGTERM end the training between two steps, with a checkpoint.
    Raises RethawError where the data, the degradation or the folder is not fit for it.
    """
    run = Run(folder)
    with run.held():
        resume = run.check_free(resume)
        data = parts.data()
        parts = parts.completed(data)
        image_shape = preflight(parts, data)
        restorer = parts.restorer()
        image = rehearse(parts, data, restorer, image_shape)
        task = RestorerTask(run, parts, data, restorer, fit_prior(parts, data), image_shape)
        trainer = Trainer(parts.config, data, task, parts.device)
        if resume:
            trainer.resume()
        said = tell_skipped(trainer.gathered(skipped(data)), notify)
        for note in (*task.notes, check_memory(parts.config.train, restorer, image, trainer.accelerator.device)):
            if note:
                notify(note)
        if trainer.is_main:
            run.describe(parts.config, parts.registry, image_shape)
        outcome = trainer.run(watch)
    left_out = trainer.gathered(skipped(data))
    tell_skipped({path: reason for path, reason in left_out.items() if path not in said}, notify)
    best = trainer.accelerator.unwrap_model(trainer.best, keep_fp32_wrapper=False).eval()
    parts = replace(parts, device=trainer.accelerator.device)  # each process of several has its own
    return Trained(outcome, parts, best, task.fitted, image_shape, left_out)


def skipped(data: Dataset) -> dict[str, str]:
    """The files that a dataset has left out so far, with reasons."""
    return dict(getattr(data, "skipped", {}))


def tell_skipped(files: dict[str, str], notify: Notify) -> dict[str, str]:
    """Says which files are left out."""
    for path, reason in sorted(files.items()):
        notify(f"skipped {path}: {reason}")
    return files


class RestorerTask:
    """A restorer learns to undo its pipeline's degradation."""

    def __init__(
        self,
        run: Run,
        parts: Parts,
        data: Dataset,
        restorer: Restorer,
        fitted: Mapping[str, Tensor],
        image_shape: tuple[int, ...],
    ) -> None:
        self.run, self.parts, self.data, self.network = run, parts, data, restorer
        self.fitted, self.image_shape = fitted, image_shape
        self.checkpoint, self.log = run.path(CHECKPOINT), run.path(LOG)
        self.notes: list[str] = []
        self.objective = Objective(parts.config.train, parts.parameterization)
        unfold = parts.config.train.unfold
        self.unfolding = Unfolding(parts, unfold, restorer, image_shape) if unfold else None

    def loss(self, model: nn.Module, batch: Batch, device: torch.device, autocast: Autocast) -> Tensor:
        """The loss at D(x0, t, ξ), or where a walk has come from there, for severities t in [t_min, 1]."""
        parts, config, positions = self.parts, self.parts.config, batch["position"]
        reading = parts.parameterization
        x0: Tensor = batch["image"].to(device)
        rngs = [torch.Generator().manual_seed(mix_seed(config.seed, "degrade", p)) for p in positions]
        t = self.objective.severities(x0, positions, rngs)
        state = for_batch(parts.degradation, batch, config).draw(x0, rngs)
        seen = x_t = observe(parts.degradation.degrade(x0, t, state), config.observation, rngs)
        cond = parts.conditioners.of_items(batch, x0, rngs, drop=True)
        seed, name = mix_seed(config.seed, "network", positions[0]), config.backbone.use

        def output(network: nn.Module, shown: Tensor, t: Tensor, cond: Cond) -> Tensor:
            with autocast(), seeded(x0.device, seed), naming(name, f"on images of shape {tuple(shown.shape)}"):
                out: Tensor = network(*reading.inputs(shown, t), cond)
            return out.float()

        walked = None
        if self.unfolding:
            x_t, walked = self.unfolding(output, x_t, x0, t, state, cond, positions)
        shown = reading.shown(x_t, t, state)
        loss = self.objective(output(model, shown, t, cond), x0, shown, t, state, walked)
        blind = self.network.blind
        return loss + estimation_loss(blind, seen, t) if blind else loss

    def identity(self) -> dict[str, Any]:
        """The pipeline, but for what may change, and what the data is known by."""
        return {"config": dump_config(resumable(self.parts.config)), "data": getattr(self.data, "fingerprint", None)}

    def check_identity(self, saved: dict[str, Any]) -> None:
        """The pipelines must be the same; the data's folder may have moved."""
        mine = self.identity()
        if saved["config"] == mine["config"]:
            if saved.get("data") and mine["data"] and saved["data"] != mine["data"]:
                self.notes.append(CHANGED)
            return
        if (
            saved.get("data")
            and saved["data"] == mine["data"]
            and differ_in_place_alone(saved["config"], mine["config"])
        ):
            return
        raise RethawError(
            f"{self.checkpoint} belongs to another pipeline: {difference(saved['config'], mine['config'])}",
            "Resume with what it was trained with, or train into another folder.",
        )

    def save(self, best: nn.Module, step: int) -> None:
        """Writes the weights to use, the loss curve and a preview; and the description, if somebody has deleted it."""
        assert isinstance(best, Restorer)
        if not self.run.has("resolved.yaml"):
            self.run.describe(self.parts.config, self.parts.registry, self.image_shape)
        self.run.save_model(best, self.fitted)
        draw_progress(self.parts, self.data, best, step, self.run)


def resumable(config: Config) -> Config:
    """What must not change between a training and its resumption.

    All but its length, when it saves, what loads images, and what only sampling and tuning read.
    """
    train = replace(config.train, steps=1, checkpoint_every=1, workers=0, tune=None)
    return replace(config, train=train, guidance=None, classifier=None)


def differ_in_place_alone(saved: str, mine: str) -> bool:
    """Whether two pipelines differ in the data's path and nothing else."""
    trees = [yaml.safe_load(text) for text in (saved, mine)]
    for tree in trees:
        if isinstance(tree, dict) and isinstance(tree.get("data"), dict):
            tree["data"].pop("path", None)
    return bool(trees[0] == trees[1])


def difference(saved: str, mine: str) -> str:
    """The first lines that differ."""
    for old, new in zip(saved.splitlines(), mine.splitlines(), strict=False):
        if old != new:
            return f"it has `{old.strip()}`, this one has `{new.strip()}`"
    return "one has more keys than the other"
