"""What holds of the optional methods of a degradation, and of its gradient: checks as in `rethaw.testing.checks`.

Where a degradation has no such method, or declares that it has no gradient, there is nothing to check.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rethaw.ops import generators
from rethaw.testing.cases import COUNT, Case

NUDGE = 1e-6  # of central differences, in float64


def linear_part(d: Any, x: Tensor, t: Tensor, state: Any) -> Tensor:
    """A x = D(x) - D(0)."""
    return d.degrade(x, t, state) - d.degrade(torch.zeros_like(x), t, state)  # type: ignore[no-any-return]


def linear(d: Any, case: Case) -> None:
    """A(2x + y) = 2 A x + A y for the linear part A, where declared linear."""
    if not d.linear:
        return
    x, y, t = case.images(), case.images(seed=8), case.severities()
    state = d.draw(x, generators(1, COUNT))
    error = linear_part(d, 2 * x + y, t, state) - 2 * linear_part(d, x, t, state) - linear_part(d, y, t, state)
    assert error.abs().max() <= 100 * case.tolerance, "declared linear, is not affine"


def adjoint(d: Any, case: Case) -> None:
    """<A x, y> = <x, A* y> for the linear part A, and the gradient is that adjoint."""
    if not hasattr(d, "adjoint"):
        return
    assert d.linear, "an adjoint, but not declared linear"
    x, y, t = case.images(), case.images(seed=8), case.severities()
    state = d.draw(x, generators(1, COUNT))
    transposed = d.adjoint(y, t, state)
    both = (linear_part(d, x, t, state) * y).sum((1, 2, 3)) - (x * transposed).sum((1, 2, 3))
    assert both.abs().max() <= case.tolerance * x[0].numel(), "adjoint is not the transpose"
    if getattr(d, "differentiable", True):
        assert (gradient_of(d, x, y, t, state) - transposed).abs().max() <= 100 * case.tolerance, (
            "adjoint is not the transpose: the gradient is another"
        )


def gradient_of(d: Any, x: Tensor, y: Tensor, t: Tensor, state: Any) -> Tensor:
    """∇_x <D(x), y>."""
    leaf = x.clone().requires_grad_()
    out = d.degrade(leaf, t, state)
    assert out.requires_grad, "no gradient comes through: declare differentiable=False"
    return torch.autograd.grad((out * y).sum(), leaf)[0]


def gradient(d: Any, case: Case) -> None:
    """The gradient with respect to the image is that of central differences, unless declared not differentiable."""
    if not getattr(d, "differentiable", True) or case.dtype != "float64":
        return
    x, y, v, t = case.images(), case.images(seed=8), case.images(seed=9), case.severities()
    state = d.draw(x, generators(1, COUNT))
    slope = (gradient_of(d, x, y, t, state) * v).sum((1, 2, 3))
    up, down = (d.degrade(x + step * v, t, state) for step in (NUDGE, -NUDGE))
    measured = ((up - down) * y).sum((1, 2, 3)) / (2 * NUDGE)
    scale = measured.abs() + y[0].numel() ** 0.5
    assert ((slope - measured).abs() / scale).max() <= 1e-3, (
        "the gradient is not the slope: declare differentiable=False"
    )


def svd(d: Any, case: Case) -> None:
    """A = U diag(s) Vᵀ with s ≥ 0 and orthonormal U and V, where there is an svd."""
    if not hasattr(d, "svd"):
        return
    x, t = case.images(), case.severities()
    state = d.draw(x, generators(1, COUNT))
    parts, tolerance = d.svd(x, t, state), 100 * case.tolerance
    coordinates = parts.Vt(x)
    assert (parts.s >= 0).all(), "a singular value is negative"
    assert (parts.U(parts.s * coordinates) - linear_part(d, x, t, state)).abs().max() <= tolerance
    assert (parts.Vt(parts.V(coordinates)) - coordinates).abs().max() <= tolerance, "V is not orthonormal"
    assert (parts.Ut(parts.U(coordinates)) - coordinates).abs().max() <= tolerance, "U is not orthonormal"


def infers(d: Any, case: Case) -> None:
    """infer gives a state that explains x_t, with the keys of a state that is drawn."""
    if not hasattr(d, "infer"):
        return
    x0, t = case.images(), case.severities()
    state = d.draw(x0, generators(1, COUNT))
    x_t = d.degrade(x0, t, state)
    found = d.infer(x_t, x0, t, {})
    assert found.keys() == state.keys(), "infer and draw give different states"
    assert (d.degrade(x0, t, found) - x_t).abs().max() <= 100 * case.tolerance, (
        "the inferred state does not explain x_t"
    )


def coefficients(d: Any, case: Case) -> None:
    """D = α x0 + σ z with z the state, where there are coefficients; z ~ N(0, I) where declared gaussian."""
    if not hasattr(d, "coefficients"):
        return
    x0, t = case.images(), case.severities()
    state = d.draw(x0, generators(1, COUNT))
    α, σ = (c.view(-1, 1, 1, 1) for c in d.coefficients(t))
    z = state[getattr(d, "z_key", "z")]
    assert (α * x0 + σ * z - d.degrade(x0, t, state)).abs().max() <= 10 * case.tolerance
    if d.gaussian:
        assert abs(float(z.mean())) <= 0.1 and abs(float(z.var()) - 1) <= 0.15, "declared gaussian, z is not N(0, I)"


def prior(d: Any, case: Case) -> None:
    """prior gives x_1 and its state, in the shape of `like`, each image from its own generator."""
    if not hasattr(d, "prior"):
        return
    like = case.images()
    x, state = d.prior(like, generators(3, COUNT))
    assert (x.shape, x.dtype, x.device) == (like.shape, like.dtype, like.device) and torch.isfinite(x).all()
    assert state.keys() == d.draw(like, generators(3, COUNT)).keys(), "prior and draw give different states"
    alone = d.prior(like[1:2], generators(3, 1, first=1))[0]
    assert (x[1:2] - alone).abs().max() <= case.tolerance, "an image of the prior depends on its batch"
