"""Langevin, score SDEs and the probability flow, in worlds whose answer is known."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

import rethaw
from rethaw.api import Prediction, RethawError
from rethaw.ops import generators, per_image, rates, severity_rows
from tests.worlds import MixtureWorld, PointsWorld, images, with_network

PROCESSES: dict[str, dict[str, Any]] = {
    "vp": {},
    "vp-linear": {"alpha_bar": "linear"},
    "ve": {"process": "ve", "sigma_max": 20.0},
    "sub_vp": {"process": "sub_vp", "alpha_bar": "linear"},
    "flow": {"process": "flow"},
}
EACH = pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)


def noise(**params: Any) -> Any:
    return rethaw.build("degradation", "core.gaussian_noise", **params)


def sampler(name: str, **params: Any) -> Any:
    return rethaw.build("sampler", name, **params)


def walk(chosen: Any, restore: Any, x: Tensor, degradation: Any, severities: Tensor | None = None) -> list[Any]:
    severities = chosen.severities(degradation) if severities is None else severities
    return list(chosen.trajectory(restore, x, severities, degradation, {}, generators(0, len(x))))


# --- drift and diffusion -----------------------------------------------------------------------------------------

T = torch.tensor([0.05, 0.3, 0.62, 0.97], dtype=torch.float64)


def test_drift_and_diffusion_are_those_of_the_paper() -> None:
    """2011.13456, eq. 30 to 32, with β(t) = 0.1 + 19.9 t."""
    β, integral = 0.1 + 19.9 * T, 0.1 * T + 19.9 * T.square() / 2
    vp, sub, ve = (rates(noise(**p), T) for p in (PROCESSES["vp-linear"], PROCESSES["sub_vp"], PROCESSES["ve"]))
    assert torch.allclose(vp.drift(), -β / 2) and torch.allclose(vp.diffusion(), β)
    assert torch.allclose(sub.drift(), -β / 2)
    assert torch.allclose(sub.diffusion(), β * (1 - torch.exp(-2 * integral)))
    growth = math.log(20 / 0.02)
    assert torch.allclose(ve.drift(), torch.zeros(4, dtype=torch.float64))
    assert torch.allclose(ve.diffusion(), 2 * growth * 0.02**2 * torch.exp(2 * growth * T))


@pytest.mark.parametrize(
    "host",
    [
        {},
        {"schedule": "exponential"},
        {"schedule": "cosine", "span": [0.01, 1.0]},
        {"schedule": [[0, 0], [0.5, 0.2], [1, 1]]},
    ],
    ids=str,
)
@EACH
def test_rates_are_derivatives(process: dict[str, Any], host: dict[str, Any]) -> None:
    degradation, h = noise(**process, **host), 1e-5
    found = rates(degradation, T)
    ahead, behind = degradation.coefficients(T + h), degradation.coefficients(T - h)
    for mine, up, down in zip((found.dα, found.dσ), ahead, behind, strict=True):
        assert torch.allclose(mine, (up - down) / (2 * h), rtol=1e-5, atol=1e-7)


# --- the flow ----------------------------------------------------------------------------------------------------


@EACH
@pytest.mark.parametrize("solver, order", [("euler", 1), ("heun", 2), ("rk4", 4)])
def test_a_solver_reaches_the_exact_flow_at_its_order(solver: str, order: int, process: dict[str, Any]) -> None:
    world = MixtureWorld(noise(**process))
    begin, end = torch.tensor([0.8], dtype=torch.float64), torch.tensor([0.3], dtype=torch.float64)
    x0 = world.draw(1, 16)
    x = world.degradation.degrade(x0, begin, world.degradation.draw(x0, generators(0, 1)))
    exact, errors = world.carry(x, begin, end), []
    counts = (32, 64, 128)
    for count in counts:
        severities = torch.linspace(0.8, 0.3, count + 1, dtype=torch.float64)
        found = walk(sampler("core.probability_flow", solver=solver), world.restore, x, world.degradation, severities)
        errors.append(float((found[-1].x - exact).square().mean().sqrt()))
    slopes = [math.log2(a / b) for a, b in pairwise(errors)]
    assert all(abs(slope - order) <= 0.3 for slope in slopes), (errors, slopes)


@EACH
def test_the_adaptive_solver_keeps_its_tolerance_at_every_station(process: dict[str, Any]) -> None:
    world = MixtureWorld(noise(**process))
    severities = torch.linspace(0.8, 0.3, 4, dtype=torch.float64)
    x0 = world.draw(1, 8)
    x = world.degradation.degrade(x0, severities[:1], world.degradation.draw(x0, generators(0, 1)))
    for tolerance in (1e-4, 1e-8):
        chosen = sampler("core.probability_flow", solver="adaptive", rtol=tolerance, atol=tolerance)
        found = walk(chosen, world.restore, x, world.degradation, severities)
        assert len(found) == 4
        for s, station in zip(severities, found, strict=True):
            assert (station.x - world.carry(x, severities[:1], s[None])).abs().max() <= 30 * tolerance


# --- distributions -----------------------------------------------------------------------------------------------

STOCHASTIC: list[tuple[str, dict[str, Any]]] = [
    ("core.langevin", {"steps": 120, "repeats": 12}),  # coarser levels or steps shift weight to the smaller mode
    ("core.consistent_annealed", {"steps": 250}),
    ("core.reverse_sde", {"steps": 500}),
    ("core.reverse_sde", {"steps": 500, "predictor": "reverse_diffusion"}),
    ("core.reverse_sde", {"steps": 250, "predictor": "ancestral"}),
    ("core.predictor_corrector", {"steps": 200}),
    ("core.probability_flow", {"steps": 40}),
]


@pytest.mark.parametrize(
    "process",
    [pytest.param(PROCESSES[k], id=k, marks=() if k == "vp" else pytest.mark.long) for k in ("vp", "ve", "sub_vp")],
)
@pytest.mark.parametrize("name, params", STOCHASTIC, ids=lambda v: str(v))
def test_samples_have_the_distribution_of_the_data(name: str, params: dict[str, Any], process: dict[str, Any]) -> None:
    """2-D points of two Gaussians that lie askew: the weights, means and covariances of both, from x_1."""
    degradation = noise(**process)
    world = PointsWorld(degradation)
    x, _ = degradation.prior(torch.empty(1, 2, 64, 64, dtype=torch.float64), generators(7, 1))
    found = walk(sampler(name, **params), world.restore, x, degradation)[-1].x
    weights, means, covariances = world.measured(found)
    assert (weights - world.w).abs().max() <= 0.03  # 4096 points: three standard errors are 0.022
    assert (means - world.m).abs().max() <= 0.03
    assert (covariances - world.c).abs().max() <= 0.012


@pytest.mark.parametrize("process", [{"process": "ve", "sigma_max": 300.0}, {"process": "flow"}], ids=["ve", "flow"])
@pytest.mark.parametrize("spacing", ["uniform", "karras", "log_snr"])
@pytest.mark.parametrize("name", ["edm", "flow", "langevin", "consistent_annealed"])
def test_a_walk_begins_at_the_noise_that_there_is(name: str, spacing: str, process: dict[str, Any]) -> None:
    """x_1 of a process above σ/α = 80 is not taken for less, and α = 0 at t = 1 divides nothing by zero."""
    degradation, std, chosen = noise(**process), 0.5, sampler(f"core.{name}", steps=60, spacing=spacing)
    x, _ = degradation.prior(torch.empty(32, 1, 8, 8, dtype=torch.float64), generators(0, 32))

    def restore(x: Tensor, t: Tensor) -> Prediction:
        α, σ = (per_image(c, x) for c in degradation.coefficients(t))
        return Prediction(std**2 * α / (α**2 * std**2 + σ**2) * x)

    end = walk(chosen, restore, x, degradation, severity_rows(chosen.severities(degradation), x))[-1]
    assert 0.9 < float(end.x.std()) / std < 1.5  # Langevin's few steps leave it too wide


# --- what a sampler needs ----------------------------------------------------------------------------------------

NAMES = ["langevin", "consistent_annealed", "reverse_sde", "predictor_corrector", "probability_flow"]


class Counting(torch.nn.Module):
    calls = 0

    def forward(self, x: Tensor, t: Tensor, cond: Any) -> Tensor:
        self.calls += 1
        return x


def pipeline(degradation: str) -> tuple[Any, Counting]:
    from rethaw.config import load_text
    from rethaw.engine.restorer.network import Restorer

    made, network = rethaw.Pipeline(*load_text(f"degradation: {degradation}"), device="cpu"), Counting()
    with_network(made, Restorer(network), (3, 8, 8))
    return made, network


@pytest.mark.parametrize("name", NAMES)
def test_what_a_degradation_lacks_is_said_before_the_first_network_call(name: str) -> None:
    x = images(1, height=16, width=16, dtype=torch.float32)
    for degradation, reason in (
        ("kornia.gaussian_blur", "has no coefficients"),
        ("core.mask", "has no coefficients"),
        ("animals.animorphosis", "not Gaussian noise"),
        ("[core.desaturate, core.gaussian_noise]", "has no coefficients"),
    ):
        made, network = pipeline(degradation)
        with pytest.raises(RethawError, match=reason):
            next(made.trajectory(x, sampler=f"core.{name}"))
        assert network.calls == 0
    made, network = pipeline("{use: core.gaussian_noise, levels: 100}")
    if name in ("reverse_sde", "probability_flow"):
        with pytest.raises(RethawError, match="move in levels and have no derivative"):
            next(made.trajectory(x, sampler=f"core.{name}"))
        assert network.calls == 0
    else:
        next(made.trajectory(x, sampler=f"core.{name}"))
        assert network.calls > 0


def test_no_prior_to_start_from_is_said_before_the_first_network_call() -> None:
    made, network = pipeline("core.desaturate")
    with pytest.raises(RethawError, match="no distribution of x_1"):
        made.generate(2)
    assert network.calls == 0


def test_without_torchdiffeq_the_adaptive_solver_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "torchdiffeq", None)
    with pytest.raises(RethawError, match=r"pip install 'rethaw\[ode\]'"):
        sampler("core.probability_flow", solver="adaptive")
    sampler("core.probability_flow", solver="rk4")
