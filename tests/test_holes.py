"""Holes that a known mask hides: nothing of a result depends on what was painted there, and what is shown is kept."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rethaw
from rethaw.config import load_text
from rethaw.engine.restorer.network import Restorer
from rethaw.ops import expand, generators
from tests.worlds import images, with_network

MASKS = [
    "{use: core.mask, shape: box}",
    "{use: core.mask, shape: strokes, levels: 4}",
    "{use: core.mask, shape: half, span: [0, 0.8], schedule: cosine}",
    "{use: core.cumulative_mask, kernel_std: 0.01, initial: 1, steps: 6, routine: random_incremental}",
    "{use: core.cumulative_mask, kernel_std: 0.01, initial: 1, steps: 6, colour: [0.5, -0.2, 0]}",
    "[{use: core.mask, id: a}, {use: core.mask, id: b, shape: strokes, span: [0.3, 1]}]",
]
MEASURED = ["core.ddrm", "core.ddnm", "core.dps", "core.repaint"]
PAINTS = (-1.0, 0.0, 1.0)


class Oracle(nn.Module):
    """Gives the clean image, whatever it sees."""

    def __init__(self, x0: Tensor) -> None:
        super().__init__()
        self.x0 = x0

    def forward(self, x: Tensor, t: Tensor, cond: Any) -> Tensor:
        return self.x0 + 0 * x


class Trivial(nn.Module):
    """Half of what it sees: wrong everywhere, and in another way for every colour."""

    def forward(self, x: Tensor, t: Tensor, cond: Any) -> Tensor:
        return x / 2


def painted(y: Tensor, hidden: Tensor) -> list[Tensor]:
    """The images with each colour, and with noise, in their holes."""
    return [y.where(~hidden, colour) for colour in (*PAINTS, images(len(y), seed=9, dtype=y.dtype))]


def walks(network: nn.Module, text: str, sampler: str, seen: list[Tensor], **given: Any) -> list[Tensor]:
    pipeline = with_network(rethaw.Pipeline(*load_text(text), "cpu"), Restorer(network))
    return [pipeline.restore(y, sampler=sampler, steps=5, seed=3, **given) for y in seen]


@pytest.mark.parametrize("sampler", ["core.direct", "core.naive", "core.cold", "core.renoise"])
@pytest.mark.parametrize("mask", MASKS)
def test_the_paint_in_a_hole_makes_no_difference(mask: str, sampler: str) -> None:
    x0, text = images(2, dtype=torch.float32), f"degradation: {mask}"
    degradation = rethaw.Pipeline(*load_text(text), "cpu").parts.degradation
    state, t = degradation.draw(x0, generators(1, 2)), expand(1.0, x0)
    y = degradation.degrade(x0, t, state)
    hidden = (degradation.degrade(-x0, t, state) - y).abs() < 1e-6
    shown = ((y - x0).abs() < 1e-6) & ~hidden
    assert hidden.flatten(1).any(1).all() and shown.flatten(1).any(1).all()
    for network in (Oracle(x0), Trivial()):
        results = walks(network, text, sampler, painted(y, hidden), state=state)
        clean = walks(network, text, sampler, [y], state=state)[0]
        assert all((each - clean).abs().max() < 1e-5 for each in results)
        assert torch.equal(results[0][shown], y[shown])
        if isinstance(network, Oracle):
            assert (clean - x0).abs().max() < 1e-5


@pytest.mark.parametrize("sampler", MEASURED)
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_nor_does_it_in_a_measurement(sampler: str, noise: float) -> None:
    x0 = images(2, dtype=torch.float32)
    text = (
        "degradation: core.gaussian_noise\nrestorer: {clip: false}\n"
        f"measurement: {{use: core.mask, shape: strokes, noise: {noise}}}"
    )
    degradation = rethaw.build("degradation", "core.mask", shape="strokes")
    state = degradation.draw(x0, generators(1, 2))
    hidden = state["mask"].expand_as(x0) == 1
    for network in (Oracle(x0), Trivial()):
        first, *others = walks(network, text, sampler, painted(x0, hidden), state=state)
        assert all((each - first).abs().max() < 1e-5 for each in others)
        assert noise or torch.equal(first[~hidden], x0[~hidden])


def test_what_is_half_hidden_is_left_alone() -> None:
    """At a low severity a hole still has something of the image in it, so it may not be repainted."""
    x0 = images(1, dtype=torch.float32)
    degradation = rethaw.build("degradation", "core.mask", shape="box")
    state = degradation.draw(x0, generators(1, 1))
    y = degradation.degrade(x0, expand(0.6, x0), state)
    found = walks(Oracle(x0), "degradation: {use: core.mask, shape: box}", "core.cold", [y], severity=0.6, state=state)
    assert (found[0] - x0).abs().max() < 1e-6
    off = walks(
        Oracle(x0), "degradation: {use: core.mask, shape: box}", "core.cold", [y + 0.1], severity=0.6, state=state
    )
    assert (off[0] - x0 - 0.1).abs().max() < 1e-6
