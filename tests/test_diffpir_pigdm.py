"""DiffPIR and ΠGDM: against their algorithms written out, a known posterior, deepinv, and what a measurement says."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

import rethaw
from rethaw.api import Observation, Prediction
from rethaw.ops import expand, generators, randn
from tests.gaussian import Without, World
from tests.test_measurement import MEASUREMENTS, observed
from tests.worlds import images, oracle

NOISE = rethaw.build("degradation", "core.gaussian_noise", alpha_bar="linear")  # α > 0 at t = 1: papers divide by it
SEVEN = torch.linspace(1, 0, 8, dtype=torch.float64)
EYE = torch.eye(6, dtype=torch.float64)


def sampled(name: str, restore: Any, x: Tensor, observation: Observation, rng: Any, **params: Any) -> Tensor:
    """What a sampler of 7 steps, or as many as params say, makes of x."""
    sampler = rethaw.build("sampler", name, **{"steps": 7, **params})
    assert sampler.check(NOISE, None, observation) is None
    *_, last = sampler.trajectory(restore, x, sampler.severities(NOISE), NOISE, None, rng, observation)
    return last.x


def gain(world: World, α: float, σ: float) -> Tensor:
    """∂x̂0/∂x_t of the optimal restorer."""
    return α * world.c @ torch.linalg.inv(α**2 * world.c + σ**2 * EYE)


def walked(world: World) -> Any:
    """(ᾱ_t, ᾱ_s, x̂0 of a flat x_t, ∂x̂0/∂x_t) of seven steps, in the papers' notation."""
    for t, s in itertools.pairwise(SEVEN):
        (α_t, σ_t), (α_s, _) = ([float(c) for c in NOISE.coefficients(v.view(1))] for v in (t, s))
        j = gain(world, α_t, σ_t)
        yield α_t**2, α_s**2, lambda x, j=j, α_t=α_t: world.μ + j @ (x - α_t * world.μ), j


def diffpir_by_hand(world: World, x: Tensor, λ: float, ζ: float, rng: Any) -> Tensor:
    """Algorithm 1 of 2305.08995, its data step by a dense solver."""
    a, r = world.a, world.y - world.measured.b
    for ᾱ_t, ᾱ_s, denoised, _ in walked(world):
        ρ = λ * world.σ_y**2 / ((1 - ᾱ_t) / ᾱ_t)
        x0 = torch.linalg.solve(a.T @ a + ρ * EYE, a.T @ r + ρ * denoised(x.flatten()))
        ε_hat = (x.flatten() - ᾱ_t**0.5 * x0) / (1 - ᾱ_t) ** 0.5
        ε = randn(x, rng).flatten()
        x = (ᾱ_s**0.5 * x0 + (1 - ᾱ_s) ** 0.5 * ((1 - ζ) ** 0.5 * ε_hat + ζ**0.5 * ε)).view_as(x)
    return x


def pigdm_by_hand(world: World, x: Tensor, η: float, score: bool, c: float, rng: Any) -> Tensor:
    """Algorithm 1 of ΠGDM, or the same step with the conditional score in x̂ and ε̂."""
    a, r = world.a, world.y - world.measured.b
    for ᾱ_t, ᾱ_s, denoised, j in walked(world):
        x_t, x0 = x.flatten(), denoised(x.flatten())
        r2 = c**2 * (1 - ᾱ_t) / (c**2 * ᾱ_t + 1 - ᾱ_t)
        log_p = j.T @ a.T @ torch.linalg.solve(r2 * a @ a.T + world.σ_y**2 * EYE, r - a @ x0)  # eq. 7
        c1 = η * ((1 - ᾱ_t / ᾱ_s) * (1 - ᾱ_s) / (1 - ᾱ_t)) ** 0.5
        c2 = (1 - ᾱ_s - c1**2) ** 0.5
        if score:
            x0 = x0 + (1 - ᾱ_t) / ᾱ_t**0.5 * log_p if ᾱ_t > 0 else x0
        ε_hat, ε = (x_t - ᾱ_t**0.5 * x0) / (1 - ᾱ_t) ** 0.5, randn(x, rng).flatten()
        x_s = ᾱ_s**0.5 * x0 + c1 * ε + c2 * ε_hat + (0 if score else ᾱ_t**0.5 * r2 * log_p)
        x = x_s.view_as(x)
    return x


