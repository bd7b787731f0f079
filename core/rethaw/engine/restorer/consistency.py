"""Data consistency: an estimate of the clean image is moved until it explains the image that it was made from.

The same move of x_t itself inverts a linear degradation as far as it can be, which a restorer may be shown.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rethaw.api import Observation, Prediction, Restore, RethawError, State, has_adjoint, has_svd
from rethaw.config.model import Config, Consistency, Precision
from rethaw.engine.degradation.hosted import Hosted
from rethaw.ops import pseudo_inverse

ERROR = 0.15
"""What a restorer is taken to be wrong by, as a standard deviation on the scale of images in [-1, 1]."""
FLOAT = 1e-7
"""The same of a floating-point observation, which comes out of single-precision arithmetic."""


def default_weight(precision: Precision) -> float:
    """λ = σ_y² / σ_x²: the optimal (Wiener) weight, if the errors of observation and restorer are both white."""
    return (max(precision.deviation, FLOAT) / ERROR) ** 2


def precise(config: Config, device: torch.device) -> bool:
    """Whether a walk takes double precision, which Apple's GPUs do not have.

    Where it inverts a degradation to the last digit, the rounding of many steps would add up in x_t and be amplified.
    """
    inverts = config.consistency is not None or config.restorer.input == "inverse"
    return inverts and config.observation.deviation < FLOAT and device.type != "mps"


def problem(degradation: Hosted, state: State | None, observation: Observation | None) -> str | None:
    """Why estimates cannot be made consistent with x_t, or None."""
    if observation is not None:
        return "the sampler keeps to the measurement itself"
    if degradation.gaussian:
        return "of Gaussian noise, any x0 explains any x_t"
    if not degradation.linear or not (has_svd(degradation) or has_adjoint(degradation)):
        return f"{degradation.name} has neither svd nor adjoint of a linear part"
    return "the degradation's random state is not known" if state is None else None


def consistent(
    restore: Restore,
    degradation: Hosted,
    state: State | None,
    observation: Observation | None,
    how: Consistency,
    precision: Precision,
) -> Restore:
    """`restore`, followed by x̂0 + (AᵀA + λ)⁻¹Aᵀ (x_t - D(x̂0, t, ξ)). Raises RethawError where that cannot be done."""
    missing = problem(degradation, state, observation)
    if missing or state is None:
        raise RethawError(f"data consistency is not to be had: {missing}", "Leave `consistency` out.")
    weight = how.weight or default_weight(precision)

    def restored(x: Tensor, t: Tensor) -> Prediction:
        found = restore(x, t)
        return found._replace(x0=make_consistent(found.x0, degradation, x, t, state, weight, how.iterations))

    return restored


def make_consistent(
    x0_hat: Tensor,
    degradation: Hosted,
    x: Tensor,
    t: Tensor,
    state: State,
    weight: float,
    iterations: int = Consistency.iterations,
) -> Tensor:
    """x̂0 + (AᵀA + λ)⁻¹Aᵀ (x_t - D(x̂0, t, ξ)): near x̂0, it explains the degraded images x; λ is `weight`."""
    inverse = pseudo_inverse(degradation, x, t, state, weight, iterations)
    moved: Tensor = x0_hat + inverse(x - degradation.degrade(x0_hat, t, state))
    return moved
