"""The training order: which image, cut and degraded how, is a function of (seed, position) alone.

So a resumed run needs no generator states, and processes that share a training never see the same example twice.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Generator, Tensor
from torch.utils.data import DataLoader

from rethaw.api import Dataset, Item, RethawError
from rethaw.config.model import Config
from rethaw.engine.degradation.fields import asked_of
from rethaw.engine.degradation.hosted import Hosted
from rethaw.engine.faults import broken, naming
from rethaw.ops import mix_seed

LARGEST = 1.5
"""What a value of a clean image may be at most: some resizing overshoots 1 a little."""


class Order(torch.utils.data.Dataset[dict[str, Any]]):
    """Positions 0 … count-1 of a training to items; each epoch goes through the data in a new order."""

    def __init__(self, data: Dataset, seed: int, channels: int, count: int, name: str = "the dataset") -> None:
        self.name = name
        self.data, self.seed, self.channels, self.count = data, seed, channels, count
        self._epoch = lru_cache(maxsize=2)(self.permutation)

    def __len__(self) -> int:
        return self.count

    def permutation(self, epoch: int) -> list[int]:
        """The order of the data in one epoch."""
        generator = Generator().manual_seed(mix_seed(self.seed, "epoch", epoch))
        return torch.randperm(len(self.data), generator=generator).tolist()

    def __getitem__(self, position: int) -> dict[str, Any]:
        epoch, at = divmod(position, len(self.data))
        index, rng = self._epoch(epoch)[at], Generator().manual_seed(mix_seed(self.seed, "item", position))
        with naming(self.name, f"giving item {index}"):
            item = self.data.item(index, rng)
        check_item(item, self.name, index, self.channels)
        return {**item, "image": item["image"].float(), "position": position}

    def batch(self, first: int, count: int) -> dict[str, Any]:
        """So many items from a position on, as the loader gives them."""
        return collate([self[i] for i in range(first, first + count)], self.name)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_epoch"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._epoch = lru_cache(maxsize=2)(self.permutation)


def training_order(data: Dataset, config: Config, count: int) -> Order:
    """The order of a pipeline's training, of so many items."""
    name = config.data.use if config.data else "the dataset"
    return Order(data, config.seed, config.restorer.channels, count, name)


def check_item(item: Item, name: str, index: int, channels: int) -> None:
    """Refuses what a dataset must not give."""
    image = item.get("image") if isinstance(item, Mapping) else None
    if not isinstance(image, Tensor) or image.dim() != 3 or 0 in image.shape or not image.is_floating_point():
        raise broken(name, f"item {index} is without an image (C, H, W) of floating-point values")
    if image.shape[0] != channels:
        raise RethawError(
            f"{name} gives {image.shape[0]}-channel images, but restorer.channels is {channels}",
            f"Set data.channels={channels} or restorer.channels={image.shape[0]}.",
        )
    if not bool(image.isfinite().all()):
        raise broken(name, f"the image of item {index} has values that are not finite")
    low, high = image.aminmax()
    if not (low >= -LARGEST and high <= LARGEST):
        raise broken(name, f"the image of item {index} has values from {low:g} to {high:g}, not in [-1, 1]")


def collate(items: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """Images stacked, everything else as lists."""
    shapes = {tuple(item["image"].shape) for item in items}
    if len(shapes) > 1:
        raise RethawError(
            f"{name} gives images of several sizes in one batch: {', '.join(map(str, sorted(shapes)))}",
            "Give them one size: data.size=64.",
        )
    fields = set.intersection(*(set(item) for item in items)) - {"image"}
    return {"image": torch.stack([item["image"] for item in items]), **{f: [item[f] for item in items] for f in fields}}


def loader(order: Order, start: int, batch_size: int, workers: int) -> DataLoader[dict[str, Any]]:
    """Batches of the training order from position `start` on."""
    return DataLoader(
        order,
        batch_size=batch_size,
        sampler=range(start, len(order)),
        num_workers=workers,
        collate_fn=partial(collate, name=order.name),
        generator=Generator().manual_seed(0),
        drop_last=False,
        persistent_workers=workers > 0,
        worker_init_fn=own_session,
    )


def own_session(worker: int) -> None:
    """Keeps signals to the training's process group from its workers: the training stops in order, and they with it."""
    if hasattr(os, "setsid"):
        os.setsid()


def first_batches(data: Dataset, config: Config, count: int) -> Iterator[dict[str, Any]]:
    """Items for looking at and for fitting priors, in small batches."""
    order = training_order(data, config, count)
    for start in range(0, count, 16):
        yield order.batch(start, min(16, count - start))


def for_batch(degradation: Hosted, batch: Mapping[str, Any], config: Config) -> Hosted:
    """A degradation for the items of a batch. Raises RethawError where they lack a field that it asks for."""
    dataset = config.data.use if config.data else "the dataset"
    return degradation.for_items(asked_of(batch, dataset, degradation.fields, degradation.name))
