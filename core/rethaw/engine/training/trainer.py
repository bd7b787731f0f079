"""The training loop: one for whatever is trained, on Hugging Face accelerate."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import gather_object
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from rethaw.api import Dataset, RethawError
from rethaw.config.model import Config, Train
from rethaw.engine.training.checkpoint import DAMAGED, load_checkpoint, save_checkpoint
from rethaw.engine.training.examples import loader, training_order
from rethaw.engine.training.progress import LogFile, Outcome, Progress, interruptible

LOG_EVERY = 10
SHARDED = ("FSDP", "DEEPSPEED", "MEGATRON_LM")

Watch = Callable[[Progress], None]
Batch = dict[str, Any]
Autocast = Callable[[], AbstractContextManager[Any]]


class Task(Protocol):
    """What is trained: a network, and what it minimises."""

    @property
    def network(self) -> nn.Module:
        """What learns."""
        ...

    @property
    def checkpoint(self) -> Path:
        """The file that resuming needs."""
        ...

    @property
    def log(self) -> Path | None:
        """The file that losses are logged in."""
        ...

    def loss(self, model: nn.Module, batch: Batch, device: torch.device, autocast: Autocast) -> Tensor:
        """The loss of a batch of the data's items; model: the network, perhaps wrapped for several processes."""
        ...

    def identity(self) -> dict[str, Any]:
        """What a training to be resumed must agree in, as plain data; see `check_identity`."""
        ...

    def check_identity(self, saved: dict[str, Any]) -> None:
        """Raises RethawError where a checkpoint belongs to another training."""
        ...

    def save(self, best: nn.Module, step: int) -> None:
        """Writes the weights to use, and what people may look at."""
        ...


@dataclass(frozen=True)
class Schedule:
    """The learning rate, a function of the step alone."""

    train: Train

    def lr(self, step: int) -> float:
        """Of the step after so many."""
        train = self.train
        warm = min(1.0, (step + 1) / train.warmup) if train.warmup else 1.0
        done = min(1.0, step / train.steps)
        fade = 0.5 * (1 + math.cos(math.pi * done)) if train.lr_schedule == "cosine" else 1.0
        return train.lr * warm * fade


