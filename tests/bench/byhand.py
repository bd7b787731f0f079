"""Each sampler as one would write it by hand for one noise schedule: no contracts, coefficients as plain numbers."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

Loop = Callable[[], Tensor]


def network(x: Tensor) -> Tensor:
    return x * 0.9


def numbers(degradation: Any, sampler: Any) -> list[tuple[float, float]]:
    """α and σ of each severity, computed before the clock starts."""
    t = sampler.severities(degradation).float().double()
    return list(zip(*(c.tolist() for c in degradation.coefficients(t)), strict=True))


def ddpm(x: Tensor, degradation: Any, sampler: Any) -> Loop:
    chain, rng = list(pairwise(numbers(degradation, sampler))), torch.Generator().manual_seed(0)

    def loop() -> Tensor:
        y = x
        for (α, σ), (α_s, σ_s) in chain:
            x0 = network(y)
            β = σ**2 - (α / α_s * σ_s) ** 2
            mean = α / α_s * σ_s**2 / σ**2 * y + α_s * β / σ**2 * x0
            y = mean + (β * σ_s**2 / σ**2) ** 0.5 * torch.randn(y.shape, generator=rng)
        return y

    return loop


def ddim(x: Tensor, degradation: Any, sampler: Any) -> Loop:
    chain = list(pairwise(numbers(degradation, sampler)))

    def loop() -> Tensor:
        y = x
        for (α, σ), (α_s, σ_s) in chain:
            x0 = network(y)
            y = α_s * x0 + σ_s * (y - α * x0) / σ
        return y

    return loop


def edm(heun: bool) -> Callable[[Tensor, Any, Any], Loop]:
    def make(x: Tensor, degradation: Any, sampler: Any) -> Loop:
        chain = list(pairwise(numbers(degradation, sampler)))

        def loop() -> Tensor:
            y = x / chain[0][0][0]
            for i, ((α, σ), (α_s, σ_s)) in enumerate(chain):
                d = (y - network(α * y)) / (σ / α)
                dσ = σ_s / α_s - σ / α
                ahead = y + dσ * d
                if heun and i < len(chain) - 1:
                    ahead = y + dσ * (d + (ahead - network(α_s * ahead)) / (σ_s / α_s)) / 2
                y = ahead
            return y

        return loop

    return make


def dpm_solver(x: Tensor, degradation: Any, sampler: Any) -> Loop:
    import math

    chain = list(pairwise(numbers(degradation, sampler)))

    def loop() -> Tensor:
        y, before, h_before = x, x, 0.0
        for (α, σ), (α_s, σ_s) in chain:
            x0 = network(y)
            d, h = x0, 0.0
            if σ_s:
                h = math.log(α_s / σ_s) - math.log(α / σ)
                if h_before:
                    d = (1 + h / (2 * h_before)) * x0 - h / (2 * h_before) * before
            y = σ_s / σ * y + (α_s - α * σ_s / σ) * d
            before, h_before = x0, h
        return y

    return loop


def flow(heun: bool) -> Callable[[Tensor, Any, Any], Loop]:
    def make(x: Tensor, degradation: Any, sampler: Any) -> Loop:
        chain = list(pairwise(numbers(degradation, sampler)))

        def loop() -> Tensor:
            y = x
            for i, ((α, σ), (α_s, σ_s)) in enumerate(chain):
                x0 = network(y)
                dx = (α_s - α) * x0 + (σ_s - σ) * ((y - α * x0) / σ)
                if heun and i < len(chain) - 1:
                    ahead = y + dx
                    x0 = network(ahead)
                    dx = (dx + (α_s - α) * x0 + (σ_s - σ) * ((ahead - α_s * x0) / σ_s)) / 2
                y = y + dx
            return y

        return loop

    return make


LOOPS: dict[str, Callable[[Tensor, Any, Any], Loop]] = {
    "core.ddpm": ddpm,
    "core.ddim": ddim,
    "core.edm euler": edm(False),
    "core.edm heun": edm(True),
    "core.dpm_solver": dpm_solver,
    "core.flow euler": flow(False),
    "core.flow heun": flow(True),
}
"""(x, degradation, rethaw's sampler for its severities) → the loop."""
