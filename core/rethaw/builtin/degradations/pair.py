"""The way from an image to what was observed of it, where there are pairs of files and no formula."""

from __future__ import annotations

import torch
from torch import Tensor

from rethaw.api import RethawError, Rng, State
from rethaw.builtin.degradations.params import Pair as Params
from rethaw.ops import per_image, randn, reciprocal


class Pair:
    """D(x0, u, ξ) = (1 - u) x0 + u y + noise·√(u(1 - u)) z; state: y, a field of the item, and z ~ N(0, I) of noise.

    Cold sampling with inferred state is InDI's walk (2303.11435, section 3): x_s = (1 - s/t) x̂0 + (s/t) x_t.
    """

    def __init__(self, params: Params) -> None:
        self.noise, self.z_key = params.noise, params.field
        self.fields = (params.field,)
        if not self.noise:
            self.coefficients = self._coefficients

    def draw(self, like: Tensor, generator: Rng) -> State:
        return {"z": randn(like, generator)} if self.noise else {}

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        y, u = state[self.z_key], per_image(u, x0)
        if y.shape != x0.shape:
            raise RethawError(f"{self.z_key} is of shape {tuple(y.shape)}, and the images of shape {tuple(x0.shape)}")
        x = torch.lerp(x0, y, u)
        return torch.addcmul(x, self.deviation(u), state["z"]) if self.noise else x

    def infer(self, x_u: Tensor, x0_hat: Tensor, u: Tensor, state: State) -> State:
        """The y that explains x_u without noise, at u = 1 x_u itself; of a known y, the noise. 0 where x_u is clean."""
        u = per_image(u, x_u)
        rest = x_u - (1 - u) * x0_hat
        if not self.noise:
            return {self.z_key: rest * reciprocal(u)}
        y = state.get(self.z_key)
        if y is None:
            return {self.z_key: rest * reciprocal(u), "z": torch.zeros_like(x_u)}
        return {self.z_key: y, "z": (rest - u * y) * reciprocal(self.deviation(u))}

    def _coefficients(self, u: Tensor) -> tuple[Tensor, Tensor]:
        return 1 - u, u

    def deviation(self, u: Tensor) -> Tensor:
        """noise·√(u(1 - u)), nothing at both ends."""
        return self.noise * (u * (1 - u)).clamp_min(0).sqrt()
