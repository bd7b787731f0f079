"""Where σ is 0, or stands still, on a part of a walk: every sampler, process, host keys and start, under an oracle."""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

import rethaw
from rethaw.api import Observation, Prediction
from rethaw.engine.sampling.checks import all_severities
from rethaw.ops import expand, generators, severity_rows
from rethaw.registry import Registry
from tests.test_every_sampler import CASES
from tests.worlds import images

PROCESSES: dict[str, dict[str, Any]] = {
    "vp": {},
    "vp-linear": {"alpha_bar": "linear"},
    "vp-sigmoid": {"alpha_bar": "sigmoid"},
    "ve": {"process": "ve", "sigma_max": 20.0},
    "sub_vp": {"process": "sub_vp", "alpha_bar": "linear"},
    "flow": {"process": "flow"},
}
KEYS: dict[str, dict[str, Any]] = {
    "late": {"span": [0.2, 1.0]},
    "early": {"span": [0.0, 0.8]},
    "inner": {"span": [0.3, 0.7]},
    "flat start": {"schedule": [[0, 0], [0.3, 0], [1, 1]]},
    "plateau": {"schedule": [[0, 0], [0.3, 0.5], [0.6, 0.5], [1, 1]]},
    "flat end": {"schedule": [[0, 0], [0.6, 1], [1, 1]]},
    "levels": {"levels": 10},
    "few levels, late": {"levels": 4, "span": [0.3, 1.0]},
    "exponential, late": {"schedule": "exponential", "span": [0.25, 1.0]},
}
FIRST = ("late", "flat start", "plateau", "few levels, late")
STARTS = torch.tensor([1.0, 0.55, 0.1], dtype=torch.float64)
MORE: dict[str, list[dict[str, Any]]] = {
    "core.edm": [{"churn": 5.0, "spacing": "uniform"}],
    "core.langevin": [{"step_size": 1.0, "spacing": "uniform"}],
    "core.predictor_corrector": [{"predictor": "ancestral"}, {"predictor": "euler_maruyama"}],
    "core.ddim": [{"spacing": "karras"}, {"eta": 1.0, "spacing": "log_snr"}],
    "core.dpm_solver": [{"spacing": "uniform"}],
    "core.flow": [{"spacing": "karras"}],
    "core.probability_flow": [{"solver": "heun", "spacing": "uniform"}],
}
DRAWN = ("core.cold", {"state": "drawn"})  # it keeps what the drawn noise and the true one differ by
SAMPLERS = [case for case in CASES if "adaptive" not in case[1].values() and case != DRAWN]
SAMPLERS += [(name, params) for name, many in MORE.items() for params in many]


@cache
def noise(process: str, keys: str) -> Any:
    return rethaw.build("degradation", "core.gaussian_noise", **PROCESSES[process], **KEYS[keys])


def built(name: str, params: dict[str, Any], steps: int) -> Any:
    keys = {f.name for f in fields(Registry().find("sampler", name)[1].params)}
    return rethaw.build("sampler", name, **params, **({"steps": steps} if "steps" in keys else {}))


def walk(sampler: Any, degradation: Any, x0: Tensor, start: Any, observation: Any, seed: int = 0) -> list[Any]:
    """As the engine walks: from x0 degraded to the start, the degradation prepared along the severities."""
    state = degradation.draw(x0, generators(seed + 1, len(x0)))
    x = degradation.degrade(x0, expand(start, x0), state)
    severities = severity_rows(all_severities(sampler, "sampler", degradation, start), x)
    kept = None if sampler.check(degradation, None, observation) is None else state

    def oracle(x_t: Tensor, t: Tensor) -> Prediction:
        assert torch.isfinite(x_t).all()
        return Prediction(x0 + 0 * x_t, torch.full_like(x_t, 1.7))  # x_t enters, so that gradients exist

    prepared, rng = degradation.along(severities), generators(seed + 2, len(x0))
    return list(sampler.trajectory(oracle, x, severities, prepared, kept, rng, observation))


def measured(x0: Tensor) -> Observation:
    mask = rethaw.build("degradation", "core.mask", shape="box")
    state, t = mask.draw(x0, generators(2, len(x0))), expand(1.0, x0)
    return Observation(mask.degrade(x0, t, state), mask, t, state)


