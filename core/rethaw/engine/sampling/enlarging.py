"""Larger pictures: squares of equal pixels are restored as what a pixelation of that size has left."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from rethaw.api import RethawError, State
from rethaw.engine.degradation.hosted import Hosted
from rethaw.images import repeated
from rethaw.ops import generators, rand

RATIOS = range(2, 9)
SQUARES = 4
"""That a trial picture is wide."""
TRIALS, ROUNDS = 65, 3
"""Severities that are tried at once, and how often the best is looked for between its neighbours."""
EXACT = 0.02
"""Departure from a pixelation, as a part of what that changes, up to which a degradation counts as one."""


class Fit(NamedTuple):
    """The severity whose images are nearest to pixelated ones, and how far from them as a part of their change."""

    severity: float
    departure: float

    @property
    def exact(self) -> bool:
        """Whether the degradation is a pixelation of that size."""
        return self.departure <= EXACT


@torch.no_grad()
def fit(degradation: Hosted, ratio: int, channels: int) -> Fit:
    """The severity that stands for squares of so many pixels, found on a picture of random squares and dots."""
    side = SQUARES * ratio
    x0 = rand(torch.empty(1, channels, side, side), generators(0, 1)) * 2 - 1
    y, state = repeated(F.avg_pool2d(x0, ratio), ratio), degradation.stand_in(x0)
    low, high, best = 0.0, 1.0, Fit(1.0, float("inf"))
    for _ in range(ROUNDS):
        t = torch.linspace(low, high, TRIALS)
        error = (each_severity(degradation, x0, t, state) - y).square().mean((1, 2, 3)).sqrt()
        at = int(error.argmin())
        found = Fit(float(t[at]), float(error[at] / (y - x0).square().mean().sqrt()))
        best = found if found.departure < best.departure else best
        low, high = float(t[max(at - 1, 0)]), float(t[min(at + 1, TRIALS - 1)])
    return best


def each_severity(degradation: Hosted, x0: Tensor, t: Tensor, state: State) -> Tensor:
    """One image (1, C, H, W) at severities (N,), in one state: (N, C, H, W)."""
    drawn = {key: value.expand(len(t), *value.shape[1:]) for key, value in state.items()}
    return degradation.degrade(x0.expand(len(t), -1, -1, -1), t, drawn)


def severity_of(degradation: Hosted, ratio: int, channels: int) -> tuple[float | None, tuple[str, ...]]:
    """The severity at which to restore squares of so many pixels; None where the run knows no such; and what to say.

    Raises RethawError for more than a run was trained for.
    """
    own = fit(degradation, ratio, channels)
    if own.exact:
        return own.severity, ()
    known = [r for r in RATIOS if fit(degradation, r, channels).exact]
    if not known:
        return None, (
            f"the run was trained on {degradation.name}, not on loss of resolution: edges may stay as steps; "
            f"a run of the recipe `enlarge` knows them",
        )
    trained = " and ".join(str(r) for r in known)
    if ratio > max(known):
        raise RethawError(
            f"the run was trained to enlarge {trained} times and cannot enlarge {ratio} times",
            f"Use --enlarge {max(known)}, and again on the result; or train with a stronger {degradation.name}.",
        )
    return own.severity, (
        f"the run was trained to enlarge {trained} times; {ratio} times is restored as the nearest that it knows, "
        f"which is off by {own.departure:.0%} of what is to be restored",
    )
