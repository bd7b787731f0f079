"""What every guide promises, as functions that raise AssertionError where it does not hold.

Each takes what makes the guide for some of three images, by their numbers, and a case, by which x_t and the estimates
of the clean images are drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

import rethaw
from rethaw.testing.cases import COUNT, Case

Make = Callable[[Sequence[int]], Any]
"""The guide for the images of these numbers."""

CASES = (Case(3, 16, 16, "float32"), Case(3, 20, 33, "float64"))
EVERY = range(COUNT)
NUDGE = 1e-2  # along the gradient, in the length of the whole image


def one_number_an_image(make: Make, case: Case) -> None:
    """(B,) finite numbers; a function of the arguments, which stay as they are, and of no global random state."""
    x, x0_hat, t = given = arguments(case)
    before, random = [part.clone() for part in given], torch.get_rng_state()
    first, second = make(EVERY).guide(x, x0_hat, t), make(EVERY).guide(x, x0_hat, t)
    assert first.shape == (COUNT,), f"guide gives {tuple(first.shape)}, not (B,)"
    assert torch.isfinite(first).all(), "a log-probability is not finite"
    assert torch.equal(first, second), "two calls with the same arguments differ"
    assert all(map(torch.equal, given, before)), "an argument was changed in place"
    assert torch.equal(torch.get_rng_state(), random), "a global random state was used"


def its_gradient_leads_upwards(make: Make, case: Case) -> None:
    """There is a finite gradient, and a small step along it raises the log-probability as it says."""
    guide, t = make(EVERY), arguments(case)[2]
    x, x0_hat = (part.requires_grad_() for part in arguments(case)[:2])
    slopes = torch.autograd.grad(guide.guide(x, x0_hat, t).sum(), (x, x0_hat), allow_unused=True)
    found = [(at, slope) for at, slope in enumerate(slopes) if slope is not None]
    assert found, "the log-probability depends neither on x nor on x0_hat"
    for at, slope in found:
        length = slope.flatten(1).norm(dim=1)
        assert torch.isfinite(length).all() and (length > 0).all(), "the gradient is zero, or not finite"
        way = slope / length.view(-1, 1, 1, 1) * NUDGE
        with torch.no_grad():
            up, down = (guide.guide(*moved(x, x0_hat, at, sign * way), t) for sign in (1, -1))
        measured = (up - down) / (2 * NUDGE)
        assert (measured >= length / 2).all(), f"a step along the gradient brings {measured}, not {length}"


def each_image_alone(make: Make, case: Case) -> None:
    """A batch gives what its images give one by one."""
    given = arguments(case)
    together = make(EVERY).guide(*given)
    alone = torch.cat([make([i]).guide(*(part[i : i + 1] for part in given)) for i in EVERY])
    assert (together - alone).abs().max() <= 1e-4 * (1 + together.abs().max()), "an image depends on its batch"


GUIDE_CHECKS: dict[str, Callable[[Make, Case], None]] = {
    check.__name__: check for check in (one_number_an_image, its_gradient_leads_upwards, each_image_alone)
}


def arguments(case: Case) -> tuple[Tensor, Tensor, Tensor]:
    """x_t, x̂0 and t of three images."""
    return case.images(), case.images(seed=1), case.severities()


def moved(x: Tensor, x0_hat: Tensor, at: int, way: Tensor) -> tuple[Tensor, Tensor]:
    """One of the two, a step further."""
    return (x + way, x0_hat) if at == 0 else (x, x0_hat + way)


def run_guide_check(check: str, name: str, values: Sequence[Any] | None, params: Mapping[str, Any]) -> None:
    """One check on a guide by name. values: what it leads three images towards, where it takes any."""
    guide = rethaw.build("guide", name, **params)

    def make(images: Sequence[int]) -> Any:
        return guide if values is None else guide.toward([values[i] for i in images], torch.device("cpu"))

    try:
        for case in CASES:
            GUIDE_CHECKS[check](make, case)
    except AssertionError as error:
        raise AssertionError(f"{name}, {check}: {error}") from error


def check_guide(name: str, values: Sequence[Any] | None = None, /, **params: Any) -> None:
    """Runs every check on a guide by name; values: three, of a guide that takes any (captions, labels).

    Raises AssertionError at the first that fails.
    """
    for check in GUIDE_CHECKS:
        run_guide_check(check, name, values, params)


def guide_tests(name: str, /, *params: Mapping[str, Any], values: Sequence[Any] | None = None) -> type:
    """A class of pytest tests: every check, for each set of parameters (by default the defaults)."""
    import pytest

    sets = params or ({},)
    names = [", ".join(f"{k}={v}" for k, v in given.items()) or "defaults" for given in sets]

    class Tests:
        @pytest.mark.parametrize("params", sets, ids=names)
        @pytest.mark.parametrize("check", GUIDE_CHECKS)
        def test_it_keeps_its_contract(self, params: Mapping[str, Any], check: str) -> None:
            run_guide_check(check, name, values, params)

    return Tests
