"""What restored images have gone through, where that is not the degradation that the restorer was trained on."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from rethaw.api import Observation, RethawError, State
from rethaw.config.model import Component
from rethaw.engine.degradation.hosted import host_component
from rethaw.ops import expand, generators
from rethaw.registry import Registry


class Measurement:
    """A degradation, with the precision that its results are known to."""

    def __init__(self, component: Component, registry: Registry) -> None:
        self.degradation, self.how = host_component(component, registry), component.host

    def observation(self, y: Tensor, severity: float | Tensor, state: State | None) -> Observation:
        """What samplers get. Raises RethawError where ξ is random and nobody gives it."""
        if state is None and self.degradation.draw(y[:1], generators(0, 1)):
            raise RethawError(
                f"the random state of the measurement {self.degradation.name} is not known",
                "Give it: --state mask=FILE, or state={…} in Python.",
            )
        return Observation(y, self.degradation, expand(severity, y), state or {}, self.how.deviation)


def keeps_to(sampler: Any, observation: Observation | None) -> str | None:
    """Why a sampler does not fit a measurement, or the lack of one; None where it does."""
    measures = getattr(sampler, "measures", False)
    if observation is not None and not measures:
        return "it takes no account of the measurement; core.ddrm, core.ddnm, core.dps and core.repaint do"
    if observation is None and measures:
        return "it restores from a measurement, and none is given (measurement: {use: …})"
    return None
