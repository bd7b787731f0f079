"""Exact likelihood by the probability flow and the instantaneous change of variables (2011.13456, appendix D.2).

log p(x) = log p_1(x_1) + ∫ ∇·v dt along dx/dt = v = p x + q x̂0, so ∇·v = p D + q tr(∂x̂0/∂x), D values an image.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from rethaw.api import Restore, RethawError, Rng
from rethaw.engine.degradation.hosted import Hosted
from rethaw.ops import FlowSolver, needs_coefficients, per_image, rand, severity_at

SIGMA_MIN, SIGMA_MAX = 1e-3, 80.0
"""Noise levels between which the flow is followed; below the first an image counts as clean."""

EXACT = 64
"""Up to so many values an image the trace is exact, unless told otherwise."""

BIN = 2 / 255
"""Width of an 8-bit value's bin on [-1, 1]."""


class Likelihood(NamedTuple):
    """log p(x) in nats, the same in bits a dimension, both (B,), and the x_1 that the flow reaches."""

    log_p: Tensor
    bits: Tensor
    x_1: Tensor


def likelihood(
    restore: Restore,
    degradation: Hosted,
    x: Tensor,
    generator: Rng,
    *,
    steps: int = 100,
    solver: str = "rk4",
    probes: int | None = None,
    dequantise: bool = False,
    tolerance: float = 1e-5,
    watch: Callable[[int], None] | None = None,
) -> Likelihood:
    """The density of clean images x (B, C, H, W) under the model that is the restorer's probability flow.

    steps: of the walk from 0 to 1, even in the log of the noise level. solver: euler, heun, rk4 or adaptive (to
    `tolerance`). probes: Rademacher vectors of Hutchinson's estimate of the trace; 0 takes the exact one (D calls of
    the network's gradient), None that for up to 64 values an image, else 1. dequantise: x is of 8 bits; adds uniform
    noise and counts the bits of the integers, as the literature does. watch: called with the steps done.
    Raises RethawError where the degradation has no coefficients, no derivatives or no Gaussian end.
    """
    lacking = needs_coefficients(degradation, gaussian=True, smooth=True)
    if lacking:
        raise RethawError(
            f"there is no likelihood under {degradation.name}: {lacking}",
            "Train on core.gaussian_noise without levels.",
        )
    size = x[0].numel()
    if dequantise:
        x = x + BIN * (rand(x, generator) - 0.5)
    times = upward(degradation, x, steps)
    flow = FlowSolver(degradation, times, solver, x.dtype, x.dim() - 1, tolerance, tolerance)
    trace = exact_trace if probes == 0 or (probes is None and size <= EXACT) else Hutchinson(x, generator, probes or 1)
    α_0, _ = degradation.coefficients(times[0])
    _, σ_1 = degradation.coefficients(times[-1])

    def slope(state: Tensor, t: Tensor, p: Tensor, q: Tensor) -> Tensor:
        x_t = state[:, :-1].view_as(x)
        x0_hat, found = trace(restore, x_t, t)
        v = torch.addcmul(p * x_t, q, x0_hat)
        return torch.cat([v.flatten(1), p.view(-1, 1) * size + q.view(-1, 1) * found[:, None]], 1)

    state = torch.cat([(per_image(α_0, x) * x).flatten(1), (size * α_0.log().to(x.dtype))[:, None]], 1)
    for k in range(steps):
        state = flow.advance(k, state, slope)
        if watch:
            watch(k + 1)
    x_1, gained = state[:, :-1].view_as(x), state[:, -1].double()
    log_p = gained + normal_log_p(x_1.double(), σ_1)
    bits = -log_p / (size * math.log(2)) - (math.log2(BIN) if dequantise else 0)
    return Likelihood(log_p, bits, x_1)


def upward(degradation: Hosted, x: Tensor, steps: int) -> Tensor:
    """Severities (steps + 1, B) in float64 from the noise level SIGMA_MIN, even in its log, up to 1."""
    α_1, σ_1 = degradation.coefficients(torch.ones(1, dtype=torch.float64))
    highest = min(float(σ_1 / α_1.clamp_min(1e-9)), SIGMA_MAX)
    σ = torch.logspace(math.log10(SIGMA_MIN), math.log10(highest), steps + 1, dtype=torch.float64)
    t = severity_at(degradation, σ)
    t[-1] = 1.0
    return t[:, None].expand(-1, x.shape[0]).to(x.device)


def normal_log_p(x: Tensor, σ: Tensor) -> Tensor:
    """log N(x; 0, σ² I) of images (B, …), σ (B,)."""
    flat = x.flatten(1)
    return -flat.square().sum(1) / (2 * σ.square()) - flat.shape[1] * (σ.log() + math.log(2 * math.pi) / 2)


def exact_trace(restore: Restore, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """x̂0 and tr(∂x̂0/∂x) (B,), a row of the Jacobian at a time."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        x0_hat = restore(x, t).x0
        rows = x0_hat.flatten(1).unbind(1)
        found = [
            torch.autograd.grad(row.sum(), x, retain_graph=i < len(rows) - 1)[0].flatten(1)[:, i]
            for i, row in enumerate(rows)
        ]
    return x0_hat.detach(), torch.stack(found).sum(0)


class Hutchinson:
    """x̂0 and an unbiased estimate of tr(∂x̂0/∂x): the mean of εᵀ ∂x̂0/∂x ε, ε = ±1 the same in all steps (1810.01367)."""

    def __init__(self, x: Tensor, generator: Rng, probes: int) -> None:
        self.ε = [torch.where(rand(x, generator) < 0.5, -1.0, 1.0).to(x.dtype) for _ in range(probes)]

    def __call__(self, restore: Restore, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            x0_hat = restore(x, t).x0
            last = len(self.ε) - 1
            found = [
                (torch.autograd.grad(x0_hat, x, ε, retain_graph=i < last)[0] * ε).flatten(1).sum(1)
                for i, ε in enumerate(self.ε)
            ]
        return x0_hat.detach(), torch.stack(found).mean(0)