@pytest.mark.parametrize("σ_y, λ, ζ", [(0.1, 1.0, 0.3), (0.3, 4.0, 1.0), (0.05, 0.5, 0.0)])
def test_diffpir_is_the_papers_algorithm_by_singular_values_and_by_conjugate_gradients(
    σ_y: float, λ: float, ζ: float
) -> None:
    world, x = World(σ_y), images(1, 1, 2, 3)
    expected = diffpir_by_hand(world, x, λ, ζ, generators(1, 1))
    for lacking in ((), ("svd",)):
        seen = world.observation(1)
        seen = seen._replace(degradation=Without(seen.degradation, *lacking))
        options = {"scale": λ, "zeta": ζ}
        found = sampled("core.diffpir", world.restore(NOISE), x, seen, generators(1, 1), **options)
        assert (found - expected).abs().max() <= 1e-8


@pytest.mark.parametrize("weight", ["adaptive", "score"])
@pytest.mark.parametrize("σ_y, η, c", [(0.1, 1.0, 1.0), (0.3, 0.0, 0.5)])
def test_pigdm_is_the_papers_algorithm(σ_y: float, η: float, c: float, weight: str) -> None:
    world, x = World(σ_y), images(1, 1, 2, 3)
    expected = pigdm_by_hand(world, x, η, weight == "score", c, generators(1, 1))
    for lacking in ((), ("svd",)):
        seen = world.observation(1)
        seen = seen._replace(degradation=Without(seen.degradation, *lacking))
        options: dict[str, Any] = {"eta": η, "spread": c, "weight": weight}
        found = sampled("core.pigdm", world.restore(NOISE), x, seen, generators(1, 1), **options)
        assert (found - expected).abs().max() <= 1e-8


def test_pigdm_draws_from_the_posterior_of_white_data() -> None:
    """Where its only assumption holds, p(x0 | x_t) = N(x̂0, r_t² I): mean and covariance, by the score's weight."""
    world = World(0.3)
    world.c = 0.5**2 * EYE
    rng, count = torch.Generator().manual_seed(0), 4000
    x = torch.randn(count, *world.shape, generator=rng, dtype=torch.float64)
    options: dict[str, Any] = {"steps": 200, "spread": 0.5, "weight": "score"}
    found = sampled("core.pigdm", world.restore(NOISE), x, world.observation(count), rng, **options).flatten(1)
    mean, cov = world.posterior()
    assert (found.mean(0) - mean).abs().max() <= 0.03 * 0.5  # the sampling error of 4000 is 0.016 of the deviation
    assert (torch.cov(found.T) - cov).abs().max() <= 0.1 * 0.25
    options["weight"] = "adaptive"
    biased = sampled("core.pigdm", world.restore(NOISE), x, world.observation(count), rng, **options).flatten(1)
    assert (biased.mean(0) - mean).abs().max() >= 0.1 * 0.5


def test_a_data_step_of_diffpir_is_the_posteriors_mean_of_white_data() -> None:
    """λ = 1 and a flat prior on top of x̂0 with an error of deviation σ̄_t: where α_t is 1, p(x0 | x_t, y) itself."""
    from rethaw.builtin.samplers.measured.diffpir import DiffPIR
    from rethaw.builtin.samplers.measured.params import DiffPIR as Params

    world, x0, σ = World(0.2), images(3, 1, 2, 3), 0.4
    one = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    step = DiffPIR(Params(zeta=0.0)).move(world.observation(3), x0)
    found = step(x0, x0, (one, σ * one), (one, 0 * one), generators(0, 3)).flatten(1)
    precision = EYE / σ**2 + world.a.T @ world.a / world.σ_y**2
    pull = x0.flatten(1) / σ**2 + (world.y - world.measured.b) @ world.a / world.σ_y**2
    assert (found - torch.linalg.solve(precision, pull.T).T).abs().max() <= 1e-9


