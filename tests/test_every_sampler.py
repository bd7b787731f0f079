"""What holds for every registered sampler, whoever wrote it."""

from __future__ import annotations

import gc
import weakref
from dataclasses import fields
from typing import Any

import pytest
import torch
from torch import Tensor

import rethaw
from rethaw.api import Observation, Prediction
from rethaw.ops import expand, generators
from rethaw.registry import Registry
from tests.worlds import images

EIGHT_BIT = 2 / 255
NAMES = sorted(name for name in Registry().names("sampler") if name.startswith("core."))
SETTINGS: dict[str, list[dict[str, Any]]] = {
    "core.cold": [{"state": "fixed"}, {"state": "inferred"}, {"state": "drawn"}],
    "core.naive": [{"state": "fixed"}, {"state": "drawn"}],
    "core.ddpm": [{"variance": "small"}, {"variance": "large"}, {"variance": "learned"}],
    "core.ddim": [{"eta": 0.0}, {"eta": 0.7}],
    "core.edm": [{"solver": "heun"}, {"solver": "euler", "churn": 2.0}],
    "core.probability_flow": [{"solver": "euler"}, {"solver": "rk4"}, {"solver": "adaptive"}],
    "core.reverse_sde": [
        {"predictor": "euler_maruyama"},
        {"predictor": "reverse_diffusion"},
        {"predictor": "ancestral"},
    ],
    "core.flow": [{"solver": "euler"}, {"solver": "heun"}],
    "core.pigdm": [{"weight": "adaptive"}, {"weight": "score"}],
}
CASES = [(name, params) for name in NAMES for params in SETTINGS.get(name, [{}])]
EVERY = pytest.mark.parametrize("name, params", CASES, ids=lambda v: str(v))


def restore(x: Tensor, t: Tensor) -> Prediction:
    """A shrinking denoiser that knows nothing, with a variance."""
    at = t.view(-1, 1, 1, 1).to(x.dtype)
    return Prediction(torch.tanh(x * (1 - 0.6 * at) + 0.1 * at), torch.full_like(x, 0.4))


def built(name: str, params: dict[str, Any], steps: int = 5) -> Any:
    """The sampler, with so many steps where it lets one choose."""
    keys = {f.name for f in fields(Registry().find("sampler", name)[1].params)}
    return rethaw.build("sampler", name, **params, **({"steps": steps} if "steps" in keys else {}))


def setting(sampler: Any, x0: Tensor) -> tuple[Any, Tensor, Any, Observation | None]:
    """A degradation, x_1, a state and an observation that the sampler agrees to work with."""
    noise, blank = (
        rethaw.build("degradation", "core.gaussian_noise"),
        rethaw.build("degradation", "core.mask", shape="half"),
    )
    hidden = blank.draw(x0, generators(2, len(x0)))
    at = expand(0.7, x0)
    measured = Observation(blank.degrade(x0, at, hidden), blank, at, hidden, 0.01)
    state = noise.draw(x0, generators(1, len(x0)))
    x = noise.degrade(x0, expand(1.0, x0), state)
    check = getattr(sampler, "check", lambda *given: None)
    for known in (None, state):
        for observation in (None, measured):
            if check(noise, known, observation) is None:
                return noise, x, known, observation
    raise AssertionError(f"no setting in which this sampler works: {check(noise, state, measured)}")


def stations(sampler: Any, x0: Tensor, seed: int = 5) -> list[Any]:
    degradation, x, state, observation = setting(sampler, x0)
    severities = sampler.severities(degradation)
    return list(sampler.trajectory(restore, x, severities, degradation, state, generators(seed, len(x)), observation))


@pytest.mark.long
@EVERY
def test_an_image_does_not_depend_on_its_batch(name: str, params: dict[str, Any]) -> None:
    x0 = images(4, height=12, width=12, dtype=torch.float32)
    whole, part = stations(built(name, params), x0)[-1].x, stations(built(name, params), x0[:2])[-1].x
    assert torch.isfinite(whole).all()
    assert (whole[:2] - part).abs().max() <= EIGHT_BIT
    again = stations(built(name, params), x0)[-1].x
    assert torch.equal(whole, again)


@EVERY
def test_there_is_a_station_for_every_severity_and_the_last_is_the_image(name: str, params: dict[str, Any]) -> None:
    sampler, x0 = built(name, params), images(2, height=12, width=12, dtype=torch.float64)
    found = stations(sampler, x0)
    severities = sampler.severities(setting(sampler, x0)[0])
    assert len(found) == len(severities)
    assert all(step.t.shape == (2,) and step.x.dtype == x0.dtype and step.x.shape == x0.shape for step in found)
    assert [float(step.t[0]) for step in found] == pytest.approx(severities.tolist())
    assert torch.equal(found[-1].x, found[-1].x0_hat) and not found[-1].t.any()


@EVERY
def test_a_trajectory_keeps_no_station(name: str, params: dict[str, Any]) -> None:
    """Constant memory: of a walk of many steps only a few images are alive at any time."""
    sampler, x0 = built(name, params, 30), images(1, height=8, width=8)
    degradation, x, state, observation = setting(sampler, x0)
    severities = sampler.severities(degradation)
    refs, most = [], 0
    for step in sampler.trajectory(restore, x, severities, degradation, state, generators(5, 1), observation):
        refs.append(weakref.ref(step.x))
        del step
        gc.collect(0)
        most = max(most, sum(ref() is not None for ref in refs))
    assert most <= 4


@EVERY
def test_nothing_is_computed_before_it_is_asked_for(name: str, params: dict[str, Any]) -> None:
    calls: list[float] = []

    def counting(x: Tensor, t: Tensor) -> Prediction:
        calls.append(float(t[0]))
        return restore(x, t)

    sampler, x0 = built(name, params), images(1, height=8, width=8)
    degradation, x, state, observation = setting(sampler, x0)
    walk = sampler.trajectory(
        counting, x, sampler.severities(degradation), degradation, state, generators(5, 1), observation
    )
    assert not calls
    last, seen = len(sampler.severities(degradation)) - 1, 0
    for i, _ in enumerate(walk):
        assert i == last or len(calls) > seen
        seen = len(calls)
