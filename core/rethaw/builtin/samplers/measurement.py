"""Restoration from a measurement y = D(x0) + σ_y n with a restorer of Gaussian noise: DDRM, DDNM, DPS.

All walk x_t = α_t x0 + σ_t z from x_1 down, in this notation: papers in variance-exploding form have σ_t/α_t for σ_t.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import torch
from torch import Tensor

from rethaw.api import Degradation, Observation, Restore, Rng, State, Step
from rethaw.builtin.samplers.params import DDNM as DDNMParams
from rethaw.builtin.samplers.params import DDRM as DDRMParams
from rethaw.builtin.samplers.params import DPS as DPSParams
from rethaw.builtin.samplers.restoration import last_step
from rethaw.ops import gains, linear_part, needs_coefficients, noise_of, posterior, pseudo_inverse, randn, schedule

Noise = tuple[Tensor, Tensor]
"""α and σ, (B, 1, 1, 1) each."""
Move = Callable[[Tensor, Tensor, Tensor, Tensor], Noise]
"""(x̂0, ε, α_s, the standard deviation due) to the x̂0 that agrees with the measurement, and the fresh noise."""
Params = TypeVar("Params", DDRMParams, DDNMParams, DPSParams)


def walk(degradation: Degradation, severities: Tensor, x: Tensor) -> Iterator[tuple[Tensor, Noise, Noise]]:
    """(t, (α_t, σ_t), (α_s, σ_s)) of each step from t to s."""
    times, *found = schedule(degradation, severities, x)
    noises = list(zip(*(c.to(x.dtype) for c in found), strict=True))
    return zip(times[:-1], noises[:-1], noises[1:], strict=True)


def unfit(degradation: Degradation, observation: Observation | None, *needs: str) -> str | None:
    """Why a measurement cannot be restored from, or None. needs: one of these methods of it suffices."""
    lacking = needs_coefficients(degradation, gaussian=True)
    if lacking or observation is None:
        return lacking or "no measurement is given"
    measured = observation.degradation
    name = getattr(measured, "name", type(measured).__name__)
    if needs and not getattr(measured, "linear", False):
        return f"the measurement {name} is not linear"
    if needs and not any(hasattr(measured, method) for method in needs):
        return f"the measurement {name} has no {' and no '.join(needs)}"
    return None


def floor(x: Tensor) -> float:
    """λ of pseudo-inverses: below √λ, singular values are lost in the rounding of y."""
    return float((4 * torch.finfo(x.dtype).eps) ** 2)


class Measured(Generic[Params]):
    """What the three have in common: they walk in even steps, and want a measurement."""

    measures = True

    def __init__(self, params: Params) -> None:
        self.params: Params = params

    def severities(self, degradation: Degradation, start: float = 1.0) -> Tensor:
        return torch.linspace(start, 0.0, self.params.steps + 1, dtype=torch.float64)


class DDRM(Measured[DDRMParams]):
    """Denoising Diffusion Restoration Models (Kawar et al. 2022, 2201.11793), eq. 7 and 8.

    With A = U diag(s) Vᵀ, each component of Vᵀx is a one-pixel measurement (Uᵀy)_i = s_i x̄_i + σ_y n_i: where it is
    less noisy than x_s may be, η_b weighs it; where it is noisier, it only steers; where s_i = 0 the walk is DDIM's.
    Bias: it is exact for neither mean nor covariance of the posterior (docs/measurements.md measures how much).
    """

    def check(
        self, degradation: Degradation, state: State | None, observation: Observation | None = None
    ) -> str | None:
        return unfit(degradation, observation, "svd")

    def trajectory(
        self,
        restore: Restore,
        x: Tensor,
        severities: Tensor,
        degradation: Degradation,
        state: State | None,
        generator: Rng,
        observation: Observation | None = None,
    ) -> Iterator[Step]:
        assert observation is not None
        y, measured, t_y, ξ, σ_y = observation
        svd = measured.svd(x, t_y, ξ)  # type: ignore[attr-defined]
        s_i = svd.s
        ȳ = svd.Ut(y - linear_part(measured, x, t_y, ξ)[1])
        for t, noise, (α, σ) in walk(degradation, severities, x):
            x0_hat = restore(x, t).x0
            yield Step(t, x, x0_hat)
            x0, z, ε = svd.Vt(x0_hat), svd.Vt(noise_of(x, x0_hat, *noise)), svd.Vt(randn(x, generator))
            apart = ȳ - s_i * x0
            x = svd.V(self.update(α, σ, x0, z, ε, apart, s_i, σ_y))
        yield last_step(x)

    def update(
        self, α: Tensor, σ: Tensor, x0: Tensor, z: Tensor, ε: Tensor, apart: Tensor, s_i: Tensor, σ_y: float
    ) -> Tensor:
        """Vᵀx_s, of Vᵀ times x̂0, z and fresh noise ε, and of apart = Uᵀ(y - A x̂0)."""
        η, η_b = self.params.eta, self.params.eta_b
        gain = gains(s_i)
        seen = gain > 0
        steer = torch.where(seen, apart / (σ_y or 1.0), z)
        noisy = α * x0 + σ * ((1 - η**2) ** 0.5 * steer + η * ε)
        left = σ.square() - (η_b * α * σ_y * gain).square()
        clear = α * (x0 + η_b * gain * apart) + left.clamp_min(0).sqrt() * ε
        return torch.where(seen & (σ * s_i >= α * σ_y), clear, noisy)


class DDNM(Measured[DDNMParams]):
    """Denoising Diffusion Null-Space Models (Wang et al. 2023, 2212.00490), eq. 13, in DDIM steps; eq. 17 to 19 with noise.

    x̂0 + A⁺(y - A x̂0) has what is measured in the range space of Aᵀ, and the restorer's guess in the null space. Noise of
    the measurement comes in with it: of each singular component no more is taken than the step's own noise may hide.
    """

    def check(
        self, degradation: Degradation, state: State | None, observation: Observation | None = None
    ) -> str | None:
        noisy = observation is not None and observation.noise > 0
        if noisy and self.params.eta == 0:
            return "a noisy measurement is hidden in the fresh noise of each step, so eta must be above 0"
        problem = unfit(degradation, observation, *(("svd",) if noisy else ("svd", "adjoint")))
        return f"{problem}, which a noisy one must have" if noisy and problem and "no svd" in problem else problem

    def trajectory(
        self,
        restore: Restore,
        x: Tensor,
        severities: Tensor,
        degradation: Degradation,
        state: State | None,
        generator: Rng,
        observation: Observation | None = None,
    ) -> Iterator[Step]:
        assert observation is not None
        η, step = self.params.eta, self.noisy if observation.noise else self.exact
        move = step(observation, x)
        for t, noise, (α, σ) in walk(degradation, severities, x):
            x0_hat = restore(x, t).x0
            yield Step(t, x, x0_hat)
            z, ε = noise_of(x, x0_hat, *noise), randn(x, generator)
            x0, fresh = move(x0_hat, ε, α, η * σ)
            x = α * x0 + (1 - η**2) ** 0.5 * σ * z + fresh
        yield last_step(x)

    def exact(self, observation: Observation, x: Tensor) -> Move:
        """x̂0 + A⁺(y - A x̂0), and all of the noise that is due."""
        y, measured, t_y, ξ, _ = observation
        inverse = pseudo_inverse(measured, x, t_y, ξ, floor(x), self.params.iterations)
        return lambda x0, ε, α, std: (x0 + inverse(y - measured.degrade(x0, t_y, ξ)), std * ε)

    def noisy(self, observation: Observation, x: Tensor) -> Move:
        """x̂0 + V Λ Σ⁺ Uᵀ(y - A x̂0) with Λ = min(1, std s_i / (α σ_y)), and so much less fresh noise."""
        y, measured, t_y, ξ, σ_y = observation
        svd = measured.svd(x, t_y, ξ)  # type: ignore[attr-defined]
        gain = gains(svd.s)

        def move(x0: Tensor, ε: Tensor, α: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
            brought = α * σ_y * gain  # the standard deviation that the measurement's noise would have in x_s
            Λ = torch.where(brought > std, std / brought.clamp_min(1e-12), 1.0)
            apart = svd.Ut(y - measured.degrade(x0, t_y, ξ))
            left = (std.square() - (Λ * brought).square()).clamp_min(0).sqrt()
            return x0 + svd.V(Λ * gain * apart), svd.V(left * svd.Vt(ε))

        return move


class DPS(Measured[DPSParams]):
    """Diffusion Posterior Sampling (Chung et al. 2023, 2209.14687), Algorithm 1.

    x_s = α_s x̂0 + … (an ancestral step of DDPM) - ζ ∇_{x_t} |y - D(x̂0(x_t))|² with ζ = ζ' / |y - D(x̂0)|. The degradation
    of the measurement need only be differentiable. Bias: x̂0 stands for all that x_t may have come from (eq. 11).
    """

    def check(
        self, degradation: Degradation, state: State | None, observation: Observation | None = None
    ) -> str | None:
        return unfit(degradation, observation)

    def trajectory(
        self,
        restore: Restore,
        x: Tensor,
        severities: Tensor,
        degradation: Degradation,
        state: State | None,
        generator: Rng,
        observation: Observation | None = None,
    ) -> Iterator[Step]:
        assert observation is not None
        times, α, σ = schedule(degradation, severities, x)
        a, b, variance, _ = posterior(α[:-1], σ[:-1], α[1:], σ[1:])
        coefficients = (c.to(x.dtype) for c in (a, b, variance.sqrt()))
        for t, of_x, of_x0, std in zip(times[:-1], *coefficients, strict=True):
            x0_hat, pull = self.gradient(restore, x, t, observation)
            yield Step(t, x, x0_hat)
            x = of_x * x + of_x0 * x0_hat + std * randn(x, generator) - self.params.scale * pull
        yield last_step(x)

    def gradient(self, restore: Restore, x: Tensor, t: Tensor, observation: Observation) -> tuple[Tensor, Tensor]:
        """x̂0 and ∇_{x_t} |y - D(x̂0)|, for each image its own."""
        y, measured, t_y, ξ, _ = observation
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            x0_hat = restore(x, t).x0
            distance = torch.linalg.vector_norm((y - measured.degrade(x0_hat, t_y, ξ)).flatten(1), dim=1)
            (pull,) = torch.autograd.grad(distance.sum(), x)
        return x0_hat.detach(), pull
