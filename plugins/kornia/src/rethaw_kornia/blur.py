"""Gaussian blur: one kernel for each image, as separable matrix products."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from rethaw.api import SVD, Rng, State
from rethaw.ops import Constant, dense_blur, separable_blur, separable_svd
from rethaw_kornia.plugin import GaussianBlur as Params

SIGMA_MIN = 1e-3  # below this every tap but the middle one is exactly zero, so u = 0 is the identity
TINY = 1e-12  # smaller weights are denormals in the making, which slow a CPU down


class Blur:
    """D(x0, u) = A_σ x0 A_σᵀ with σ = u·sigma_max; nothing is random."""

    def __init__(self, params: Params) -> None:
        self.params = params
        self.taps = params.kernel_size or 2 * math.ceil(4 * params.sigma_max) + 1
        self.exponents = Constant(-(torch.arange(self.taps) - self.taps // 2).square() / 2)

    def draw(self, like: Tensor, generator: Rng) -> State:
        return {}

    def kernel(self, u: Tensor, like: Tensor) -> Tensor:
        """The taps for each image, (B, K): kornia's, in a fifth of the time."""
        sigma = (u.to(like.dtype) * self.params.sigma_max).clamp_min(SIGMA_MIN)
        kernel = torch.softmax(self.exponents.like(like) / sigma.square().unsqueeze(1), 1)
        return F.threshold(kernel, TINY, 0.0)

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        return separable_blur(x0, self.kernel(u, x0))

    def adjoint(self, y: Tensor, u: Tensor, state: State) -> Tensor:
        return separable_blur(y, self.kernel(u, y), adjoint=True)

    def svd(self, like: Tensor, u: Tensor, state: State) -> SVD:
        kernel = self.kernel(u, like)
        return separable_svd(*(dense_blur(kernel, size) for size in like.shape[-2:]))
