"""Degraded images as they are observed."""

from __future__ import annotations

from torch import Tensor

from rethaw.api import Rng, State
from rethaw.config.model import Precision
from rethaw.engine.degradation.hosted import Hosted
from rethaw.images import quantise
from rethaw.ops import expand, randn


def degraded(degradation: Hosted, x0: Tensor, severity: float | Tensor, generator: Rng) -> tuple[Tensor, State]:
    """Clean images (B, C, H, W) at a severity, with a state that is drawn for them."""
    state = degradation.draw(x0, generator)
    return degradation.degrade(x0, expand(severity, x0), state), state


def observe(x: Tensor, precision: Precision, generator: Rng) -> Tensor:
    """A degraded image as it would be observed: with noise, and at so many bits (rounded, not clipped)."""
    if precision.noise:
        x = x + precision.noise * randn(x, generator)
    return quantise(x, precision.bits) if precision.bits else x
