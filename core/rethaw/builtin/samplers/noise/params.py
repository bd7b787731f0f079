"""The parameters and specs of samplers for degradations α x0 + σ z."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt

from rethaw.api import Spec, sampler

AT = "rethaw.builtin.samplers.noise"
Spacing = Literal["uniform", "karras", "log_snr"]
ByLevel = Literal["uniform", "karras", "log_snr", "leading", "linspace"]


@dataclass(frozen=True)
class DDPM:
    """Ancestral sampling of DDPM (2006.11239, Algorithm 2), for any degradation α x0 + σ z with Gaussian z.

    steps: of the walk from the severity of the input to 0.
    spacing: of the severities: uniform in t, karras (2206.00364, eq. 5) or log_snr (2206.00927); of noise with levels
        also leading or linspace (2305.08891, table 2, whose trailing is uniform).
    variance: of each step: small (β̃), large (β), or learned by the restorer (2102.09672).
    """

    steps: Annotated[int, Ge(1)] = 250
    spacing: ByLevel = "uniform"
    variance: Literal["small", "large", "learned"] = "small"


@dataclass(frozen=True)
class DDIM:
    """DDIM (2010.02502), for any degradation α x0 + σ z; z may be anything where eta is 0.

    steps: of the walk from the severity of the input to 0.
    spacing: of the severities: uniform in t, karras (2206.00364, eq. 5) or log_snr (2206.00927); of noise with levels
        also leading or linspace (2305.08891, table 2, whose trailing is uniform).
    eta: of the noise that each step adds: 0 none, 1 as DDPM.
    """

    steps: Annotated[int, Ge(1)] = 50
    spacing: ByLevel = "uniform"
    eta: Annotated[float, Ge(0), Le(1)] = 0.0


@dataclass(frozen=True)
class EDM:
    """The stochastic sampler of EDM (2206.00364, Algorithms 1 and 2), for any degradation α x0 + σ z.

    steps: of the walk from the severity of the input to 0; heun calls the restorer twice in all but the last.
    spacing: of the severities: karras (eq. 5), log_snr or uniform in t.
    sigma_min: the noise level of the last step.
    sigma_max: the highest noise level, where that of the input is higher because nothing is left of the image.
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
    """Rectified flow (2209.03003) and flow matching (2210.02747): the flow along a degradation's own α and σ.

    steps: of the walk from the severity of the input to 0; heun calls the restorer twice in all but the last.
    spacing: of the severities: uniform in t, karras (2206.00364, eq. 5) or log_snr (2206.00927).
    solver: euler (first order) or heun (second).
    """

    steps: Annotated[int, Ge(1)] = 25
    spacing: Spacing = "uniform"
    solver: Literal["euler", "heun"] = "heun"


@dataclass(frozen=True)
class Langevin:
    """Annealed Langevin dynamics (NCSN, 1907.05600, Algorithm 1), for any degradation α x0 + σ z with Gaussian z.

    steps: noise levels, from that of the input down.
    spacing: of the levels: log_snr (a geometric series, as in the paper), karras (2206.00364, eq. 5) or uniform in t.
    repeats: T, the Langevin steps at each level.
    step_size: ε/σ_L², the step in units of the squared noise level (the paper: 2e-5/0.01² = 0.2).
    denoise: whether the last level's noise is taken off at the end (2009.05475, section 3.1).
    """

    steps: Annotated[int, Ge(1)] = 50
    spacing: Spacing = "log_snr"
    repeats: Annotated[int, Ge(1)] = 5
    step_size: Annotated[float, Gt(0), Lt(2)] = 0.2
    denoise: bool = True


@dataclass(frozen=True)
class ConsistentAnnealed:
    """Consistent annealed sampling with the final denoising step (2009.05475, Algorithm 2).

    steps: noise levels, from that of the input down; one call of the restorer each.
    spacing: of the levels: log_snr (a geometric series, as in the paper), karras (2206.00364, eq. 5) or uniform in t.
    step_size: η = ε/σ_L², the part of the way to x̂0 that each step goes, and more where the next level asks for it.
    """

    steps: Annotated[int, Ge(1)] = 200
    spacing: Spacing = "log_snr"
    step_size: Annotated[float, Gt(0), Le(1)] = 0.1