class Trainer:
    """All that changes while a training runs."""

    def __init__(self, config: Config, data: Dataset, task: Task, device: torch.device) -> None:
        self.config, self.data, self.task, self.train = config, data, task, config.train
        self.step, self.loss = 0, math.nan
        self.summed: Tensor | None = None
        self.since = 0
        self.schedule = Schedule(config.train)
        self.accelerator = make_accelerator(config.train, device)
        optimizer = torch.optim.AdamW(
            task.network.parameters(),
            lr=self.train.lr,
            betas=(0.9, 0.99),
            weight_decay=self.train.weight_decay,
            fused=True,
        )
        network = task.network.to(self.accelerator.device)
        # averaged before accelerate wraps the forward pass, so that it is the network as it will be loaded
        self.ema = AveragedModel(network, multi_avg_fn=self.average) if self.train.ema else None
        self.model, self.optimizer = self.accelerator.prepare(network, optimizer)

    def average(self, averaged: Any, current: Any, count: Any) -> None:
        """EMA whose decay rises from 0, so that the random first weights are forgotten soon."""
        decay = min(self.train.ema, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(averaged, current, 1 - decay)

    @property
    def best(self) -> nn.Module:
        """The network to use: with averaged weights where there are any."""
        found: nn.Module = self.ema.module if self.ema else self.task.network
        return found

    def run(self, watch: Watch | None = None) -> Outcome:
        """Trains to the last step, or until SIGINT or SIGTERM; both ends leave a checkpoint."""
        began, start, steps = time.monotonic(), self.step, self.train.steps
        batches = self.batches()
        log = LogFile(self.task.log if self.is_main else None, self.step)
        with interruptible() as stop:
            while self.step < steps and not self.stopped(stop):
                for group in self.optimizer.param_groups:
                    group["lr"] = self.schedule.lr(self.step)
                self.advance(batches)
                rate = (self.step - start) * self.images_a_step / (time.monotonic() - began)
                if self.step % LOG_EVERY == 0 or self.step in (1, steps):
                    self.read_loss()
                    log.write(step=self.step, loss=self.loss, rate=rate, lr=self.schedule.lr(self.step))
                if watch:
                    watch(Progress(self.step, steps, self.loss, rate))
                if self.step % self.train.checkpoint_every == 0 and self.step < steps:
                    self.save()
        self.save()
        return Outcome(self.step, self.step >= steps, self.loss, time.monotonic() - began)

    def stopped(self, stop: Event) -> bool:
        """Whether to stop; several processes agree on it, so that none waits for another that has gone."""
        if self.accelerator.num_processes == 1:
            return stop.is_set()
        flag = torch.tensor(float(stop.is_set()), device=self.accelerator.device)
        return bool(self.accelerator.reduce(flag, "sum") > 0)

    @property
    def images_a_step(self) -> int:
        """Images that all processes together take in one step."""
        return self.train.batch_size * self.train.accumulate * int(self.accelerator.num_processes)

    def batches(self) -> Iterator[Batch]:
        """The rest of the training order, batch by batch."""
        train, size = self.train, self.images_a_step
        order = training_order(self.data, self.config, train.steps * size)
        source = loader(order, self.step * size, train.batch_size, train.workers)
        return iter(self.accelerator.prepare(source))

    def advance(self, batches: Iterator[Batch]) -> None:
        """One optimizer step."""
        accelerator, train = self.accelerator, self.train
        for part in range(train.accumulate):
            last = part == train.accumulate - 1
            with contextlib.nullcontext() if last else accelerator.no_sync(self.model):
                loss = self.task.loss(self.model, next(batches), accelerator.device, accelerator.autocast)
                accelerator.backward(loss / train.accumulate)
            share = loss.detach() / train.accumulate
            self.summed = share if self.summed is None else self.summed + share
        if train.clip_grad:
            accelerator.clip_grad_norm_(self.model.parameters(), train.clip_grad)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        self.since += 1
        if self.ema:
            self.ema.update_parameters(self.task.network)

    def read_loss(self) -> None:
        """Fetches the mean loss since it was last read (the one wait for the device), and stops at a broken one."""
        if self.summed is not None and self.since:
            self.loss = float(self.accelerator.reduce(self.summed, "mean")) / self.since
            if not math.isfinite(self.loss):
                raise self.broken(f"the loss is {self.loss}")
        self.summed, self.since = None, 0

    def broken(self, what: str) -> RethawError:
        """A training that has diverged."""
        return RethawError(
            f"{what} at step {self.step}",
            f"Lower the learning rate (train.lr={self.train.lr / 4:g}); the last checkpoint is kept.",
        )

    def gathered(self, found: dict[str, str]) -> dict[str, str]:
        """What all processes have found together."""
        if self.accelerator.num_processes == 1:
            return found
        return dict(gather_object(sorted(found.items())))

    @property
    def is_main(self) -> bool:
        """Whether this process writes the files."""
        return bool(self.accelerator.is_main_process)

    # --- checkpoints -----------------------------------------------------------------------------------------

    def save(self) -> None:
        """Writes the checkpoint and what the task makes of its weights; broken ones replace nothing."""
        self.read_loss()
        if not all(bool(torch.isfinite(p).all()) for p in self.task.network.parameters()):
            raise self.broken("the weights are not finite")
        if not self.is_main:
            return
        scaler = self.accelerator.scaler
        save_checkpoint(
            self.task.checkpoint,
            {
                "step": self.step,
                "loss": self.loss,
                "network": self.task.network.state_dict(),
                "ema": self.ema.module.state_dict() if self.ema else None,
                "optimizer": self.optimizer.state_dict(),
                "scaler": scaler.state_dict() if scaler else None,
                **self.task.identity(),
            },
        )
        self.task.save(self.best, self.step)

    def resume(self) -> None:
        """Takes up where the checkpoint ends."""
        path = self.task.checkpoint
        saved = load_checkpoint(path)
        try:
            self.task.check_identity(saved)
            self.task.network.load_state_dict(saved["network"] if "network" in saved else saved["restorer"])
            self.optimizer.load_state_dict(saved["optimizer"])
            if self.ema and saved["ema"]:
                self.ema.module.load_state_dict(saved["ema"])
                self.ema.n_averaged.fill_(saved["step"])
            if self.accelerator.scaler and saved["scaler"]:
                self.accelerator.scaler.load_state_dict(saved["scaler"])
            self.step, self.loss = saved["step"], float(saved["loss"])
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise RethawError(f"the checkpoint {path} is damaged ({type(error).__name__})", DAMAGED) from error


def make_accelerator(train: Train, device: torch.device) -> Accelerator:
    """Accelerate for one process or several, each with a device of its own."""
    precision, held = {"fp32": "no"}.get(train.precision, train.precision), AcceleratorState._shared_state
    if (held.get("_mixed_precision"), held.get("device")) != (precision, device):
        # what another training in this process has left, or goes on with in another thread if it is the same
        AcceleratorState._reset_state(not torch.distributed.is_initialized())
    if device.index is not None and device.type == "cuda":
        torch.cuda.set_device(device)
    for name in SHARDED:  # asked for by the launcher; without several GPUs, accelerate goes on as if it were not
        if os.environ.get(f"ACCELERATE_USE_{name}", "").lower() == "true":
            raise RethawError(
                f"training under {name} is not supported: weights stay whole on each device",
                "Launch with plain DDP: accelerate launch --multi_gpu, without FSDP or DeepSpeed.",
            )
    accelerator = Accelerator(mixed_precision=precision, cpu=device.type == "cpu")
    if precision == "fp16" and accelerator.device.type == "cpu":
        raise RethawError("train.precision: fp16 needs a GPU", "Use fp32 or bf16 on a CPU.")
    return accelerator