def returned(sampler: Any, process: str, keys: str, start: Any = STARTS) -> None:
    """The oracle's image comes out, and all before is finite; or the sampler refuses levels."""
    x0, degradation = images(height=6, width=6, dtype=torch.float32), noise(process, keys)
    observation = measured(x0) if getattr(sampler, "measures", False) else None
    refused = sampler.check(degradation, None, observation)
    if refused and "derivative" in refused:
        assert "levels" in KEYS[keys]
        return
    found = walk(sampler, degradation, x0, start, observation)
    assert all(torch.isfinite(step.x).all() for step in found), (process, keys)
    assert (found[-1].x - x0).abs().max() <= 1e-4, (process, keys)


@pytest.mark.parametrize("keys", [k if k in FIRST else pytest.param(k, marks=pytest.mark.long) for k in KEYS])
@pytest.mark.parametrize("name, params", SAMPLERS, ids=lambda v: str(v))
def test_a_perfect_restorers_image_is_what_comes_out(name: str, params: dict[str, Any], keys: str) -> None:
    for process in PROCESSES:
        returned(built(name, params, 7), process, keys)


@pytest.mark.parametrize("start", [1.0, 0.25, 0.1])
def test_so_it_does_where_all_images_start_alike(start: float) -> None:
    for name, params in SAMPLERS:
        returned(built(name, params, 4), "vp", "late", start)


@pytest.mark.parametrize("process, keys", [("vp", "late"), ("flow", "plateau"), ("ve", "flat start")])
def test_so_it_does_by_an_adaptive_solver(process: str, keys: str) -> None:
    sampler = rethaw.build("sampler", "core.probability_flow", steps=4, solver="adaptive", rtol=1e-2, atol=1e-2)
    returned(sampler, process, keys)


ON_THE_GRID: list[dict[str, Any]] = [
    {"span": [0.2, 1.0]},
    {"span": [0.4, 0.6]},
    {"span": [0.3, 1.0]},
    {"schedule": [[0, 0], [0.3, 0], [1, 1]]},
    {"schedule": [[0, 0], [0.2, 0], [0.8, 1], [1, 1]]},
]


@pytest.mark.parametrize("keys", ON_THE_GRID, ids=str)
@pytest.mark.parametrize("start", [0.5, 0.6, 0.9, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_step_that_ends_where_the_noise_begins_ends_without_any(keys: Any, start: float, dtype: torch.dtype) -> None:
    """Severities are rounded: a step to 0.2 ends beside it, and what is there must not be taken for noise."""
    degradation = rethaw.build("degradation", "core.gaussian_noise", **keys)
    begin = keys["span"][0] if "span" in keys else keys["schedule"][1][0]
    for steps in range(2, 11):
        times = (start * torch.linspace(1, 0, steps + 1, dtype=torch.float64)).to(dtype)
        α, σ = degradation.coefficients(times)
        assert (σ[times < begin + 1e-7] == 0).all() and (α[times < begin + 1e-7] == 1).all(), (steps, times)
        assert (σ[times > begin + 1e-3] > 0).all()


@pytest.mark.parametrize("name, params", SAMPLERS, ids=lambda v: str(v))
def test_a_perfect_restorer_of_noise_keeps_what_a_step_to_that_place_gives(name: str, params: dict[str, Any]) -> None:
    """Where σ is 0 a restorer of noise gives x_t itself: what a step leaves there stays in the image."""
    degradation, sampler = rethaw.build("degradation", "core.gaussian_noise", span=[0.2, 1.0]), built(name, params, 5)
    if (
        getattr(sampler, "measures", False) or name == "core.langevin"
    ):  # it steps on where its severities are, with noise
        return
    x0 = images(height=6, width=6, dtype=torch.float32)
    state = degradation.draw(x0, generators(1, len(x0)))
    x, severities = (
        degradation.degrade(x0, expand(0.5, x0), state),
        severity_rows(all_severities(sampler, name, degradation, 0.5), x0),
    )

    def by_noise(x_t: Tensor, t: Tensor) -> Prediction:
        σ = degradation.coefficients(t)[1].view(-1, 1, 1, 1)
        return Prediction(torch.where(σ > 0, x0, x_t), torch.full_like(x_t, 0.5))

    kept = None if sampler.check(degradation, None, None) is None else state
    found = list(
        sampler.trajectory(by_noise, x, severities, degradation.along(severities), kept, generators(2, len(x0)))
    )
    assert (found[-1].x - x0).abs().max() <= 1e-4
