"""Where a walk stops: severities for samplers of D = α x0 + σ z, spaced in one of three ways."""

from __future__ import annotations

import math
from collections.abc import Hashable
from functools import lru_cache

import torch
from torch import Tensor

from rethaw.api import HasCoefficients, RethawError
from rethaw.ops import severity_at

SIGMA_MIN, SIGMA_MAX, RHO = 0.002, 80.0, 7.0  # 2206.00364, table 1
TINY = 1e-9  # a noise level that is as good as none
LEAST = 0.1  # of the start's noise level that the last step may begin at, if that is below σ_min


def spaced(
    degradation: HasCoefficients,
    spacing: str,
    steps: int,
    start: float = 1.0,
    σ_min: float = SIGMA_MIN,
    σ_max: float = SIGMA_MAX,
    ρ: float = RHO,
) -> Tensor:
    """Severities (steps + 1,) in float64, from `start` down to 0.

    uniform: in t. leading and linspace: at levels, see `at_levels`. karras: of noise levels σ/α with σ^(1/ρ) uniform
    (2206.00364, eq. 5). log_snr: with log σ/α uniform (DPM-Solver, 2206.00927). The latter two go from the noise level
    of the start, or σ_max where α vanishes there, to σ_min, and then to 0.
    """
    if spacing == "uniform":
        return torch.linspace(start, 0.0, steps + 1, dtype=torch.float64)
    if spacing in ("leading", "linspace"):
        return at_levels(spacing, steps, start, getattr(degradation, "levels", None))
    assert isinstance(degradation, Hashable)
    return by_noise_level(degradation, ρ if spacing == "karras" else math.inf, steps, start, σ_min, σ_max)


def at_levels(spacing: str, steps: int, start: float, levels: int | None) -> Tensor:
    """The levels of 2305.08891, table 2, where uniform is trailing: leading ends at the first, linspace has both ends.

    Raises RethawError for a degradation without levels.
    """
    if levels is None:
        raise RethawError(
            f"spacing: {spacing} is between levels, which the degradation does not have", "Use spacing: uniform."
        )
    number = torch.arange(min(steps, levels), dtype=torch.float64)
    if spacing == "leading":
        number *= levels // len(number)
    else:
        number = torch.linspace(0, levels - 1, len(number), dtype=torch.float64).round()
    t = (number.flip(0) + 1) / levels * start
    return torch.cat([t, t.new_zeros(1)])


@lru_cache(maxsize=32)  # to find the severities of noise levels takes half a millisecond
def by_noise_level(
    degradation: HasCoefficients, ρ: float, steps: int, start: float, σ_min: float, σ_max: float
) -> Tensor:
    """Severities whose noise levels are uniform in σ^(1/ρ), which for infinite ρ is log σ."""
    highest, first = noise_levels(degradation, start, σ_max)
    first = max(first, TINY)
    last = min(σ_min, LEAST * first)
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    if math.isinf(ρ):
        σ = torch.exp(math.log(first) + ramp * math.log(last / first))
    else:
        σ = (first ** (1 / ρ) + ramp * (last ** (1 / ρ) - first ** (1 / ρ))) ** ρ
    t = severity_at(degradation, σ).clamp_max(start)
    if highest <= first:
        t[0] = start
    return torch.cat([t, t.new_zeros(1)])


def noise_levels(degradation: HasCoefficients, start: float, σ_max: float) -> tuple[float, float]:
    """σ/α at severity `start`, infinite where α is 0, and the level that a walk from there begins at, at most σ_max.

    That is close enough where σ/α is large because α vanishes; a σ that itself is above σ_max is never taken for less.
    """
    α, σ = degradation.coefficients(torch.tensor([start], dtype=torch.float64))
    highest = float(σ / α)
    return highest, min(highest, max(σ_max, float(σ)))


def below(degradation: HasCoefficients, t: Tensor, σ_max: float = SIGMA_MAX) -> Tensor:
    """Severities (N+1,) of a walk on x/α, which is not finite where α is 0: they begin as `noise_levels` says."""
    highest, first = noise_levels(degradation, float(t[0]), σ_max)
    return t if highest <= first else t.clamp_max(severity_at(degradation, t.new_tensor([first])))
