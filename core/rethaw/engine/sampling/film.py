"""What is kept of a trajectory to be looked at."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from rethaw.api import Step
from rethaw.pictures import reduced


class Frame(NamedTuple):
    """A station: its severity, x_t and x̂0."""

    t: float
    x: Tensor
    x0_hat: Tensor


class Film:
    """Stations of a trajectory for a strip or an animation: at most `most`, evenly spread; 0 keeps none.

    They are kept as large as they will be drawn.
    """

    def __init__(self, most: int) -> None:
        self.most, self.every, self.seen = most, 1, 0
        self.frames: list[Frame] = []

    def add(self, step: Step, index: int | None = None) -> None:
        """Takes in a station, of one image of the batch or of all; when there are too many, drops every other one."""
        if self.most and self.seen % self.every == 0:
            x, x0_hat = (each if index is None else each[index] for each in (step.x, step.x0_hat))
            self.frames.append(Frame(float(step.t[0]), reduced(x).cpu(), reduced(x0_hat).cpu()))
        if len(self.frames) > self.most:
            self.frames, self.every = self.frames[::2], self.every * 2
        self.seen += 1
