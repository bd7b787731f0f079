"""Gaussian blur: kornia's kernels, one for each image, as separable matrix products."""

from __future__ import annotations

import math

from kornia.filters import get_gaussian_kernel1d
from torch import Tensor
from torch.nn import functional as F

from rethaw.api import Rng, State
from rethaw.ops import separable_blur
from rethaw_kornia.plugin import GaussianBlur as Params

SIGMA_MIN = 1e-3  # below this every tap but the middle one is exactly zero, so u = 0 is the identity
TINY = 1e-12  # smaller weights are denormals in the making, which slow a CPU down


class Blur:
    """D(x0, u) = A_σ x0 A_σᵀ with σ = u·sigma_max; nothing is random."""

    def __init__(self, params: Params) -> None:
        self.params = params
        self.taps = params.kernel_size or 2 * math.ceil(4 * params.sigma_max) + 1

    def draw(self, like: Tensor, generator: Rng) -> State:
        return {}

    def kernel(self, u: Tensor, like: Tensor) -> Tensor:
        """The taps for each image, (B, K)."""
        sigma = (u.to(like.dtype) * self.params.sigma_max).clamp_min(SIGMA_MIN)
        kernel = get_gaussian_kernel1d(self.taps, sigma.view(-1, 1), device=like.device, dtype=like.dtype)
        return F.threshold(kernel, TINY, 0.0)

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        return separable_blur(x0, self.kernel(u, x0))

    def adjoint(self, y: Tensor, u: Tensor, state: State) -> Tensor:
        return separable_blur(y, self.kernel(u, y), adjoint=True)