@pytest.mark.parametrize("use, params", MEASUREMENTS, ids=str)
def test_diffpir_agrees_with_a_noiseless_measurement(use: str, params: dict[str, Any]) -> None:
    x0 = images(dtype=torch.float32)
    y, measured, t, state, _ = observation = observed(x0, use, **params)
    found = sampled("core.diffpir", oracle(0 * x0), randn(x0, generators(0, 3)), observation, generators(1, 3))
    assert (measured.degrade(found, t, state) - y).abs().max() <= 1e-5


@pytest.mark.parametrize("use", ["core.mask", "kornia.pixelate", "core.desaturate", "kornia.gaussian_blur"])
@pytest.mark.parametrize("name", ["core.diffpir", "core.pigdm"])
def test_the_image_of_a_perfect_restorer_is_what_comes_out(name: str, use: str) -> None:
    x0 = images()
    observation = observed(x0, use)
    start = randn(x0, generators(0, 3))
    found = sampled(name, lambda x, t: Prediction(x0 + 0 * x), start, observation, generators(1, 3))
    assert (found - x0).abs().max() <= 1e-8


@pytest.mark.parametrize("name", ["core.diffpir", "core.pigdm"])
def test_what_cannot_be_restored_from_is_told_by_name(name: str) -> None:
    sampler, dense = rethaw.build("sampler", name), World(0.1).observation(1)
    assert sampler.check(NOISE, None, dense) is None
    bare = Without(dense.degradation, "svd", "adjoint")
    assert "dense has no svd and no adjoint" in sampler.check(NOISE, None, dense._replace(degradation=bare))
    jpeg = rethaw.build("degradation", "kornia.jpeg")
    assert "kornia.jpeg is not linear" in sampler.check(NOISE, None, dense._replace(degradation=jpeg))
    assert "no measurement" in sampler.check(NOISE, None, None)
    assert "no coefficients" in sampler.check(rethaw.build("degradation", "kornia.gaussian_blur"), {}, dense)


@pytest.mark.long
def test_diffpir_walks_as_deepinvs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its 1,000 linear levels and its own stations, ζ = 0; its `lambda_` is twice λ, as it counts the noise of y on
    [0, 1], that of x_t on [-1, 1], and half the distance to y. Its conjugate gradients do not invert a blur."""
    pytest.importorskip("deepinv")
    from deepinv.optim.data_fidelity import L2
    from deepinv.sampling import DiffPIR

    from tests.test_deepinv import physics

    noise = rethaw.build("degradation", "core.gaussian_noise", alpha_bar="linear", levels=1000)
    pixels = rethaw.build("degradation", "kornia.pixelate", block_max=3)
    x0, σ_y = 0.8 * images(1, 3, 12, 12, dtype=torch.float32), 0.1
    y = pixels.degrade(x0, expand(1.0, x0), {}) + σ_y * randn(x0, generators(3, 1))
    denoise = lambda x, σ: torch.tanh(x / (1 + σ))  # noqa: E731

    theirs = DiffPIR(
        lambda x, σ: denoise(2 * x - 1, 2 * σ) / 2 + 0.5, L2(), sigma=σ_y / 2, max_iter=12, zeta=0.0, lambda_=7.0
    )
    start = randn(x0, generators(0, 1))
    monkeypatch.setattr(torch, "randn_like", lambda like: start)
    expected = 2 * theirs(y / 2 + 0.5, physics(pixels, x0, 1.0), x_init=torch.full_like(x0, 0.5)) - 1

    at = (1000 - theirs.seq.double()) / 1000
    α, σ = (c.float() for c in noise.coefficients(at))
    x = start * ((σ[0] / α[0]).square() - 4 * (σ_y / 2) ** 2).sqrt() * α[0]
    sampler = rethaw.build("sampler", "core.diffpir", scale=3.5, zeta=0.0)

    def restore(x: Tensor, t: Tensor) -> Prediction:
        α, σ = (c.float().view(-1, 1, 1, 1) for c in noise.coefficients(t.double()))
        return Prediction(denoise(x / α, σ / α))

    walk = list(
        sampler.trajectory(
            restore, x, at, noise, None, generators(1, 1), Observation(y, pixels, expand(1.0, x), {}, σ_y)
        )
    )
    assert (walk[-1].x - expected).abs().max() <= 1e-3
