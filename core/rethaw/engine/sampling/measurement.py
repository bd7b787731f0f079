"""What restored images have gone through, where that is not the degradation that the restorer was trained on."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from rethaw.api import Observation, RethawError, Sampler, State
from rethaw.config.model import Precision
from rethaw.engine.degradation.hosted import Hosted
from rethaw.engine.restorer.conditioners import check_read
from rethaw.ops import expand


@dataclass(frozen=True)
class Measurement:
    """A degradation, with the precision that its results are known to."""

    degradation: Hosted
    precision: Precision

    def observation(self, y: Tensor, severity: float | Tensor, state: State | None) -> Observation:
        """What samplers get. Raises RethawError where ξ is random and nobody gives it, or gives something else."""
        drawn = self.degradation.stand_in(y)
        check_read("state", state or (), tuple(drawn), f"{self.degradation.name} draws no state.")
        if state is None and drawn:
            raise RethawError(
                f"the random state of the measurement {self.degradation.name} is not known",
                "Give it: --state KEY=FILE, or state={…} in Python.",
            )
        return Observation(y, self.degradation, expand(severity, y), state or {}, self.precision.deviation)


def measurement_mismatch(sampler: Sampler, observation: Observation | None) -> str | None:
    """Why a sampler does not go with a measurement, or the lack of one; None where it does."""
    measures = getattr(sampler, "measures", False)
    if observation is not None and not measures:
        others = "core.ddrm, core.ddnm, core.diffpir, core.pigdm, core.dps and core.repaint"
        return f"it takes no account of the measurement; {others} do"
    if observation is None and measures:
        return "it restores from a measurement, and none is given (measurement: {use: …})"
    return None
