"""The parameters and specs of the built-in samplers; neither needs torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le

from rethaw.api import Spec, sampler

AT = "rethaw.builtin.samplers"


@dataclass(frozen=True)
class Direct:
    """One call of the restorer at the severity of the input: x̂0 = R(x_t, t)."""


@dataclass(frozen=True)
class Naive:
    """Restores and degrades a little less in turn, Algorithm 1 of Cold Diffusion: x_s = D(R(x_t, t), s).

    steps: of the walk from the severity of the input to 0.
    """

    steps: Annotated[int, Ge(1)] = 20


@dataclass(frozen=True)
class Cold:
    """Cold sampling, Algorithm 2 of Cold Diffusion (2208.09392): x_s = x_t - D(x̂0, t) + D(x̂0, s).

    steps: of the walk from the severity of the input to 0.
    state: fixed keeps the degradation's state; inferred solves for it at each step, which makes Gaussian noise DDIM.
    """

    steps: Annotated[int, Ge(1)] = 20
    state: Literal["fixed", "inferred"] = "fixed"


Spacing = Literal["uniform", "karras", "log_snr"]


@dataclass(frozen=True)
class DDPM:
    """Ancestral sampling of DDPM (2006.11239, Algorithm 2), for any degradation α x0 + σ z with Gaussian z.

    steps: of the walk from the severity of the input to 0.
    spacing: of the severities: uniform in t, karras (2206.00364, eq. 5) or log_snr (2206.00927).
    variance: of each step: small (β̃), large (β), or learned by the restorer (2102.09672).
    """

    steps: Annotated[int, Ge(1)] = 250
    spacing: Spacing = "uniform"
    variance: Literal["small", "large", "learned"] = "small"


@dataclass(frozen=True)
class DDIM:
    """DDIM (2010.02502), for any degradation α x0 + σ z; z may be anything where eta is 0.

    steps: of the walk from the severity of the input to 0.
    spacing: of the severities: uniform in t, karras (2206.00364, eq. 5) or log_snr (2206.00927).
    eta: of the noise that each step adds: 0 none, 1 as DDPM.
    """

    steps: Annotated[int, Ge(1)] = 50
    spacing: Spacing = "uniform"
    eta: Annotated[float, Ge(0), Le(1)] = 0.0


@dataclass(frozen=True)
class EDM:
    """The stochastic sampler of EDM (2206.00364, Algorithms 1 and 2), on the noise level σ/α of any degradation α x0 + σ z.

    steps: of the walk from the severity of the input to 0; heun calls the restorer twice in all but the last.
    spacing: of the severities: karras (eq. 5), log_snr or uniform in t.
    sigma_min: the noise level of the last step.
    sigma_max: the highest noise level, where that of the input is higher.
    rho: how much the spacing of karras favours low noise levels.
    solver: heun (second order) or euler (first).
    churn: S_churn, the noise added on the way, over all steps; 0 is deterministic.
    churn_min: S_tmin, the noise level below which none is added.
    churn_max: S_tmax, the noise level above which none is added.
    churn_noise: S_noise, the standard deviation of the noise added.
    """

    steps: Annotated[int, Ge(1)] = 18
    spacing: Spacing = "karras"
    sigma_min: Annotated[float, Gt(0)] = 0.002
    sigma_max: Annotated[float, Gt(0)] = 80.0
    rho: Annotated[float, Gt(0)] = 7.0
    solver: Literal["heun", "euler"] = "heun"
    churn: Annotated[float, Ge(0)] = 0.0
    churn_min: Annotated[float, Ge(0)] = 0.0
    churn_max: Annotated[float, Gt(0)] = 1e4
    churn_noise: Annotated[float, Gt(0)] = 1.0

    def __post_init__(self) -> None:
        if self.sigma_min >= self.sigma_max:
            raise ValueError(f"sigma_min {self.sigma_min} must be below sigma_max {self.sigma_max}")


@dataclass(frozen=True)
class DPMSolver:
    """DPM-Solver++(2M) (2211.01095), for any degradation α x0 + σ z: second order at one call of the restorer a step.

    steps: of the walk from the severity of the input to 0.
    spacing: of the severities: log_snr (2206.00927), karras (2206.00364, eq. 5) or uniform in t.
    """

    steps: Annotated[int, Ge(1)] = 20
    spacing: Spacing = "log_snr"


@dataclass(frozen=True)
class Flow:
    """Rectified flow (2209.03003) and flow matching (2210.02747): the probability flow along the degradation's own α and σ.

    steps: of the walk from the severity of the input to 0; heun calls the restorer twice in all but the last.
    spacing: of the severities: uniform in t, karras (2206.00364, eq. 5) or log_snr (2206.00927).
    solver: euler (first order) or heun (second).
    """

    steps: Annotated[int, Ge(1)] = 25
    spacing: Spacing = "uniform"
    solver: Literal["euler", "heun"] = "heun"


SPECS: list[Spec] = [
    sampler("direct", Direct, target=f"{AT}.restoration:Direct", summary="One call of the restorer."),
    sampler(
        "naive", Naive, target=f"{AT}.restoration:Naive", summary="Restore and degrade less in turn (Algorithm 1)."
    ),
    sampler(
        "cold", Cold, target=f"{AT}.restoration:Cold", summary="Cold sampling (Algorithm 2); DDIM with inferred noise."
    ),
    sampler("ddpm", DDPM, target=f"{AT}.ddpm:DDPM", summary="Ancestral sampling, with fixed or learned variance."),
    sampler("ddim", DDIM, target=f"{AT}.ddpm:DDIM", summary="DDIM with any η; its inversion encodes images."),
    sampler("edm", EDM, target=f"{AT}.edm:EDM", summary="EDM: Heun's method with stochastic churn."),
    sampler("dpm_solver", DPMSolver, target=f"{AT}.solvers:DPMSolver", summary="DPM-Solver++(2M)."),
    sampler("flow", Flow, target=f"{AT}.flow:Flow", summary="Rectified flow and flow matching, Euler or Heun."),
]
