"""Photon counts: the quantiles of the Poisson distribution, so that a count is a function of a normal draw."""

from __future__ import annotations

import math

import torch
from torch import Tensor

FEW, TAPS = 6.0, 24  # up to FEW photons the quantile is summed over TAPS counts; P(N > TAPS) < 1e-8 there


CERTAIN = 2 - 2e-6  # float32 tells probabilities below one apart up to here


def poisson_quantile(λ: Tensor, z: Tensor) -> Tensor:
    """The quantile Φ(z) of the Poisson distribution of mean λ, as whole numbers."""
    if λ.device.type == "cpu" and not torch.compiler.is_compiling():  # whose sums are few, as a rule
        found, few = _quantile_by_expansion(λ.clamp_min(FEW), z), λ < FEW
        found[few] = _quantile_by_sum(λ[few], z.expand_as(λ)[few])
        return found
    few = (λ < FEW).to(λ.dtype)
    return torch.lerp(_quantile_by_expansion(λ.clamp_min(FEW), z), _quantile_by_sum(λ.clamp_max(FEW), z), few)


def _quantile_by_sum(λ: Tensor, z: Tensor) -> Tensor:
    """Counts how many k < TAPS have P(N ≤ k) < Φ(z), both multiplied by e^λ: Σ λ^j / j! for j ≤ k."""
    power, bound = λ.clone(), torch.erfc(z * -math.sqrt(0.5)).clamp_(max=CERTAIN).mul_(0.5).mul_(λ.exp())
    total = torch.ones_like(λ)
    count = (total < bound).byte()
    for k in range(1, TAPS):
        total.add_(power, alpha=1 / math.factorial(k))
        power.mul_(λ)
        count += total < bound
    return count.to(λ.dtype)


def _quantile_by_expansion(λ: Tensor, z: Tensor) -> Tensor:
    """Giles 2016 (Algorithm 955), the normal expansion of the quantile to order 1/λ, rounded down."""
    root, z2 = λ.sqrt(), z.square()
    near = torch.addcmul(λ, root, z).add_(z2 / 6 + 1 / 3)
    far = ((z2 / 270 + 7 / 810).mul_(z2).sub_(8 / 405)).div_(λ)
    return near.add_(far).addcdiv_((z2 + 2).mul_(z), root, value=-1 / 72).floor_().clamp_min_(0)
