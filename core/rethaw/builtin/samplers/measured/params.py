"""The parameters and specs of samplers that restore from a measurement, with a restorer of Gaussian noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le

from rethaw.api import Spec, sampler

AT = "rethaw.builtin.samplers.measured"
Unit = Annotated[float, Ge(0), Le(1)]


@dataclass(frozen=True)
class DDRM:
    """Denoising diffusion restoration (2201.11793): each singular component of a measurement has its own update.

    steps: of the walk from x_1 to 0.
    eta: η, the share of fresh noise where the measurement says nothing, or less than x_t.
    eta_b: η_b, the weight of the measurement where it says more than x_t.
    """

    steps: Annotated[int, Ge(1)] = 20
    eta: Unit = 0.85
    eta_b: Unit = 1.0


@dataclass(frozen=True)
class DDNM:
    """Denoising diffusion null-space models (2212.00490): what a linear measurement leaves open is the restorer's.

    With noise on the measurement it is DDNM+ (section 3.3), without the time travel.

    steps: of the walk from x_1 to 0.
    eta: η, the share of fresh noise in each step: 0 as in DDIM, 1 all of it.
    iterations: of conjugate gradients, where the measurement has an adjoint but no singular value decomposition.
    """

    steps: Annotated[int, Ge(1)] = 50
    eta: Unit = 0.85
    iterations: Annotated[int, Ge(1)] = 100


@dataclass(frozen=True)
class DPS:
    """Diffusion posterior sampling (2209.14687): ancestral steps, pulled to the measurement by a gradient.

    steps: of the walk from x_1 to 0.
    scale: ζ', the length of the pull by the gradient of |y - D(x̂0)|.
    """

    steps: Annotated[int, Ge(1)] = 200
    scale: Annotated[float, Gt(0)] = 1.0


@dataclass(frozen=True)
class DiffPIR:
    """Plug-and-play restoration with a diffusion model (DiffPIR, 2305.08995): each estimate is fitted to a measurement.

    steps: of the walk from x_1 to 0.
    scale: λ, how strongly the fit holds on to the estimate where the measurement is noisy; a quarter of the authors'
        number, who count the noise of y on [0, 1] and that of x_t on [-1, 1].
    zeta: ζ, the share of fresh noise in each step: 0 none, 1 all of it.
    iterations: of conjugate gradients, where the measurement has an adjoint but no singular value decomposition.
    """

    steps: Annotated[int, Ge(1)] = 100
    scale: Annotated[float, Gt(0)] = 1.0
    zeta: Unit = 0.3
    iterations: Annotated[int, Ge(1)] = 100


@dataclass(frozen=True)
class PiGDM:
    """Pseudoinverse-guided diffusion (ΠGDM, Song et al., ICLR 2023): steps of DDIM, guided by a linear measurement.

    steps: of the walk from x_1 to 0.
    eta: η, the share of fresh noise in each step: 0 none, 1 as in DDPM.
    weight: of the guidance: adaptive, as the paper's algorithm has it, or the score's own.
    spread: the standard deviation of clean values that r_t is made for; the paper's is 1.
    iterations: of conjugate gradients, where the measurement has an adjoint but no singular value decomposition.
    """

    steps: Annotated[int, Ge(1)] = 100
    eta: Unit = 1.0
    weight: Literal["adaptive", "score"] = "adaptive"
    spread: Annotated[float, Gt(0)] = 1.0
    iterations: Annotated[int, Ge(1)] = 100


@dataclass(frozen=True)
class RePaint:
    """Inpainting (RePaint, 2201.09865): the known pixels are noised anew at each step, and stretches are walked again.

    steps: severities between x_1 and 0.
    jump: how many steps are walked again at a time.
    resamples: how often each stretch is walked; 1 never goes back.
    """

    steps: Annotated[int, Ge(1)] = 50
    jump: Annotated[int, Ge(1)] = 5
    resamples: Annotated[int, Ge(1)] = 5


SPECS: list[Spec] = [
    sampler(
        "ddrm", DDRM, target=f"{AT}.ddrm:DDRM", summary="From a linear measurement, by its singular values (DDRM)."
    ),
    sampler(
        "ddnm",
        DDNM,
        target=f"{AT}.ddnm:DDNM",
        summary="From a linear measurement: only its null space is restored (DDNM, DDNM+).",
    ),
    sampler(
        "dps",
        DPS,
        target=f"{AT}.dps:DPS",
        summary="From any differentiable measurement, by gradients through the restorer (DPS).",
    ),
    sampler(
        "diffpir",
        DiffPIR,
        target=f"{AT}.diffpir:DiffPIR",
        summary="From a linear measurement: each estimate is fitted to it (DiffPIR).",
    ),
    sampler(
        "pigdm",
        PiGDM,
        target=f"{AT}.pigdm:PiGDM",
        summary="From a linear measurement, guided by its pseudo-inverse (ΠGDM).",
    ),
    sampler("repaint", RePaint, target=f"{AT}.repaint:RePaint", summary="Inpainting with resampling (RePaint)."),
]
