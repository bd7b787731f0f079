"""The parameters and specs of the built-in samplers; neither needs torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge

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


SPECS: list[Spec] = [
    sampler("direct", Direct, target=f"{AT}.restoration:Direct", summary="One call of the restorer."),
    sampler(
        "naive", Naive, target=f"{AT}.restoration:Naive", summary="Restore and degrade less in turn (Algorithm 1)."
    ),
    sampler(
        "cold", Cold, target=f"{AT}.restoration:Cold", summary="Cold sampling (Algorithm 2); DDIM with inferred noise."
    ),
]
