"""Linear degradations as physics of deepinv: they pass its own test of adjointness."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from rethaw.ops import expand, generators
from tests.worlds import EVERY, degradation_id, images, made

LINEAR = [case for case in EVERY if hasattr(made(case), "adjoint")]


def physics(degradation: Any, like: Tensor, t: float) -> Any:
    """The linear part of a degradation at severity t, with one state, as deepinv has its operators."""
    from deepinv.physics import LinearPhysics

    state, severity = degradation.draw(like, generators(1, len(like))), expand(t, like)
    offset = degradation.degrade(torch.zeros_like(like), severity, state)

    class Adapter(LinearPhysics):
        def A(self, x: Tensor, **_: Any) -> Tensor:
            return degradation.degrade(x, severity, state) - offset  # type: ignore[no-any-return]

        def A_adjoint(self, y: Tensor, **_: Any) -> Tensor:
            return degradation.adjoint(y, severity, state)  # type: ignore[no-any-return]

    return Adapter()


@pytest.mark.parametrize("t", [0.3, 0.8])  # at 1 some keep nothing of the image, and deepinv divides by its norm
@pytest.mark.parametrize("case", LINEAR, ids=degradation_id)
def test_adjointness(case: Any, t: float) -> None:
    pytest.importorskip("deepinv")
    degradation = made(case)
    x = images(1, degradation.channels or 3, height=33, width=40)
    error = physics(degradation, x, t).adjointness_test(x)
    assert abs(float(error)) <= 1e-8 * x.numel()


def test_what_is_not_its_adjoint_is_found_out() -> None:
    pytest.importorskip("deepinv")
    fade = made(("core.fade", {}))
    fade.adjoint = lambda y, t, state: y
    assert abs(float(physics(fade, images(1), 0.5).adjointness_test(images(1)))) > 1e-2
