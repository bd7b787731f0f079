"""What a backbone's output stands for, and how it is read as an estimate of the clean image."""

from __future__ import annotations

from torch import Tensor

from rethaw.api import Prediction
from rethaw.config.model import Restorer as Settings
from rethaw.engine.degradation import AnyDegradation


class Parameterization:
    """The prediction type of a restorer, with the degradation whose coefficients it may need.

    Training compares the output with `target`; sampling turns it into x̂0 by `read`. Both call the network on `inputs`.
    """

    def __init__(self, settings: Settings, degradation: AnyDegradation) -> None:
        self.prediction, self.degradation = settings.prediction, degradation
        self.channels = settings.channels
        self.out_channels = settings.channels

    def inputs(self, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """What the network sees in place of x_t (B, C, H, W) and t (B,)."""
        return x_t, t

    def read(self, out: Tensor, x_t: Tensor, t: Tensor) -> Prediction:
        """The network's output (B, out_channels, H, W) at (x_t, t) as an estimate of x0."""
        return Prediction(x_t + out if self.prediction == "residual" else out)
