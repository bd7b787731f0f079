"""What a mask shows of a picture is kept: no walk changes it."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from rethaw.api import Degradation, Observation, State, Step
from rethaw.ops import expand, shown_by_mask

EXACT = 1 / 255
"""The noise up to which a picture's values count as known."""


def shown_in(
    degradation: Degradation, x: Tensor, t: Tensor, state: State | None, observation: Observation | None, noise: float
) -> tuple[Tensor, Tensor] | None:
    """Where the images, or what is measured of them, are known as they are, (B, C, H, W), and their values there.

    noise: of x. None where nothing is: the degradation is no mask, its state or the picture itself is not known.
    """
    if observation is not None:
        y, degradation, t, state, noise = observation
    else:
        y = x
    if state is None or noise > EXACT:
        return None
    known = shown_by_mask(degradation, y, expand(t, y), state)
    return (known, y) if bool(known.any()) else None


def kept(steps: Iterator[Step], shown: tuple[Tensor, Tensor] | None) -> Iterator[Step]:
    """The steps, the last of them with what is shown."""
    for step in steps:
        if shown and not step.t.any():
            x = torch.where(shown[0], shown[1].to(step.x.dtype), step.x)
            yield Step(step.t, x, x)
        else:
            yield step