@dataclass(frozen=True)
class ReverseSDE:
    """The reverse-time SDE (2011.13456, eq. 6), for any degradation α x0 + σ z with Gaussian z.

    steps: of the walk from the severity of the input to 0.
    spacing: of the severities: uniform in t, karras (2206.00364, eq. 5) or log_snr (2206.00927).
    predictor: euler_maruyama, reverse_diffusion (appendix E) or ancestral (appendix F). Only the first needs
        derivatives of α and σ, which a degradation with levels does not have.
    """

    steps: Annotated[int, Ge(1)] = 500
    spacing: Spacing = "uniform"
    predictor: Literal["euler_maruyama", "reverse_diffusion", "ancestral"] = "euler_maruyama"


@dataclass(frozen=True)
class PredictorCorrector:
    """Predictor-corrector sampling (2011.13456, Algorithms 2 to 5): Langevin steps at each severity.

    steps: of the walk from the severity of the input to 0.
    spacing: of the severities: uniform in t, karras (2206.00364, eq. 5) or log_snr (2206.00927).
    predictor: reverse_diffusion (appendix E), ancestral (appendix F) or euler_maruyama.
    corrections: Langevin steps at each severity, each a call of the restorer.
    snr: r, the signal-to-noise ratio that sets the length of a correction.
    """

    steps: Annotated[int, Ge(1)] = 250
    spacing: Spacing = "uniform"
    predictor: Literal["euler_maruyama", "reverse_diffusion", "ancestral"] = "reverse_diffusion"
    corrections: Annotated[int, Ge(1)] = 1
    snr: Annotated[float, Gt(0)] = 0.16


@dataclass(frozen=True)
class ProbabilityFlow:
    """The probability-flow ODE (2011.13456, eq. 13), for any degradation α x0 + σ z with Gaussian z and derivatives.

    steps: of the walk from the severity of the input to 0; with adaptive, only the stations that are seen.
    spacing: of the severities: log_snr (2206.00927), karras (2206.00364, eq. 5) or uniform in t.
    solver: euler, heun or rk4 (1, 2 or 4 calls of the restorer a step), or adaptive (needs torchdiffeq).
    rtol: relative tolerance of adaptive.
    atol: absolute tolerance of adaptive.
    """

    steps: Annotated[int, Ge(1)] = 20
    spacing: Spacing = "log_snr"
    solver: Literal["euler", "heun", "rk4", "adaptive"] = "rk4"
    rtol: Annotated[float, Gt(0)] = 1e-5
    atol: Annotated[float, Gt(0)] = 1e-5


SPECS: list[Spec] = [
    sampler("ddpm", DDPM, target=f"{AT}.ddpm:DDPM", summary="Ancestral sampling, with fixed or learned variance."),
    sampler("ddim", DDIM, target=f"{AT}.ddim:DDIM", summary="DDIM with any η; its inversion encodes images."),
    sampler("edm", EDM, target=f"{AT}.edm:EDM", summary="EDM: Heun's method with stochastic churn."),
    sampler("dpm_solver", DPMSolver, target=f"{AT}.dpm_solver:DPMSolver", summary="DPM-Solver++(2M)."),
    sampler("flow", Flow, target=f"{AT}.flow:Flow", summary="Rectified flow and flow matching, Euler or Heun."),
    sampler("langevin", Langevin, target=f"{AT}.annealed:Langevin", summary="Annealed Langevin dynamics (NCSN)."),
    sampler(
        "consistent_annealed",
        ConsistentAnnealed,
        target=f"{AT}.annealed:ConsistentAnnealed",
        summary="Consistent annealed sampling with a final denoising step.",
    ),
    sampler(
        "reverse_sde",
        ReverseSDE,
        target=f"{AT}.reverse_sde:ReverseSDE",
        summary="The reverse-time SDE: Euler-Maruyama, reverse diffusion or ancestral steps.",
    ),
    sampler(
        "predictor_corrector",
        PredictorCorrector,
        target=f"{AT}.predictor_corrector:PredictorCorrector",
        summary="Predictor-corrector sampling of score SDEs.",
    ),
    sampler(
        "probability_flow",
        ProbabilityFlow,
        target=f"{AT}.probability_flow:ProbabilityFlow",
        summary="The probability-flow ODE, with fixed or adaptive steps.",
    ),
]
