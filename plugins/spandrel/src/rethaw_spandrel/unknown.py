"""The degradation that a checkpoint undoes where its file does not say which."""

from __future__ import annotations

from torch import Tensor

from rethaw.api import Rng, State
from rethaw_spandrel.plugin import Unknown as Params


class Unknown:
    """D(x0, u, ξ) = x0, with a state "unknown" (B, 1) that nobody can give for an image that comes degraded.

    So samplers that degrade again, which need the state, are refused; restoring in one step is what remains.
    """

    def __init__(self, params: Params) -> None:
        self.params = params

    def draw(self, like: Tensor, generator: Rng) -> State:
        return {"unknown": like.new_zeros(like.shape[0], 1)}

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        return x0.clone()
