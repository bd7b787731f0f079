"""Degradations D = α x0 + σ z as samplers and restorers use them, in terms of α and σ."""

from __future__ import annotations

import torch
from torch import Tensor

from rethaw.api import Degradation, HasCoefficients, has_coefficients
from rethaw.ops.severities import severity_rows


def needs_coefficients(degradation: Degradation, *, gaussian: bool = False, smooth: bool = False) -> str | None:
    """What a degradation lacks of D = α x0 + σ z, in words; None where it has it all. For `check` of samplers.

    gaussian: z must be N(0, I). smooth: α and σ must have derivatives, which levels do not.
    """
    if not has_coefficients(degradation):
        return "it has no coefficients: it is not of the form α x0 + σ z"
    if gaussian and not getattr(degradation, "gaussian", False):
        return "its z is not Gaussian noise"
    if smooth and not getattr(degradation, "continuous", True):
        return "its coefficients move in levels and have no derivative"
    return None


def schedule(degradation: HasCoefficients, severities: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The t (N+1, B) of a walk and its α and σ (N+1, B, 1, 1, 1), these in float64 where the device has it.

    In one pass before the loop: a sampler derives the coefficients of all its steps from them and casts those to the
    dtype of x. Each t[i] (B,) is to be passed to `restore` as it is: the host knows it again.
    """
    t = severity_rows(severities, x)
    wide = t.dtype if t.device.type == "mps" else torch.float64
    α, σ = degradation.coefficients(t.flatten().to(wide))
    each = (*t.shape, *(1,) * (x.dim() - 1))
    return t, α.view(each), σ.view(each)


def reciprocal(x: Tensor) -> Tensor:
    """1/x of x ≥ 0, and 0 where x is 0."""
    return torch.where(x > 0, 1 / x.clamp_min(torch.finfo(x.dtype).tiny), 0.0)


def quotient(x: Tensor, y: Tensor) -> Tensor:
    """x/y of x, y ≥ 0, and 1 where y is 0: σ_s/σ_t says that where there is no noise, a step takes none away."""
    return torch.where(y > 0, x * reciprocal(y), 1.0)


def combine(a: Tensor, x: Tensor, b: Tensor, y: Tensor) -> Tensor:
    """a x + b y, in two passes over one new tensor: a step of most samplers. a, b: (B, 1, 1, 1)."""
    return (a * x).addcmul_(b, y)


def noise_of(x: Tensor, x0_hat: Tensor, α: Tensor, σ: Tensor) -> Tensor:
    """z = (x_t - α x̂0) / σ: the noise that explains x_t; 0 where σ is 0. α, σ: (B, 1, 1, 1)."""
    return torch.addcmul(x, α, x0_hat, value=-1) * reciprocal(σ)


def posterior(α_t: Tensor, σ_t: Tensor, α_s: Tensor, σ_s: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """q(x_s | x_t, x0) = N(a x_t + b x0, β̃) of the Markov chain with these coefficients, s < t: a, b, β̃ and β.

    β = σ_t² - (α_t/α_s)² σ_s² is the variance of q(x_t | x_s). DDPM, eq. 6 and 7, for any α and σ (2107.00630, eq. 25).
    Where σ_t is 0, so that x_t has no noise to lose, it is x_t itself, but for α: a = 1, β̃ = β = 0.
    """
    ratio = quotient(α_t, α_s)
    β = (σ_t.square() - (ratio * σ_s).square()).clamp_min(0)
    left = quotient(σ_s.square(), σ_t.square())
    a = torch.where(σ_t > 0, ratio * left, 1.0)
    return a, α_s - α_t * a, left * β, β


SPLITS, ROUNDS = 32, 9  # t to within 32⁻⁹, 3e-14


def severity_at(degradation: HasCoefficients, σ: Tensor) -> Tensor:
    """The t in [0, 1] at noise levels σ/α of any shape, the inverse of σ(t)/α(t), which must not fall.

    By sections into 32 parts, all at once. Above the highest noise level it is 1; a degradation with levels gives the
    first level that is not below σ, and the last one before where that has no α, so no noise level.
    """
    low, width = torch.zeros_like(σ), 1.0
    parts = torch.arange(1, SPLITS, dtype=σ.dtype, device=σ.device) / SPLITS
    for _ in range(ROUNDS):
        t = low.unsqueeze(-1) + width * parts
        α, σ_t = degradation.coefficients(t.flatten())
        low = low + (σ_t.view_as(t) < σ.unsqueeze(-1) * α.view_as(t)).sum(-1) * (width / SPLITS)
        width /= SPLITS
    levels = getattr(degradation, "levels", None)
    if levels is None:
        return (low + width).clamp_max(1)
    t = (torch.ceil((low + width) * levels - 1e-5) / levels).clamp_max(1)
    before = (low - 0.01 / levels).clamp_min(0)  # in single precision too
    return torch.where(degradation.coefficients(t.flatten())[0].view_as(t) > 0, t, before)
