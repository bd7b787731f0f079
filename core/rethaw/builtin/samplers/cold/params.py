"""The parameters and specs of samplers that restore and degrade in turn, whatever the degradation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Le

from rethaw.api import Spec, sampler

AT = "rethaw.builtin.samplers.cold.cold_diffusion"


@dataclass(frozen=True)
class Direct:
    """One call of the restorer at the severity of the input: x̂0 = R(x_t, t)."""


@dataclass(frozen=True)
class Naive:
    """Restores and degrades a little less in turn, Algorithm 1 of Cold Diffusion: x_s = D(R(x_t, t), s).

    steps: of the walk from the severity of the input to 0.
    state: fixed keeps the degradation's state; drawn takes one that is drawn for the walk, for want of the true one.
    """

    steps: Annotated[int, Ge(1)] = 20
    state: Literal["fixed", "drawn"] = "fixed"


@dataclass(frozen=True)
class Cold:
    """Cold sampling, Algorithm 2 of Cold Diffusion (2208.09392): x_s = x_t - D(x̂0, t) + D(x̂0, s).

    steps: of the walk from the severity of the input to 0.
    state: fixed keeps the degradation's state; inferred solves for it at each step, which makes Gaussian noise DDIM;
        drawn takes one that is drawn for the walk, for want of the true one (docs/degradations.md measures it).
    noise: standard deviation δ of white noise that is added to x_1 before the walk. It breaks the symmetry of a start
        that is one flat colour, from which nothing but its colour can be told (section 5.2: 0.002, on [-1, 1]).
    perception: of the result, the share that is the walk's end; the rest is its first estimate, as core.direct gives.
        Where the end looks real and the estimate is near the mean of all answers, the best compromises lie between
        them (2107.02555).
    """

    steps: Annotated[int, Ge(1)] = 20
    state: Literal["fixed", "inferred", "drawn"] = "fixed"
    noise: Annotated[float, Ge(0)] = 0.0
    perception: Annotated[float, Ge(0), Le(1)] = 1.0


@dataclass(frozen=True)
class Renoise:
    """Restores and degrades a little less, each time in a new way: x_s = D(R(x_t, t), s, ξ') with ξ' drawn anew.

    Of Gaussian noise it is the loop of restore, then add less noise (Consistency Models, 2303.01469, Algorithm 1); of a
    degradation that nothing is random about it is core.naive. It never needs to know ξ.

    steps: of the walk from the severity of the input to 0.
    """

    steps: Annotated[int, Ge(1)] = 20


SPECS: list[Spec] = [
    sampler("direct", Direct, target=f"{AT}:Direct", summary="One call of the restorer."),
    sampler("naive", Naive, target=f"{AT}:Naive", summary="Restore and degrade less in turn (Algorithm 1)."),
    sampler("cold", Cold, target=f"{AT}:Cold", summary="Cold sampling (Algorithm 2); DDIM with inferred noise."),
    sampler(
        "renoise",
        Renoise,
        target=f"{AT}:Renoise",
        summary="Restore, then degrade less and anew, in turn (multistep consistency sampling).",
    ),
]
