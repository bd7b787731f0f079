"""Data consistency: an estimate of the clean image is moved until it explains a degraded one.

The same move of x_t itself inverts a linear degradation as far as it can be, which a restorer may be shown.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rethaw.api import Observation, Prediction, Restore, RethawError, State, has_adjoint, has_svd
from rethaw.config.model import Config, Consistency, Precision
from rethaw.engine.degradation.hosted import Hosted
from rethaw.ops import pseudo_inverse

DEGRADED, RESTORED = 0.15, 0.02
"""σ_x: what degraded images, and a restorer's estimates of them, are taken to be wrong by, on the scale of [-1, 1].

An estimate is wrong by more, but mostly in what the observation does not tell; of the rest, the restorer has seen the
observation already, and to trust that more only adds its noise (measured in docs/measurements.md).
"""
FLOAT = 1e-7
"""σ_y of a floating-point observation, which comes out of single-precision arithmetic."""


def default_weight(precision: Precision, error: float) -> float:
    """λ = σ_y² / σ_x²: the optimal (Wiener) weight, if what is moved is wrong by white noise of deviation `error`.

    A floating-point observation tells far more than a restorer can have seen in it: there it is wrong by all its error.
    """
    return max(precision.deviation / error, FLOAT / DEGRADED) ** 2


def precise(config: Config, device: torch.device) -> bool:
    """Whether a walk takes double precision, which Apple's GPUs do not have.

    Where it inverts a degradation to the last digit, the rounding of many steps would add up in x_t and be amplified.
    """
    inverts = config.consistency is not None or config.restorer.input == "inverse"
    return inverts and config.observation.deviation < FLOAT and device.type != "mps"


def problem(degradation: Hosted, state: State | None, observation: Observation | None) -> str | None:
    """Why estimates cannot be made consistent with degraded images, or None."""
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
    y: Tensor,
    start: Tensor,
    state: State | None,
    observation: Observation | None,
    how: Consistency,
    precision: Precision,
) -> Restore:
    """`restore`, followed by x̂0 + (AᵀA + λ)⁻¹Aᵀ (y - D(x̂0, t, ξ)), or the same with x_t, as `how` says.

    y: what the walk starts from, (B, C, H, W), at severities `start` (B,). observation: a measurement, which samplers
    keep to themselves. Raises RethawError where it cannot be done.
    """
    missing = problem(degradation, state, observation)
    if missing or state is None:
        raise RethawError(f"data consistency is not to be had: {missing}", "Leave it out: --consistency off.")
    weight = how.weight or default_weight(precision, RESTORED)
    inverse = pseudo_inverse(degradation, y, start, state, weight, how.iterations)  # once a walk

    def to_observation(x: Tensor, t: Tensor) -> Prediction:
        found = restore(x, t)
        return found._replace(x0=found.x0 + inverse(y - degradation.degrade(found.x0, start, state)))

    def to_state(x: Tensor, t: Tensor) -> Prediction:
        found = restore(x, t)
        return found._replace(x0=make_consistent(found.x0, degradation, x, t, state, weight, how.iterations))

    return to_observation if how.to == "observation" else to_state


def make_consistent(
    x0_hat: Tensor,
    degradation: Hosted,
    x: Tensor,
    t: Tensor,
    state: State,
    weight: float,
    iterations: int = Consistency.iterations,
) -> Tensor:
    """x̂0 + (AᵀA + λ)⁻¹Aᵀ (x - D(x̂0, t, ξ)): near x̂0, it explains the degraded images x; λ is `weight`."""
    inverse = pseudo_inverse(degradation, x, t, state, weight, iterations)
    moved: Tensor = x0_hat + inverse(x - degradation.degrade(x0_hat, t, state))
    return moved
