"""Turns the checks into pytest tests, or runs them all at once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import rethaw
from rethaw.testing import checks, machine, optional
from rethaw.testing.cases import Case, cases, devices, drawable

Check = Callable[[Any, Case], None]

EVERY_CASE: tuple[Check, ...] = (
    checks.identity_at_zero,
    checks.pure,
    checks.state_of_each_image,
    checks.each_image_alone,
    checks.grows,
    checks.continuous,
    checks.levels,
    checks.stays_in_range,
    optional.linear,
    optional.adjoint,
    optional.gradient,
    optional.svd,
    optional.infers,
    optional.coefficients,
    optional.prior,
)
ONE_CASE: tuple[Check, ...] = (
    checks.any_size,
    machine.waits_for_no_device,
    machine.compiles,
    machine.memory,
    machine.low_precision,
)
CHECKS: dict[str, Check] = {check.__name__: check for check in (*EVERY_CASE, *ONE_CASE)}


def run_check(name: str, degradation: Any, device: str = "cpu") -> None:
    """One check on a hosted degradation, on every case that fits it. Raises AssertionError where it fails.

    Fields of the data's items that it asks for are random images.
    """
    degradation = drawable(degradation)
    check, fitting = CHECKS[name], cases(degradation, device)
    for case in fitting[-1:] if check in ONE_CASE else fitting:
        try:
            check(degradation, case)
        except AssertionError as error:
            raise AssertionError(f"{degradation.name}, {name} on {case}: {error}") from error


def check_degradation(name: str, /, **params: Any) -> None:
    """Runs every check on a degradation by name. Raises AssertionError at the first that fails."""
    degradation = rethaw.build("degradation", name, **params)
    for check in CHECKS:
        run_check(check, degradation)


def degradation_tests(name: str, /, *params: Mapping[str, Any], skip: Collection[str] = ()) -> type:
    """A class of pytest tests: every check, for each set of parameters (by default the defaults) and on each device.

    skip: names of checks that do not hold, such as `grows` of a control that changes nothing; say why beside it.
    Tests on a GPU carry the marker `cuda`.
    """
    import pytest

    sets = params or ({},)
    names = [", ".join(f"{k}={v}" for k, v in given.items()) or "defaults" for given in sets]
    places = [pytest.param(device, marks=[pytest.mark.cuda] * (device == "cuda")) for device in devices()]

    class Tests:
        @pytest.fixture(params=sets, ids=names)
        def degradation(self, request: Any) -> Any:
            return rethaw.build("degradation", name, **request.param)

        @pytest.mark.parametrize("device", places)
        @pytest.mark.parametrize("check", [check for check in CHECKS if check not in skip])
        def test_it_keeps_its_contract(self, degradation: Any, check: str, device: str) -> None:
            run_check(check, degradation, device)

    return Tests
