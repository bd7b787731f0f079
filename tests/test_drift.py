"""Why cold walks drift: where they end for gains A_t, in closed form (docs/experiments.md)."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

import rethaw
from rethaw.api import Prediction
from rethaw.config.model import Consistency, Precision
from rethaw.engine.restorer.consistency import consistent
from rethaw.ops import generators
from tests.worlds import images, liar

G = 0.01
FAINTEST = torch.tensor([0.9, 0.5, math.exp(-1), 0.1, 0.01], dtype=torch.float64)


class Gains:
    """Each pixel a frequency of its own: D(x, t) = A_t x with A_t = A_1^t."""

    linear, gaussian, name = True, False, "gains"

    def at(self, t: Tensor) -> Tensor:
        return FAINTEST ** t.view(-1, 1, 1, 1)

    def degrade(self, x0: Tensor, t: Tensor, state: Any) -> Tensor:
        return self.at(t) * x0

    def adjoint(self, y: Tensor, t: Tensor, state: Any) -> Tensor:
        return self.at(t) * y


def walk(restore: Any, steps: int, consistency: Consistency | None = None, noise: float = 0.0) -> tuple[Tensor, Any]:
    """The errors that cold sampling of an image ends with, one a gain, and its stations."""
    gains: Any = Gains()
    x0, one = images(1, 1, 1, 5), torch.ones(1, dtype=torch.float64)
    y, cold = gains.degrade(x0, one, {}) + noise, rethaw.build("sampler", "core.cold", steps=steps)
    estimate = lambda x, t: restore(x, t, x0)  # noqa: E731
    if consistency:
        estimate = consistent(estimate, gains, y, one, {}, None, consistency, Precision())
    stations = list(cold.trajectory(estimate, y, cold.severities(gains), gains, {}, generators(0, 1)))
    return (stations[-1].x - x0).flatten(), [(step.t, (step.x0_hat - x0).flatten()) for step in stations[:-1]]


def reading(β: float) -> Any:
    """A restorer with an error G of its own that takes so much of the error in x_t for truth."""
    return lambda x, t, x0: Prediction(x0 + β * (x / Gains().at(t) - x0) + G)


@pytest.mark.parametrize("steps", [1, 3, 20])
def test_a_walk_ends_with_the_mean_of_the_errors_weighted_by_what_each_step_gains(steps: int) -> None:
    end, errors = walk(lambda x, t, x0: liar(x, t), steps)
    gains = torch.cat([*(Gains().at(t).flatten(1) for t, _ in errors), torch.ones(1, 5)])
    mean = sum(dA * error for dA, (_, error) in zip(gains.diff(dim=0), errors, strict=True))
    assert (end - mean).abs().max() <= 1e-12
    assert end.abs().max() > 0.1


@pytest.mark.parametrize("steps", [1, 3, 10, 50, 1000])
def test_who_reads_x_t_as_exact_ends_with_g_log_of_the_gain_more_the_more_steps(steps: int) -> None:
    """N (1 - A_1^(1/N)) g after N steps, which goes to g log(1/A_1); the last estimate is wrong by g more."""
    end, errors = walk(reading(1.0), steps)
    assert (end - G * steps * (1 - FAINTEST ** (1 / steps))).abs().max() <= 1e-12
    apart = end - G * FAINTEST.log().neg()
    assert (apart < 0).all() and apart.abs().max() <= G * FAINTEST.log().square().max() / steps
    if steps == 1000:
        assert (errors[-1][1] / (G * (1 - FAINTEST.log())) - 1).abs().max() <= 0.01
        assert (end > G).tolist() == [False, False, False, True, True]


@pytest.mark.parametrize("β", [0.0, 0.5, 0.9])
def test_who_reads_a_part_as_exact_has_a_bounded_error(β: float) -> None:
    """As training on walked images teaches: g (1 - A_1^(1-β)) / (1-β), less than g / (1-β)."""
    end, _ = walk(reading(β), 2000)
    assert (end / (G * (1 - FAINTEST ** (1 - β)) / (1 - β)) - 1).abs().max() <= 0.01


@pytest.mark.long
def test_an_anchor_leaves_what_it_does_not_tell() -> None:
    """y leaves κ = λ / (A_1² + λ) of all errors; x_t, told better and better, keeps what the walk has put into it."""
    λ = 1e-2
    κ = λ / (FAINTEST.square() + λ)
    expected = {
        "observation": G * κ / (1 - κ) * (1 - FAINTEST ** (1 - κ)),
        "state": G / 2 * ((1 + λ / FAINTEST.square()) / (1 + λ)).log(),
    }
    for to, right in expected.items():
        end, _ = walk(reading(1.0), 2000, Consistency(to, λ))  # type: ignore[arg-type]
        assert (end / right - 1).abs().max() <= 0.01, to
        assert (end < G * FAINTEST.log().neg()).all(), "an anchor never adds"


@pytest.mark.long
def test_what_is_wrong_in_the_observation_is_amplified_by_an_anchor_at_x_t() -> None:
    """An error of y, such as rounding, ends 1/A_1 times as large, however small the weight; at y, by what λ allows."""
    noise, λ = 1e-3, 1e-2
    ends = {}
    for to in ("observation", "state"):
        how = Consistency(to, λ)  # type: ignore[arg-type]
        ends[to] = walk(reading(1.0), 2000, how, noise)[0] - walk(reading(1.0), 2000, how)[0]
    assert (ends["state"] / (noise / FAINTEST) - 1).abs().max() <= 0.01
    assert (ends["observation"] < ends["state"] * 1.001).all()
