"""What is asked before the first call of the network: whether a sampler can walk here, and from where."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from rethaw.api import Observation, RethawError, Sampler, State, Step, infers_state
from rethaw.engine.degradation.composition import before_last, without_infer
from rethaw.engine.degradation.hosted import Hosted, form_of
from rethaw.engine.faults import broken, naming
from rethaw.engine.restorer.conditioners import check_read
from rethaw.engine.sampling.measurement import measurement_mismatch


def checked_state(
    sampler: Sampler, use: str, degradation: Hosted, x: Tensor, state: State | None, observation: Observation | None
) -> State | None:
    """The state for a walk on images like x; {} where nothing is random.

    Raises RethawError where the sampler cannot work with it, with the degradation or with the measurement.
    """
    name, drawn = type(sampler).__name__.lower(), degradation.stand_in(x)
    check_read("state", state or (), tuple(drawn), f"{degradation.name} draws no state.")
    if state is None and not drawn:
        state = {}
    if mismatch := measurement_mismatch(sampler, observation):
        raise RethawError(f"{name} sampling cannot do this: {mismatch}")
    seen = without_infer(degradation) if before_last(degradation, drawn) and not state else degradation
    with naming(use, "checking the degradation"):
        problem = check_sampler(sampler, seen, state, observation)
    if problem:
        lacks_state = state is None and not check_sampler(sampler, seen, drawn, observation)
        hint = lacking_state(sampler, drawn) if lacks_state else ""
        what = f"restore from {name_of(observation.degradation)}" if observation else f"undo {degradation.name}"
        raise RethawError(f"{name} sampling cannot {what}: {problem}", hint)
    return state


def for_walk(degradation: Hosted, x: Tensor, t: Tensor, state: State | None) -> Hosted:
    """A degradation for images x at severities t (B,), so that a sampler can draw a state anew: its fields stay.

    They are those of the known state, or else what x alone tells of them, as a file that is the partner of its image.
    """
    if not degradation.fields:
        return degradation
    if state is None and infers_state(degradation) and bool((t == 1).all()):
        one, other = (degradation.infer(x, x0_hat, t, {}) for x0_hat in (x, -x))
        state = {key: value for key, value in one.items() if torch.equal(value, other[key])}
    found = {key.rpartition(".")[2]: value for key, value in (state or {}).items()}
    return degradation.for_items({key: value for key, value in found.items() if key in degradation.fields})


def check_start(severity: float | Tensor, count: int) -> float | Tensor:
    """A severity that a walk can begin at, in (0, 1]: one for all, or one for each image."""
    if isinstance(severity, Tensor) and not severity.dim():
        severity = float(severity)
    given = severity.tolist() if isinstance(severity, Tensor) else [severity]
    if isinstance(severity, Tensor) and len(given) != count:
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


def lacking_state(sampler: Sampler, drawn: State) -> str:
    """What to do where a sampler needs a state like this and nobody knows it."""
    draws = hasattr(getattr(sampler, "params", None), "state")
    plausible = ", or walk with a plausible one (--state drawn)" if draws else ""
    return f"Use --sampler core.direct or core.renoise, or give the state ({state_options(drawn)}){plausible}."


def state_options(drawn: State) -> str:
    """How the command line gives the state of a degradation that draws one like this."""
    return " ".join(f"--state {key}=FILE" for key in drawn)


def name_of(degradation: object) -> str:
    """The name of a degradation for messages."""
    return str(getattr(degradation, "name", type(degradation).__name__))


def all_severities(sampler: Sampler, name: str, degradation: Hosted, start: float | Tensor) -> Tensor:
    """A sampler's severities from one start, (N+1,), or from one for each image, (N+1, B)."""
    if not isinstance(start, Tensor):
        return checked_severities(sampler, name, degradation, start)
    rows = [checked_severities(sampler, name, degradation, each) for each in start.tolist()]
    if len({len(row) for row in rows}) > 1:
        raise RethawError(
            "the sampler takes another number of steps for each of these severities",
            "Restore images of different severities one by one.",
        )
    return torch.stack(rows, 1)


def checked_severities(sampler: Sampler, name: str, degradation: Hosted, start: float) -> Tensor:
    """A sampler's severities from one start: tensors of numbers in [0, 1] that end at 0."""
    with naming(name, "choosing its severities"):
        found = sampler.severities(degradation, start)
    if not isinstance(found, Tensor) or found.dim() != 1 or len(found) < 2 or not found.is_floating_point():
        raise broken(name, f"severities gave {form_of(found)}, not (N+1,) numbers")
    if not bool(((found >= 0) & (found <= 1 + 1e-6)).all()) or float(found[-1]) != 0:
        raise broken(
            name, f"its severities go from {float(found[0]):g} to {float(found[-1]):g}, not down to 0 in [0, 1]"
        )
    return found


def checked_steps(steps: Iterator[Step], name: str, x: Tensor) -> Iterator[Step]:
    """The stations of a walk on images x, each as the contract says, the last at 0; its faults name the sampler."""
    step = None
    with naming(name, "sampling"):
        for step in steps:
            seen = getattr(step, "x", None)
            if (
                not isinstance(step, Step)
                or not isinstance(seen, Tensor)
                or (seen.shape, seen.dtype) != (x.shape, x.dtype)
            ):
                raise broken(
                    name, f"a station of its trajectory is {form_of(seen)}, not a Step with x like {form_of(x)}"
                )
            yield step
    if step is None:
        raise broken(name, "its trajectory has no stations")
    if not isinstance(step.t, Tensor) or bool(step.t.any()):
        raise broken(name, "its trajectory ends before severity 0")
