"""Sharpening too far, as cameras and scanners do."""

from __future__ import annotations

import torch
from torch import Tensor

from rethaw.api import Rng, State
from rethaw.ops import per_image, separable_blur
from rethaw_kornia.blur import Blur
from rethaw_kornia.plugin import GaussianBlur
from rethaw_kornia.plugin import Unsharp as Params


class Unsharp:
    """D(x0, u) = x0 + u a (x0 - B x0), B a Gaussian blur: edges get halos; nothing is random."""

    def __init__(self, params: Params) -> None:
        self.amount = params.amount
        self.blur = Blur(GaussianBlur(sigma_max=params.sigma))

    def draw(self, like: Tensor, generator: Rng) -> State:
        return {}

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        return self.sharpened(x0, u, adjoint=False)

    def adjoint(self, y: Tensor, u: Tensor, state: State) -> Tensor:
        return self.sharpened(y, u, adjoint=True)

    def sharpened(self, x: Tensor, u: Tensor, adjoint: bool) -> Tensor:
        kernel = self.blur.kernel(u.new_ones(1), x)
        return torch.lerp(x, separable_blur(x, kernel, adjoint), -self.amount * per_image(u, x))
