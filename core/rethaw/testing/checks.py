"""What a degradation promises, as functions that raise AssertionError where it does not hold.

Each takes the degradation as the host uses it and a case: a number of images, a size and a dtype.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rethaw.ops import expand, generators

COUNT = 3
STEEPEST = 60.0  # of |D(t + h) - D(t)| / √h; the √ because noise is as steep as that at t = 0
STEP = 1e-4


@dataclass(frozen=True)
class Case:
    """Three images of one shape and dtype."""

    channels: int
    height: int
    width: int
    dtype: str = "float64"
    device: str = "cpu"

    def __str__(self) -> str:
        return f"{self.channels}x{self.height}x{self.width}-{self.dtype}" + (
            f"-{self.device}" if self.device != "cpu" else ""
        )

    @property
    def tolerance(self) -> float:
        """Of results that should be equal, on the scale of images in [-1, 1]."""
        return 1e-10 if self.dtype == "float64" else 2e-5

    def images(self, seed: int = 0) -> Tensor:
        """Random images in [-1, 1]."""
        rng = torch.Generator().manual_seed(seed)
        drawn = torch.rand(COUNT, self.channels, self.height, self.width, generator=rng, dtype=torch.float64)
        return (drawn * 2 - 1).to(self.device, getattr(torch, self.dtype))

    def severities(self) -> Tensor:
        """Three that differ."""
        return torch.tensor([0.15, 0.6, 1.0], dtype=getattr(torch, self.dtype), device=self.device)


def cases(degradation: Any) -> list[Case]:
    """The cases that fit a degradation; all of them for None."""
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    shapes = [(3, 32, 32), (3, 40, 33), (1, 33, 48)]
    found = [Case(*shape, dtype, device) for device in devices for dtype in ("float64", "float32") for shape in shapes]
    return [case for case in found if degradation is None or degradation.channels in (None, case.channels)]


def identity_at_zero(d: Any, case: Case) -> None:
    """D(x0, 0, ξ) = x0, and the shape, dtype and device stay."""
    x0 = case.images()
    x = d.degrade(x0, expand(0.0, x0), d.draw(x0, generators(1, COUNT)))
    assert (x.shape, x.dtype, x.device) == (x0.shape, x0.dtype, x0.device)
    assert (x - x0).abs().max() <= case.tolerance, "D(x0, 0) is not x0"


def pure(d: Any, case: Case) -> None:
    """The result is a function of the arguments: input, severities and state stay untouched, and so do global generators."""
    x0, t = case.images(), case.severities()
    before = (x0.clone(), t.clone(), torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate())  # type: ignore[index]
    state = d.draw(x0, generators(1, COUNT))
    kept = {key: value.clone() for key, value in state.items()}
    first, second = d.degrade(x0, t, state), d.degrade(x0, t, state)
    assert torch.equal(first, second), "two calls with the same arguments differ"
    assert torch.equal(x0, before[0]) and torch.equal(t, before[1]), "an argument was changed in place"
    assert all(torch.equal(state[key], kept[key]) for key in kept), "the state was changed in place"
    after = (torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate())  # type: ignore[index]
    assert torch.equal(after[0], before[2]) and after[1:] == before[3:], "a global random state was used"


def state_of_each_image(d: Any, case: Case) -> None:
    """The state is drawn from the generators alone, batch first: it can be indexed, and does not depend on the batch."""
    x0 = case.images()
    state, again = (d.draw(x, generators(1, COUNT)) for x in (x0, case.images(seed=9)))
    assert state.keys() == again.keys()
    assert all(torch.equal(state[k], again[k]) for k in state), "the state depends on more than shape, device and dtype"
    for i in range(COUNT):
        alone = d.draw(x0[i : i + 1], generators(1, 1, first=i))
        assert all(torch.equal(state[k][i : i + 1], alone[k]) for k in state), "an image's state depends on its batch"


def each_image_alone(d: Any, case: Case) -> None:
    """A batch with a severity for each image gives what one by one gives."""
    x0, t = case.images(), case.severities()
    state = d.draw(x0, generators(1, COUNT))
    together = d.degrade(x0, t, state)
    for i in range(COUNT):
        part = {key: value[i : i + 1] for key, value in state.items()}
        alone = d.degrade(x0[i : i + 1], t[i : i + 1], part)
        assert (together[i] - alone[0]).abs().max() <= case.tolerance, f"image {i} alone differs from the batch"


def grows(d: Any, case: Case) -> None:
    """A heavier severity changes images more, on average, and the heaviest changes them."""
    x0 = case.images()
    state = d.draw(x0, generators(1, COUNT))
    change = [
        float((d.degrade(x0, expand(t, x0), state) - x0).square().mean().sqrt()) for t in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    assert change[-1] > change[0], "severity 1 changes nothing"
    assert all(b >= a * 0.98 - 1e-6 for a, b in itertools.pairwise(change)), f"severity does not grow: {change}"


def continuous(d: Any, case: Case) -> None:
    """No jump in t, where declared continuous."""
    if not d.continuous:
        return
    x0 = case.images()
    state = d.draw(x0, generators(1, COUNT))
    for t in torch.linspace(0, 1 - STEP, 23).tolist():
        a, b = (d.degrade(x0, expand(v, x0), state) for v in (t, t + STEP))
        assert (a - b).abs().max() <= STEEPEST * math.sqrt(STEP), f"there is a jump at t = {t:.3f}"


def adjoint(d: Any, case: Case) -> None:
    """<A x, y> = <x, A* y> for the linear part A, and the gradient is that adjoint."""
    x, y, t = case.images(), case.images(seed=8), case.severities()
    state = d.draw(x, generators(1, COUNT))
    if d.linear:
        offset = d.degrade(torch.zeros_like(x), t, state)
        double = d.degrade(2 * x, t, state) - offset
        assert (double - 2 * (d.degrade(x, t, state) - offset)).abs().max() <= 100 * case.tolerance, (
            "declared linear, is not affine"
        )
    if hasattr(d, "adjoint"):
        assert d.linear, "an adjoint, but not declared linear"
        leaf = x.clone().requires_grad_()
        (d.degrade(leaf, t, state) * y).sum().backward()
        assert leaf.grad is not None
        assert (leaf.grad - d.adjoint(y, t, state)).abs().max() <= 100 * case.tolerance, "adjoint is not the transpose"


def svd(d: Any, case: Case) -> None:
    """A = U diag(s) Vᵀ, where there is an svd."""
    if not hasattr(d, "svd"):
        return
    x, t = case.images(), case.severities()
    state = d.draw(x, generators(1, COUNT))
    parts = d.svd(x, t, state)
    offset = d.degrade(torch.zeros_like(x), t, state)
    assert (parts.U(parts.s * parts.Vt(x)) - (d.degrade(x, t, state) - offset)).abs().max() <= 100 * case.tolerance


def infers(d: Any, case: Case) -> None:
    """infer gives a state that explains x_t."""
    if not hasattr(d, "infer"):
        return
    x0, t = case.images(), case.severities()
    x_t = d.degrade(x0, t, d.draw(x0, generators(1, COUNT)))
    found = d.infer(x_t, x0, t, {})
    assert (d.degrade(x0, t, found) - x_t).abs().max() <= 100 * case.tolerance, (
        "the inferred state does not explain x_t"
    )


def coefficients(d: Any, case: Case) -> None:
    """D = α x0 + σ z with z the state, where there are coefficients."""
    if not hasattr(d, "coefficients"):
        return
    x0, t = case.images(), case.severities()
    state = d.draw(x0, generators(1, COUNT))
    α, σ = (c.view(-1, 1, 1, 1) for c in d.coefficients(t))
    z = next(value for key, value in state.items() if key.rpartition(".")[2] == "z")
    assert (α * x0 + σ * z - d.degrade(x0, t, state)).abs().max() <= 10 * case.tolerance


def prior(d: Any, case: Case) -> None:
    """prior gives x_1 in the shape of `like`, with a state of which it is the degradation of something."""
    if not hasattr(d, "prior"):
        return
    like = case.images()
    x, state = d.prior(like, generators(3, COUNT))
    assert (x.shape, x.dtype, x.device) == (like.shape, like.dtype, like.device) and torch.isfinite(x).all()
    assert state.keys() == d.draw(like, generators(3, COUNT)).keys(), "prior and draw give different states"


CHECKS: dict[str, Callable[[Any, Case], None]] = {
    check.__name__: check for check in (identity_at_zero, pure, state_of_each_image, each_image_alone, grows, continuous,
                                        adjoint, svd, infers, coefficients, prior)
}  # fmt: skip
