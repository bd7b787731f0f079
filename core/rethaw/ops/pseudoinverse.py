"""Affine degradations read backwards: D(x) = A x + b, and the regularised pseudo-inverse of A."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rethaw.api import Degradation, State, has_adjoint, has_svd

__all__ = ["conjugate_gradients", "gains", "least_squares", "linear_part", "pseudo_inverse"]

Operator = Callable[[Tensor], Tensor]


def linear_part(degradation: Degradation, like: Tensor, t: Tensor, state: State) -> tuple[Operator, Tensor]:
    """A and b = D(0) of a degradation that is affine at severities t (B,), for images in the shape of `like`."""
    offset = degradation.degrade(torch.zeros_like(like), t, state)

    def apply(x: Tensor) -> Tensor:
        size = x.abs().flatten(1).amax(1).clamp_min(torch.finfo(x.dtype).tiny).view(-1, *(1,) * (x.dim() - 1))
        return size * (degradation.degrade(x / size, t, state) - offset)  # so that small x are not lost in b

    return apply, offset


def gains(s: Tensor, weight: float | Tensor = 0.0) -> Tensor:
    """s_i / (s_i² + λ) of singular values, and 0 of those that are only rounding. weight: λ, perhaps (B, 1, 1, 1)."""
    least: float = 4 * torch.finfo(s.dtype).eps
    added = weight.clamp_min(least**2) if isinstance(weight, Tensor) else max(weight, least**2)
    return torch.where(s > least, s / (s.square() + added), 0.0)


def pseudo_inverse(
    degradation: Degradation, like: Tensor, t: Tensor, state: State, weight: float, iterations: int = 20
) -> Operator:
    """r ↦ (AᵀA + λ)⁻¹ Aᵀ r with λ = weight; λ → 0 gives A⁺ r. As `least_squares` does it."""
    solve = least_squares(degradation, like, t, state, iterations)
    return lambda r: solve(r, weight)


def least_squares(
    degradation: Degradation, like: Tensor, t: Tensor, state: State, iterations: int = 20
) -> Callable[[Tensor, float | Tensor], Tensor]:
    """(r, λ) ↦ (AᵀA + λ)⁻¹ Aᵀ r, the x that minimises |A x - r|² + λ |x|²; λ of all images, or of each (B, 1, 1, 1).

    By the degradation's `svd` where it has one, else by so many conjugate gradient steps on its `adjoint`.
    """
    if has_svd(degradation):
        svd = degradation.svd(like, t, state)
        return lambda r, weight: svd.V(gains(svd.s, weight) * svd.Ut(r))
    apply, _ = linear_part(degradation, like, t, state)
    assert has_adjoint(degradation)
    adjoint = degradation.adjoint

    def solve(r: Tensor, weight: float | Tensor) -> Tensor:
        return conjugate_gradients(lambda x: adjoint(apply(x), t, state) + weight * x, adjoint(r, t, state), iterations)

    return solve


def conjugate_gradients(normal: Operator, b: Tensor, iterations: int) -> Tensor:
    """Solves N x = b for each image of a batch, N symmetric and positive (Hestenes and Stiefel 1952).

    The number of steps is fixed, so that nothing waits for the device; an image that is solved stays as it is.
    """
    tiny, least = torch.finfo(b.dtype).tiny, (4 * torch.finfo(b.dtype).eps) ** 2

    def dot(p: Tensor, q: Tensor) -> Tensor:
        return (p * q).flatten(1).sum(1).view(-1, *(1,) * (b.dim() - 1))

    x, r, p, ρ = torch.zeros_like(b), b, b, dot(b, b)
    solved = least * ρ
    for _ in range(iterations):
        q = normal(p)
        step = torch.where(ρ > solved, ρ / dot(p, q).clamp_min(tiny), 0.0)
        x, r = x + step * p, r - step * q
        before, ρ = ρ, dot(r, r)
        p = r + ρ / before.clamp_min(tiny) * p
    return x
