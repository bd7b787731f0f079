"""What every degradation promises, as functions that raise AssertionError where it does not hold.

Each takes the degradation as the host uses it and a case: a number of images, a size and a dtype.
"""

from __future__ import annotations

import itertools
import math
import random
from typing import Any

import numpy as np
import torch

from rethaw.api import RethawError
from rethaw.ops import expand, generators
from rethaw.testing.cases import COUNT, Case

STEEPEST = 60.0  # of |D(t + h) - D(t)| / √h; the √ because noise is as steep as that at t = 0
STEP = 1e-4
TINY = ((1, 1), (2, 3), (5, 9), (17, 64))


def identity_at_zero(d: Any, case: Case) -> None:
    """D(x0, 0, ξ) = x0, and the shape, dtype and device stay."""
    x0 = case.images()
    x = d.degrade(x0, expand(0.0, x0), d.draw(x0, generators(1, COUNT)))
    assert (x.shape, x.dtype, x.device) == (x0.shape, x0.dtype, x0.device)
    assert (x - x0).abs().max() <= case.tolerance, "D(x0, 0) is not x0"


def pure(d: Any, case: Case) -> None:
    """The result is a function of the arguments; these stay untouched, and so do global generators."""
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
    """The state comes from the generators alone, batch first: the states of single images make the batch's."""
    x0 = case.images()
    state, again = (d.draw(x, generators(1, COUNT)) for x in (x0, case.images(seed=9)))
    assert state.keys() == again.keys()
    assert all(torch.equal(state[k], again[k]) for k in state), "the state depends on more than shape, device and dtype"
    alone = [d.draw(x0[i : i + 1], generators(1, 1, first=i)) for i in range(COUNT)]
    for key, value in state.items():
        assert torch.equal(value, torch.cat([part[key] for part in alone])), "an image's state depends on its batch"


def each_image_alone(d: Any, case: Case) -> None:
    """A batch with a severity for each image gives what one by one gives, in any order."""
    x0, t = case.images(), case.severities()
    state = d.draw(x0, generators(1, COUNT))
    together = d.degrade(x0, t, state)
    for at in ([0], [1], [2], [2, 0]):
        part = d.degrade(x0[at], t[at], {key: value[at] for key, value in state.items()})
        assert (together[at] - part).abs().max() <= case.tolerance, f"images {at} alone differ from the batch"


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


def levels(d: Any, case: Case) -> None:
    """Severities of one level degrade alike, where it has levels: a restorer is told no more of t than the level."""
    x0, t = case.images(), case.severities()
    state = d.draw(x0, generators(1, COUNT))
    own, of_level = (d.degrade(x0, severities, state) for severities in (t, d.settle(t)))
    apart = (own - of_level).abs().max()
    assert apart <= case.tolerance, f"it declares {d.levels} levels, and severities of one level differ by {apart:.2g}"


def stays_in_range(d: Any, case: Case) -> None:
    """Images in [-1, 1] stay there, where declared bounded; they stay finite everywhere."""
    x0, t = case.images().sign(), case.severities()
    x = d.degrade(x0, t, d.draw(x0, generators(1, COUNT)))
    assert torch.isfinite(x).all(), "a value is not finite"
    assert not getattr(d, "bounded", False) or x.abs().max() <= 1 + case.tolerance, "declared bounded, leaves [-1, 1]"


def any_size(d: Any, case: Case) -> None:
    """Images of any size, down to one pixel, become finite values, or are refused in words (RethawError)."""
    for height, width in TINY:
        x0 = Case(case.channels, height, width, case.dtype, case.device).images()
        try:
            state = d.draw(x0, generators(1, COUNT))
            x = d.degrade(x0, case.severities(), state)
        except RethawError:
            continue
        assert x.shape == x0.shape and torch.isfinite(x).all(), (
            f"{height}×{width} pixels give values that are not finite"
        )
        assert (d.degrade(x0, expand(0.0, x0), state) - x0).abs().max() <= case.tolerance
