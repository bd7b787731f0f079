"""Training: draw t and ξ, degrade, restore, compare. One readable loop on Hugging Face accelerate."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from rethaw.api import Dataset, RethawError
from rethaw.config.dump import dump_config
from rethaw.config.model import Config
from rethaw.engine.degradation.hosted import AnyDegradation, probe, told
from rethaw.engine.restorer.blind import estimation_loss
from rethaw.engine.restorer.network import Restorer
from rethaw.engine.restorer.tiles import tiled
from rethaw.engine.run import CHECKPOINT, LOG, load_checkpoint, save_checkpoint
from rethaw.engine.training.examples import Order, collate, first_images, loader, observe
from rethaw.engine.training.objective import Objective
from rethaw.engine.training.preview import draw_progress
from rethaw.engine.training.progress import LogFile, Outcome, Progress, interruptible
from rethaw.files import sweep
from rethaw.ops import expand, generators, mix_seed, seeded
from rethaw.registry import ComponentError

if TYPE_CHECKING:
    from rethaw.engine.pipeline import Pipeline

LOG_EVERY = 10


class Trainer:
    """All that changes while a training runs."""

    def __init__(self, pipeline: Pipeline, data: Dataset, restorer: Restorer, folder: Path) -> None:
        self.pipeline, self.data, self.folder = pipeline, data, folder
        self.config, self.degradation, device = pipeline.config, pipeline.degradation, pipeline.device
        self.step, self.loss = 0, math.nan
        self._sum: Tensor | None = None
        self._since = 0
        AcceleratorState._reset_state()  # another pipeline in this process may have used another precision
        train = pipeline.config.train
        self.objective = Objective(train, pipeline.parameterization)
        precision = {"fp32": "no"}.get(train.precision, train.precision)
        if device.index is not None and device.type == "cuda":
            torch.cuda.set_device(device)
        self.accelerator = Accelerator(mixed_precision=precision, cpu=device.type == "cpu")
        pipeline.device = self.accelerator.device  # each process of several has its own
        if precision == "fp16" and self.accelerator.device.type == "cpu":
            raise RethawError("train.precision: fp16 needs a GPU", "Use fp32 or bf16 on a CPU.")
        optimizer = torch.optim.AdamW(
            restorer.parameters(), lr=train.lr, betas=(0.9, 0.99), weight_decay=train.weight_decay, fused=True
        )
        self.restorer = restorer.to(self.accelerator.device)
        # averaged before accelerate wraps the forward pass, so that it is the network as it will be loaded
        self.ema = AveragedModel(restorer, multi_avg_fn=self._average) if train.ema else None
        self.model, self.optimizer = self.accelerator.prepare(restorer, optimizer)

    def _average(self, averaged: Any, current: Any, count: Any) -> None:
        """EMA whose decay rises from 0, so that the random first weights are forgotten soon."""
        decay = min(self.config.train.ema, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(averaged, current, 1 - decay)

    @property
    def best(self) -> Restorer:
        """The restorer to use: averaged weights where there are any."""
        return cast("Restorer", self.ema.module) if self.ema else self.restorer

    def run(self, watch: Callable[[Progress], None] | None = None) -> Outcome:
        """Trains to the last step, or until SIGINT or SIGTERM; both ends leave a checkpoint."""
        began, start = time.monotonic(), self.step
        steps, batches = self.config.train.steps, self.batches()
        with interruptible() as stop, LogFile(self.folder / LOG if self.is_main else None, self.step) as log:
            while self.step < steps and not stop.is_set():
                self.set_lr()
                self.advance(batches)
                seconds = time.monotonic() - began
                rate = (self.step - start) * self.images_a_step / seconds
                if self.step % LOG_EVERY == 0 or self.step in (1, steps):
                    self.read_loss()
                    log.write(step=self.step, loss=self.loss, rate=rate, lr=self.lr())
                if watch:
                    watch(Progress(self.step, steps, self.loss, rate))
                if self.step % self.config.train.checkpoint_every == 0 and self.step < steps:
                    self.save()
        self.save()
        return Outcome(self.step, self.step >= steps, self.loss, time.monotonic() - began)

    @property
    def images_a_step(self) -> int:
        """Images that all processes together take in one step."""
        train = self.config.train
        return train.batch_size * train.accumulate * int(self.accelerator.num_processes)

    def batches(self) -> Iterator[dict[str, Any]]:
        """The rest of the training order, batch by batch."""
        config, train = self.config, self.config.train
        order = Order(self.data, config.seed, config.restorer.channels, train.steps * self.images_a_step)
        source = loader(order, self.step * self.images_a_step, train.batch_size, train.workers)
        return iter(self.accelerator.prepare(source))

    def advance(self, batches: Iterator[dict[str, Any]]) -> None:
        """One optimizer step."""
        train = self.config.train
        for part in range(train.accumulate):
            last = part == train.accumulate - 1
            with contextlib.nullcontext() if last else self.accelerator.no_sync(self.model):
                loss = self.loss_of(next(batches)) / train.accumulate
                self.accelerator.backward(loss)
            self._sum = loss.detach() if self._sum is None else self._sum + loss.detach()
        if train.clip_grad:
            self.accelerator.clip_grad_norm_(self.model.parameters(), train.clip_grad)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        self._since += 1
        if self.ema:
            self.ema.update_parameters(self.restorer)

    def loss_of(self, batch: dict[str, Any]) -> Tensor:
        """The loss at D(x0, t, ξ), for severities t in [t_min, 1]."""
        x0: Tensor = batch["image"].to(self.accelerator.device)
        rngs = [torch.Generator().manual_seed(mix_seed(self.config.seed, "degrade", p)) for p in batch["position"]]
        t = self.objective.severities(x0, batch["position"], rngs)
        state = self.degradation.draw(x0, rngs)
        x_t = observe(self.degradation.degrade(x0, t, state), self.config.observation, rngs)
        cond = self.pipeline.conditioners.of_items(batch, x0, rngs, drop=True)
        reading = self.pipeline.parameterization
        shown = reading.shown(x_t, t, state)
        with (
            self.accelerator.autocast(),
            seeded(x0.device, mix_seed(self.config.seed, "network", batch["position"][0])),
        ):
            out = self.model(*reading.inputs(shown, t), cond)
        loss = self.objective(out.float(), x0, shown, t, state)
        return loss + estimation_loss(self.restorer.blind, x_t, t) if self.restorer.blind else loss

    def lr(self) -> float:
        """The learning rate of the next step, a function of the step alone."""
        train = self.config.train
        warm = min(1.0, (self.step + 1) / train.warmup) if train.warmup else 1.0
        fade = (
            0.5 * (1 + math.cos(math.pi * min(1.0, self.step / train.steps))) if train.lr_schedule == "cosine" else 1.0
        )
        return train.lr * warm * fade

    def set_lr(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr()

    def read_loss(self) -> None:
        """Fetches the mean loss since it was last read (the one wait for the device), and stops at a broken one."""
        if self._sum is not None and self._since:
            self.loss = float(self.accelerator.reduce(self._sum, "mean")) / self._since
        self._sum, self._since = None, 0
        if not math.isfinite(self.loss):
            raise RethawError(
                f"the loss is {self.loss} at step {self.step}",
                f"Lower the learning rate (train.lr={self.config.train.lr / 4:g}); the last checkpoint is kept.",
            )

    @property
    def is_main(self) -> bool:
        """Whether this process writes the files."""
        return bool(self.accelerator.is_main_process)

    # --- checkpoints -----------------------------------------------------------------------------------------

    def save(self) -> None:
        """Writes the checkpoint, the weights to use, the loss curve and a preview."""
        self.read_loss()  # a broken training must not replace the last good checkpoint
        if not all(bool(torch.isfinite(p).all()) for p in self.restorer.parameters()):
            self.loss = math.nan
            self.read_loss()
        if not self.is_main:
            return
        scaler = self.accelerator.scaler
        save_checkpoint(
            self.folder / CHECKPOINT,
            {
                "step": self.step,
                "loss": self.loss,
                "restorer": self.restorer.state_dict(),
                "ema": self.ema.module.state_dict() if self.ema else None,
                "optimizer": self.optimizer.state_dict(),
                "scaler": scaler.state_dict() if scaler else None,
                "config": dump_config(resumable(self.config)),
            },
        )
        self.pipeline.save_weights(self.folder, self.best)
        draw_progress(self.pipeline, self.data, self.best, self.step, self.folder)

    def resume(self) -> None:
        """Takes up where the checkpoint ends."""
        sweep(self.folder)
        saved = load_checkpoint(self.folder / CHECKPOINT)
        path = self.folder / CHECKPOINT
        if not isinstance(saved, dict) or "restorer" not in saved:
            raise RethawError(f"{path} is not a checkpoint of rethaw")
        if saved["config"] != dump_config(resumable(self.config)):
            raise RethawError(
                f"{path} belongs to another pipeline: {difference(saved['config'], self.config)}",
                "Resume with what it was trained with, or train into another folder.",
            )
        self.step, self.loss = int(saved["step"]), float(saved["loss"])
        self.restorer.load_state_dict(saved["restorer"])
        self.optimizer.load_state_dict(saved["optimizer"])
        if self.ema and saved["ema"]:
            self.ema.module.load_state_dict(saved["ema"])
            self.ema.n_averaged.fill_(self.step)
        if self.accelerator.scaler and saved["scaler"]:
            self.accelerator.scaler.load_state_dict(saved["scaler"])


def resumable(config: Config) -> Config:
    """What must not change between a training and its resumption: all but its length, when it saves, what loads images
    and what only sampling reads."""
    return replace(
        config, train=replace(config.train, steps=1, checkpoint_every=1, workers=0), guidance=None, classifier=None
    )


def difference(saved: str, config: Config) -> str:
    """The first lines that differ."""
    mine = dump_config(resumable(config)).splitlines()
    for old, new in zip(saved.splitlines(), mine, strict=False):
        if old != new:
            return f"it has `{old.strip()}`, this one has `{new.strip()}`"
    return "one has more keys than the other"


def fit_prior(
    config: Config, data: Dataset, degradation: AnyDegradation, prior: Any, count: int = 256
) -> dict[str, Tensor]:
    """Fits a generation prior to fully degraded training images."""

    def degraded() -> Iterator[Tensor]:
        for i, x0 in enumerate(first_images(data, config.seed, config.restorer.channels, min(count, 16 * len(data)))):
            rngs = [torch.Generator().manual_seed(mix_seed(config.seed, "prior", i, j)) for j in range(len(x0))]
            yield degradation.degrade(x0, expand(1.0, x0), degradation.draw(x0, rngs))

    return dict(prior.fit(degraded()))


def preflight(config: Config, data: Dataset, degradation: AnyDegradation) -> tuple[int, ...]:
    """Tries the data and the degradation before long work; the shape of one image."""
    like = next(first_images(data, config.seed, config.restorer.channels, 2))
    probe(degradation, like)
    return tuple(like.shape[1:])


@torch.no_grad()
def rehearse(pipeline: Pipeline, restorer: Restorer) -> None:
    """Conditions and calls a new network once, and refuses one that does not give images of the size that it got."""
    x = torch.zeros(2, *pipeline.image_shape)
    order = Order(pipeline.data, pipeline.config.seed, pipeline.config.restorer.channels, 2)
    cond = pipeline.conditioners.of_items(collate([order[0], order[1]]), x, generators(pipeline.config.seed, 2))
    name = pipeline.config.backbone.use
    try:
        out = tiled(restorer, x, torch.tensor([0.5, 1.0]), cond, 0)
    except Exception as error:
        raise ComponentError(
            f"{name} raised {type(error).__name__} on images of shape {tuple(x.shape)}: {error}"
        ) from error
    wanted = (2, pipeline.parameterization.out_channels, *x.shape[2:])
    if not isinstance(out, Tensor) or out.shape != wanted:
        raise ComponentError(f"{name} does not keep its contract: it gave {told(out)} for {told(x)}, not {wanted}")
