"""Random numbers: only from the generators given."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Generator, Tensor

from rethaw.api import Rng


def mix_seed(*parts: int | str) -> int:
    """A 63-bit seed that is a function of its parts, and unrelated for parts that are close together."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


GLOBAL = threading.RLock()
"""Held while torch's global generators are lent."""


@contextmanager
def seeded(device: torch.device, seed: int) -> Iterator[None]:
    """Seeds torch's global generators for a block and restores them: for layers, which draw from nothing else."""
    devices = [torch.cuda.current_device()] if device.type == "cuda" else []
    with GLOBAL, torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def generators(seed: int, count: int, first: int = 0) -> list[Generator]:
    """One generator for each image, so that image i is the same in a batch of any size. On the CPU, on any device."""
    return [Generator().manual_seed(mix_seed(seed, first + i)) for i in range(count)]


def randn(like: Tensor, generator: Rng, shape: Sequence[int] | None = None) -> Tensor:
    """Standard normal values for each image of `like`: (B, *shape), by default the shape of `like`."""
    return _draw(torch.randn, like, generator, shape)


def rand(like: Tensor, generator: Rng, shape: Sequence[int] | None = None) -> Tensor:
    """Uniform values in [0, 1) for each image of `like`: (B, *shape), by default the shape of `like`."""
    return _draw(torch.rand, like, generator, shape)


def _draw(draw: Callable[..., Tensor], like: Tensor, generator: Rng, shape: Sequence[int] | None) -> Tensor:
    each = tuple(like.shape[1:] if shape is None else shape)
    kind = torch.float64 if like.dtype == torch.float64 else torch.float32
    if isinstance(generator, Generator):
        drawn = draw((like.shape[0], *each), generator=generator, device=generator.device, dtype=kind)
    else:
        if len(generator) != like.shape[0]:
            raise ValueError(f"{len(generator)} generators for {like.shape[0]} images")
        drawn = torch.stack([draw(each, generator=g, device=g.device, dtype=kind) for g in generator])
    return drawn.to(like.device, like.dtype, non_blocking=True)
