"""Turns the checks into pytest tests, or runs them all at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import rethaw
from rethaw.testing.checks import CHECKS, Case, cases


def check_degradation(name: str, /, **params: Any) -> None:
    """Runs every check on a degradation by name. Raises AssertionError at the first that fails."""
    degradation = rethaw.build("degradation", name, **params)
    for case in cases(degradation):
        for check in CHECKS.values():
            check(degradation, case)


def degradation_tests(name: str, /, *params: Mapping[str, Any]) -> type:
    """A class of pytest tests: every check, for each set of parameters (by default the defaults), size and dtype."""
    import pytest

    sets = params or ({},)
    names = [", ".join(f"{k}={v}" for k, v in given.items()) or "defaults" for given in sets]

    class Tests:
        @pytest.fixture(params=sets, ids=names)
        def degradation(self, request: Any) -> Any:
            return rethaw.build("degradation", name, **request.param)

        @pytest.mark.parametrize("case", cases(None), ids=str)
        @pytest.mark.parametrize("check", CHECKS)
        def test_it_keeps_its_contract(self, degradation: Any, check: str, case: Case) -> None:
            if degradation.channels not in (None, case.channels):
                pytest.skip(f"{name} works on {degradation.channels} channels")
            CHECKS[check](degradation, case)

    return Tests
