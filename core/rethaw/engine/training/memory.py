"""What memory a training will take, as far as one forward pass foretells it, and what the machine has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import psutil
import torch
from torch import Tensor, nn

from rethaw.api import RethawError
from rethaw.config.model import Train

GIB = 2**30
BACKWARD = 1.8
"""What a batch takes, in the tensors that the forward pass keeps: gradients and work space beside them (measured)."""
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@contextmanager
def kept() -> Iterator[Callable[[], int]]:
    """Counts the bytes that forward passes in a block keep for the backward pass, each tensor once."""
    found: dict[int, Tensor] = {}

    def pack(x: Tensor) -> Tensor:
        found[x.untyped_storage().data_ptr()] = x
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        yield lambda: sum(x.untyped_storage().nbytes() for x in found.values())


def size_of(network: nn.Module) -> int:
    """Bytes of a network's weights."""
    return sum(p.numel() * p.element_size() for p in network.parameters())


def foreseen(train: Train, weights: int, image: int) -> int:
    """Bytes that a training takes: for weights, gradients, Adam's two moments and the average; and for a batch.

    weights: bytes of the network. image: bytes that a forward pass keeps of one image.
    """
    return weights * (5 if train.ema else 4) + int(BACKWARD * train.batch_size * image)


def available(device: torch.device) -> tuple[int, int]:
    """Bytes of memory in all, and those that are free now, of a device or the machine."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return total, free
    memory = psutil.virtual_memory()
    total = memory.total
    for limit in LIMITS:  # of a container, which the machine's own figures do not know
        with suppress(OSError, ValueError):
            total = min(total, int(Path(limit).read_text()))
    return total, min(memory.available, total)


def check_memory(train: Train, network: nn.Module, image: int, device: torch.device) -> str | None:
    """A warning where a training may not fit into memory. Raises RethawError where it cannot."""
    weights, (total, free) = size_of(network), available(device)
    if (need := foreseen(train, weights, image)) <= free:
        return None
    batch, hint = train.batch_size, "Choose a smaller network or smaller images."
    while batch and foreseen(replace(train, batch_size=batch), weights, image) > free:
        batch //= 2
    if batch:
        parts = -(-train.batch_size * train.accumulate // batch)
        hint = f"train.batch_size={batch} fits; with train.accumulate={parts} steps are as large as before."
    what = f"train.batch_size={train.batch_size} takes about {need / GIB:.1f} GiB of memory"
    if need > total:
        raise RethawError(f"{what}, and there are {total / GIB:.1f} GiB", hint)
    return f"{what}, and {free / GIB:.1f} of {total / GIB:.1f} GiB are free. {hint}"
