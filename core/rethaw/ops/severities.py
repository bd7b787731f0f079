"""Severities: one for each image, from numbers and rows of a walk to what multiplies a batch."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

from rethaw.api import RethawError


def per_image(u: Tensor, like: Tensor) -> Tensor:
    """(B,) to (B, 1, 1, 1), in the dtype of `like`, so that it multiplies a batch of images."""
    return u.to(like.dtype).view(-1, *(1,) * (like.dim() - 1))


def expand(t: Tensor | float, like: Tensor) -> Tensor:
    """A severity, or one for each image, as a tensor (B,) on the device of `like`, at least float32.

    Raises RethawError for one outside [0, 1], where that can be seen without waiting for a device.
    """
    check_severity(t)
    dtype = torch.promote_types(like.dtype, torch.float32)
    return torch.as_tensor(t, dtype=dtype, device=like.device).expand(like.shape[0])


def check_severity(t: Tensor | float) -> None:
    """Raises RethawError for a severity outside [0, 1]; what is on another device than the CPU is not looked at."""
    if isinstance(t, Tensor):
        if t.device.type != "cpu" or ((t >= 0) & (t <= 1)).all():
            return
        t = next(float(v) for v in t.flatten() if not 0 <= v <= 1)
    if not 0 <= t <= 1:
        raise RethawError(f"severity {t:g} is outside [0, 1]", "0 is the clean image, 1 the full degradation.")


def severity_rows(severities: Tensor, x: Tensor) -> Tensor:
    """Severities (N+1,) or (N+1, B) as (N+1, B), on the device of x and at least float32."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    return severities.to(x.device, dtype).view(len(severities), -1).expand(-1, x.shape[0]).contiguous()


def severity_pairs(severities: Tensor, x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The (t, s) of each step of a walk, (B,) each, from (N+1,) or (N+1, B) severities; moved to the device once."""
    return pairwise(severity_rows(severities, x).unbind(0))


def level(u: Tensor, count: int) -> Tensor:
    """The number, 0 … count, of the level that a strength belongs to: i is for u above (i - 1)/count up to i/count."""
    return torch.ceil(u * count - 1e-4).clamp(0, count)
