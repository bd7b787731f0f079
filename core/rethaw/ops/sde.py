"""D = α x0 + σ z as a stochastic differential equation dx = f x dt + g dw (2011.13456), and its probability flow.

f = d log α/dt and g² = dσ²/dt - 2 f σ²: all follows from the degradation's coefficients and their derivatives by t.
`rethaw.ops` gives these to components.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad

from rethaw.api import HasCoefficients, RethawError

Slope = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""dx/dτ from x, t, and the p and q of the velocity p x + q x̂0."""


STEEPEST = 1e9


class Rates(NamedTuple):
    """α and σ at some severities, and their derivatives by t; all of one shape."""

    α: Tensor
    σ: Tensor
    dα: Tensor
    dσ: Tensor

    def drift(self) -> Tensor:
        """f of dx = f x dt + g dw: d log α/dt, and finite where α is 0."""
        return self.dα / self.α.clamp_min(1e-9)

    def diffusion(self) -> Tensor:
        """g²: dσ²/dt - 2 f σ²."""
        return 2 * self.σ * (self.dσ - self.drift() * self.σ)

    def velocity(self) -> tuple[Tensor, Tensor]:
        """p and q of the probability flow dx/dt = α' x̂0 + σ' ẑ = p x + q x̂0, with ẑ = (x - α x̂0) / σ.

        It is f x - ½ g² s with the score s = -ẑ/σ (2011.13456, eq. 13), written so that it is finite where α is 0.
        """
        p = torch.where(self.σ > 0, self.dσ / self.σ, 0.0)
        return p, self.dα - self.α * p


def rates(degradation: HasCoefficients, t: Tensor) -> Rates:
    """Coefficients and their derivatives at severities t of any shape, in forward mode: one pass for all of them.

    A root has no derivative at 0: there it is ±STEEPEST, and 0 where the root stays 0.
    """
    at = t.flatten().clone()
    with warnings.catch_warnings(), forward_ad.dual_level():
        warnings.simplefilter("ignore", FutureWarning)  # of torch about itself, on first use
        found = degradation.coefficients(forward_ad.make_dual(at, torch.ones_like(at)))
        pairs = [forward_ad.unpack_dual(c) for c in found]
        values = [pair.primal for pair in pairs]
        slopes = [torch.zeros_like(at) if pair.tangent is None else pair.tangent for pair in pairs]
        slopes = [slope.nan_to_num(0.0, STEEPEST, -STEEPEST) for slope in slopes]
    return Rates(*(c.view_as(t) for c in (*values, *slopes)))


class Tableau(NamedTuple):
    """An explicit Runge-Kutta method: the place of each stage, its mix of earlier slopes, and the weights of all."""

    c: tuple[float, ...]
    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]


TABLEAUS = {
    "euler": Tableau((0.0,), ((),), (1.0,)),
    "heun": Tableau((0.0, 1.0), ((), (1.0,)), (0.5, 0.5)),
    "rk4": Tableau((0.0, 0.5, 0.5, 1.0), ((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)), (1 / 6, 1 / 3, 1 / 3, 1 / 6)),
}


class FlowSolver:
    """Carries a state along the probability flow, from each severity of a walk (N+1, B) to the next, these in float64.

    method: euler, heun or rk4, one step for each interval, or adaptive (Dormand-Prince by torchdiffeq, to rtol and
    atol). `image`: how many axes an image has, so that p and q multiply it. Raises RethawError where torchdiffeq is
    needed and missing.
    """

    def __init__(
        self,
        degradation: HasCoefficients,
        times: Tensor,
        method: str,
        dtype: torch.dtype,
        image: int = 3,
        rtol: float = 1e-5,
        atol: float = 1e-5,
    ) -> None:
        self.degradation, self.dtype, self.axes = degradation, dtype, (1,) * image
        self.times = times if times.device.type == "mps" else times.double()
        self.tolerance = {"rtol": rtol, "atol": atol}
        self.odeint = adaptive_solver() if method == "adaptive" else None
        self.tableau = TABLEAUS["euler" if self.odeint else method]
        self.rows = [self.at(c) for c in self.tableau.c]

    def at(self, τ: float | Tensor, k: slice | int = slice(None)) -> tuple[Tensor, Tensor, Tensor]:
        """t, and p and q by τ, at the part τ of each interval, or of interval k."""
        begin, end = self.times[:-1][k], self.times[1:][k]
        h = end - begin
        t = begin + τ * h
        p, q = (h * c for c in rates(self.degradation, t).velocity())
        each = (*t.shape, *self.axes)
        return t, p.to(self.dtype).view(each), q.to(self.dtype).view(each)

    def advance(self, k: int, x: Tensor, slope: Slope, first: Tensor | None = None) -> Tensor:
        """x at the end of interval k, from x at its start; first: the slope at its start, where it is known."""
        if self.odeint:
            whole = torch.tensor([0.0, 1.0], dtype=x.dtype, device=x.device)
            found: Tensor = self.odeint(lambda τ, y: slope(y, *self.at(τ, k)), x, whole, **self.tolerance)[-1]
            return found
        slopes = [] if first is None else [first]
        for stage in range(len(slopes), len(self.tableau.c)):
            slopes.append(slope(mixed(x, self.tableau.a[stage], slopes), *(c[k] for c in self.rows[stage])))
        return mixed(x, self.tableau.b, slopes)


def mixed(x: Tensor, weights: tuple[float, ...], slopes: list[Tensor]) -> Tensor:
    """x + Σ w k."""
    for w, k in zip(weights, slopes, strict=True):
        x = torch.add(x, k, alpha=w) if w else x
    return x


def adaptive_solver() -> Any:
    """torchdiffeq's odeint."""
    try:
        from torchdiffeq import odeint
    except ImportError as error:
        raise RethawError(
            "solver: adaptive needs torchdiffeq, which is not installed",
            "Run: pip install 'rethaw[ode]', or choose solver: rk4.",
        ) from error
    return odeint
