"""What is asked before the first call of the network: whether a sampler can walk here, and from where."""

from __future__ import annotations

import torch
from torch import Tensor

from rethaw.api import Observation, RethawError, Sampler, State
from rethaw.engine.degradation.composition import before_last, without_infer
from rethaw.engine.degradation.hosted import Hosted
from rethaw.engine.restorer.conditioners import check_read
from rethaw.engine.sampling.measurement import measurement_mismatch
from rethaw.ops import generators


def checked_state(
    sampler: Sampler, degradation: Hosted, x: Tensor, state: State | None, observation: Observation | None
) -> State | None:
    """The state for a walk on images like x; {} where nothing is random.

    Raises RethawError where the sampler cannot work with it, with the degradation or with the measurement.
    """
    name, drawn = type(sampler).__name__.lower(), degradation.draw(x[:1], generators(0, 1))
    check_read("state", state or (), tuple(drawn), f"{degradation.name} draws no state.")
    if state is None and not drawn:
        state = {}
    if mismatch := measurement_mismatch(sampler, observation):
        raise RethawError(f"{name} sampling cannot do this: {mismatch}")
    seen = without_infer(degradation) if before_last(degradation, drawn) and not state else degradation
    if problem := check_sampler(sampler, seen, state, observation):
        lacks_state = state is None and not check_sampler(sampler, seen, drawn, observation)
        hint = f"Use --sampler core.direct, or give the state ({state_options(drawn)})." if lacks_state else ""
        what = f"restore from {name_of(observation.degradation)}" if observation else f"undo {degradation.name}"
        raise RethawError(f"{name} sampling cannot {what}: {problem}", hint)
    return state


def check_start(severity: float | Tensor, count: int) -> float | Tensor:
    """A severity that a walk can begin at, in (0, 1]: one for all, or one for each image."""
    given = severity.tolist() if isinstance(severity, Tensor) and severity.dim() else [float(severity)]
    if isinstance(severity, Tensor) and severity.dim() and len(given) != count:
        raise RethawError(f"{len(given)} severities for {count} images", "Give one for all, or one for each.")
    for each in given:
        if not 0 < each <= 1:
            raise RethawError(
                f"severity {each:g} is not in (0, 1]", "1 is the full degradation; at 0 there is nothing to restore."
            )
    return severity


def check_sampler(
    sampler: Sampler, degradation: Hosted, state: State | None, observation: Observation | None
) -> str | None:
    """What a sampler lacks; one without a `check` of its own needs the state."""
    if hasattr(sampler, "check"):
        problem: str | None = sampler.check(degradation, state, observation)
        return problem
    return "the degradation's random state is not known" if state is None else None


def state_options(drawn: State) -> str:
    """How the command line gives the state of a degradation that draws one like this."""
    return " ".join(f"--state {key}=FILE" for key in drawn)


def name_of(degradation: object) -> str:
    """The name of a degradation for messages."""
    return str(getattr(degradation, "name", type(degradation).__name__))


def all_severities(sampler: Sampler, degradation: Hosted, start: float | Tensor) -> Tensor:
    """A sampler's severities from one start, (N+1,), or from one for each image, (N+1, B)."""
    if not isinstance(start, Tensor):
        return sampler.severities(degradation, start)
    rows = [sampler.severities(degradation, each) for each in start.tolist()]
    if len({len(row) for row in rows}) > 1:
        raise RethawError(
            "the sampler takes another number of steps for each of these severities",
            "Restore images of different severities one by one.",
        )
    return torch.stack(rows, 1)
