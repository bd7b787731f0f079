"""Restoration from a measurement: DDRM, DDNM, DPS and RePaint, against their papers' formulas and known posteriors."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

import rethaw
from rethaw.api import Observation
from rethaw.ops import expand, generators, pseudo_inverse, randn, through_mask
from tests.bench.posterior import biases
from tests.gaussian import Dense, Without, World
from tests.worlds import images, liar, made, oracle

NOISE = rethaw.build("degradation", "core.gaussian_noise")
MEASUREMENTS: list[tuple[str, dict[str, Any]]] = [
    ("core.mask", {"shape": "box"}),
    ("core.mask", {"shape": "strokes"}),
    ("core.desaturate", {}),
    ("kornia.gaussian_blur", {"sigma_max": 1.5}),
    ("kornia.pixelate", {"block_max": 4}),
    ("kornia.downsample", {"steps": 2}),
]


def sampled(name: str, restore: Any, x: Any, observation: Any, rng: Any, **params: Any) -> list[Any]:
    sampler = rethaw.build("sampler", name, **params)
    assert sampler.check(NOISE, None, observation) is None
    return list(sampler.trajectory(restore, x, sampler.severities(NOISE), NOISE, None, rng, observation))


def observed(x0: Any, use: str, noise: float = 0.0, **params: Any) -> Observation:
    degradation = rethaw.build("degradation", use, **params)
    state, t = degradation.draw(x0, generators(3, len(x0))), expand(1.0, x0)
    y = degradation.degrade(x0, t, state)
    return Observation(y + noise * randn(y, generators(4, len(x0))), degradation, t, state, noise)


# --- the pseudo-inverse -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [1e-2, 1e-6])
def test_both_ways_to_the_pseudo_inverse_solve_the_normal_equations(weight: float) -> None:
    world, r, t = World(0.0), images(3, 1, 2, 3), torch.ones(3, dtype=torch.float64)
    a = world.a
    expected = torch.linalg.solve(a.T @ a + weight * torch.eye(6, dtype=a.dtype), a.T @ r.flatten(1).T).T.view_as(r)
    by_svd = pseudo_inverse(world.measured, r, t, {}, weight)(r)
    by_steps = pseudo_inverse(Without(world.measured, "svd"), r, t, {}, weight, iterations=8)(r)
    assert (by_svd - expected).abs().max() <= 1e-9 and (by_steps - expected).abs().max() <= 1e-7
    solved = pseudo_inverse(Without(world.measured, "svd"), r, t, {}, weight, iterations=60)(torch.zeros_like(r))
    assert not solved.any()  # an image that is solved stays as it is, without a division by zero


@pytest.mark.parametrize("use", ["kornia.pixelate", "imagenet_c.pixelate"])
def test_the_pseudo_inverse_of_pixelation_is_that_of_its_matrix(use: str) -> None:
    degradation, t = rethaw.build("degradation", use), torch.tensor([0.4, 0.73, 1.0], dtype=torch.float64)
    r = images(3, 1, 9, 14)
    pixels = torch.eye(9 * 14, dtype=r.dtype).view(-1, 1, 9, 14)
    found = pseudo_inverse(degradation, r, t, {}, 1e-3)(r)
    for image, its, u in zip(r, found, t, strict=True):
        a = degradation.degrade(pixels, expand(float(u), pixels), {})
        a = (a - degradation.degrade(0 * pixels[:1], expand(float(u), pixels[:1]), {})).flatten(1).T
        solved = torch.linalg.solve(a.T @ a + 1e-3 * torch.eye(len(a), dtype=a.dtype), a.T @ image.flatten())
        assert (its.flatten() - solved).abs().max() <= 1e-9


# --- DDRM ---------------------------------------------------------------------------------------------------------


def ddrm_by_hand(world: World, x: Any, restore: Any, steps: int, η: float, η_b: float, rng: Any) -> Any:
    """Eq. 7 and 8 of 2201.11793 word for word: x̄ = Vᵀ(x/α) in variance-exploding form, pixel by pixel."""
    u, s, vt = torch.linalg.svd(world.a)
    ts = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    ȳ = torch.where(s > 1e-12, (u.T @ (world.y - world.measured.b)) / s.clamp_min(1e-12), 0.0)
    for t, to in itertools.pairwise(ts):
        (α_t, σ_t), (α, σ) = ([float(c) for c in NOISE.coefficients(v.view(1))] for v in (t, to))
        x0 = vt @ restore(x, t.view(1)).x0.flatten()
        before, σ_t, σ_s = vt @ x.flatten() / α_t, σ_t / α_t, σ / α
        ε, x̄ = vt @ randn(x, rng).flatten(), torch.zeros(6, dtype=torch.float64)
        for i in range(6):
            if s[i] <= 1e-12:
                x̄[i] = x0[i] + (1 - η**2) ** 0.5 * σ_s * (before[i] - x0[i]) / σ_t + η * σ_s * ε[i]
            elif σ_s < world.σ_y / s[i]:
                x̄[i] = x0[i] + (1 - η**2) ** 0.5 * σ_s * (ȳ[i] - x0[i]) / (world.σ_y / s[i]) + η * σ_s * ε[i]
            else:
                std = max(σ_s**2 - (world.σ_y / s[i]) ** 2 * η_b**2, 0) ** 0.5
                x̄[i] = (1 - η_b) * x0[i] + η_b * ȳ[i] + std * ε[i]
        x = (vt.T @ x̄ * α).view_as(x)
    return x


@pytest.mark.parametrize("σ_y, η, η_b", [(0.0, 0.85, 1.0), (0.1, 0.85, 1.0), (0.3, 0.5, 0.7), (0.3, 1.0, 0.0)])
def test_ddrm_is_the_papers_equations(σ_y: float, η: float, η_b: float) -> None:
    world, x = World(σ_y), randn(torch.zeros(1, 1, 2, 3, dtype=torch.float64), generators(0, 1))
    restore = world.restore(NOISE)
    expected = ddrm_by_hand(world, x, restore, 7, η, η_b, generators(1, 1))
    found = sampled("core.ddrm", restore, x, world.observation(1), generators(1, 1), steps=7, eta=η, eta_b=η_b)
    assert (found[-1].x - expected).abs().max() <= 1e-8


@pytest.mark.parametrize("use", ["kornia.pixelate", "imagenet_c.pixelate"])
@pytest.mark.parametrize("t", [0.6, 1.0])
def test_ddrm_restores_from_pixelation(use: str, t: float) -> None:
    """What blocks show is taken from y, what they hide from the restorer."""
    x0, guess, degradation = images(2, 3, 13, 10), images(2, 3, 13, 10, seed=1), rethaw.build("degradation", use)
    at = expand(t, x0)
    y = degradation.degrade(x0, at, {})
    walk = sampled(
        "core.ddrm",
        oracle(guess),
        randn(x0, generators(0, 2)),
        Observation(y, degradation, at, {}),
        generators(1, 2),
        steps=4,
    )
    inverse = pseudo_inverse(degradation, x0, at, {}, 0.0)
    assert (walk[-1].x - guess - inverse(y - degradation.degrade(guess, at, {}))).abs().max() <= 1e-8
    assert (degradation.degrade(walk[-1].x, at, {}) - y).abs().max() <= 1e-8


# --- DDNM ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("use, params", MEASUREMENTS, ids=str)
def test_ddnm_agrees_with_a_noiseless_measurement_to_1e5_in_single_precision(use: str, params: dict[str, Any]) -> None:
    x0 = images(dtype=torch.float32)
    observation, start = observed(x0, use, **params), randn(x0, generators(0, 3))
    found = sampled("core.ddnm", liar, start, observation, generators(1, 3), steps=6)[-1].x
    y, measured, t, state, _ = observation
    assert found.dtype == torch.float32
    exact = (
        hasattr(measured, "svd") or use != "kornia.gaussian_blur"
    )  # by conjugate gradients a blur is far from inverted
    assert (measured.degrade(found, t, state) - y).abs().max() <= (1e-5 if exact else 0.02)


def test_ddnm_takes_the_null_space_from_the_restorer() -> None:
    world, guess = World(0.0), images(2, 1, 2, 3)
    found = sampled(
        "core.ddnm", oracle(guess), torch.zeros_like(guess), world.observation(2), generators(0, 2), steps=3
    )
    pinv = torch.linalg.pinv(world.a)
    flat = guess.flatten(1)
    expected = flat + (world.y - world.measured.b - flat @ world.a.T) @ pinv.T
    assert (found[-1].x.flatten(1) - expected).abs().max() <= 1e-9


@pytest.mark.parametrize("σ_y", [0.05, 0.5])
def test_noise_of_the_measurement_never_adds_to_the_noise_of_a_step(σ_y: float) -> None:
    """DDNM+ (2212.00490, section 3.3): the variance of x_s given x_t is (ησ_s)², however noisy the measurement."""
    from rethaw.builtin.samplers.measured.ddnm import DDNM
    from rethaw.builtin.samplers.measured.params import DDNM as Params

    world, count = World(σ_y), 40_000
    α, std = (torch.full((1, 1, 1, 1), v, dtype=torch.float64) for v in (0.8, 0.3))
    rng = torch.Generator().manual_seed(0)
    observation = world.observation(count)
    like = observation.y
    noisy = observation._replace(y=like + σ_y * torch.randn(like.shape, generator=rng, dtype=torch.float64))
    x0, fresh = DDNM(Params()).noisy(noisy, like)(
        torch.zeros_like(like), torch.randn(like.shape, generator=rng, dtype=like.dtype), α, std
    )
    cov = torch.cov((α * x0 + fresh).flatten(1).T)
    assert (cov - 0.3**2 * torch.eye(6)).abs().max() <= 0.02 * 0.3**2 * 3


# --- DPS ----------------------------------------------------------------------------------------------------------


def test_the_pull_of_dps_is_the_gradient_through_the_restorer() -> None:
    """Closed form in a Gaussian world: x̂0 = m + G x_t, so ∇|y - A x̂0| = -GᵀAᵀ r / |r|."""
    from rethaw.builtin.samplers.measured.dps import DPS
    from rethaw.builtin.samplers.measured.params import DPS as Params

    world, x, t = World(0.1), images(3, 1, 2, 3), torch.full((3,), 0.4, dtype=torch.float64)
    α, σ = (c[0] for c in NOISE.coefficients(t[:1]))
    gain = α * world.c @ torch.linalg.inv(α**2 * world.c + σ**2 * torch.eye(6, dtype=torch.float64))
    observation = world.observation(3)
    with torch.no_grad():
        x0_hat, pull = DPS(Params()).gradient(world.restore(NOISE), x, t, observation)
    r = (observation.y - world.measured.degrade(x0_hat, t, {})).flatten(1)
    expected = -(r / r.norm(dim=1, keepdim=True)) @ world.a @ gain
    assert (pull.flatten(1) - expected).abs().max() <= 1e-10
    assert not x0_hat.requires_grad and not pull.requires_grad


# --- RePaint ------------------------------------------------------------------------------------------------------


def test_repaint_keeps_the_known_pixels_and_walks_stretches_again() -> None:
    from rethaw.builtin.samplers.measured.params import RePaint as Params
    from rethaw.builtin.samplers.measured.repaint import RePaint

    x0 = images()
    observation = observed(x0, "core.mask", shape="box")
    found = sampled(
        "core.repaint", liar, randn(x0, generators(0, 3)), observation, generators(1, 3), steps=6, jump=3, resamples=2
    )
    hidden = observation.state["mask"].bool().expand_as(x0)
    assert torch.where(hidden, 0.0, found[-1].x - x0).abs().max() <= 1e-12
    assert (found[-1].x - x0)[hidden].abs().max() > 0.05
    assert RePaint(Params(steps=5, jump=2, resamples=2)).stations() == [5, 4, 3, 5, 4, 3, 2, 1, 3, 2, 1, 0, 1, 0]
    assert [round(6 * float(s.t[0])) for s in found] == [6, 5, 4, 3, 6, 5, 4, 3, 2, 1, 0, 3, 2, 1, 0]


def test_resampling_brings_repaint_nearer_to_the_conditional() -> None:
    """One pixel of a correlated pair is hidden: walking stretches again brings its mean and variance nearer."""
    world = World(0.0)
    world.a = torch.diag(torch.tensor([1, 1, 1, 1, 1, 0], dtype=torch.float64))
    world.measured = Dense(world.a, torch.zeros(6, dtype=torch.float64))
    world.y = world.a @ (world.μ + torch.linalg.cholesky(world.c) @ torch.ones(6, dtype=torch.float64))
    rng, count = torch.Generator().manual_seed(0), 1500
    x = torch.randn(count, *world.shape, generator=rng, dtype=torch.float64)
    bias = []
    for resamples in (1, 8):
        options = {"steps": 40, "jump": 5, "resamples": resamples}
        walk = sampled("core.repaint", world.restore(NOISE), x, world.observation(count), rng, **options)
        bias.append(world.bias(walk[-1].x))
    assert bias[1][0] < 0.6 * bias[0][0] and abs(bias[1][1] - 1) < abs(bias[0][1] - 1), bias


# --- how far from the posterior -----------------------------------------------------------------------------------


@pytest.mark.parametrize("σ_y", [0.1, 0.5])
def test_the_posterior_is_that_of_its_information_form(σ_y: float) -> None:
    world = World(σ_y)
    mean, cov = world.posterior()
    precision = torch.linalg.inv(world.c) + world.a.T @ world.a / σ_y**2
    expected = torch.linalg.inv(precision)
    pull = torch.linalg.inv(world.c) @ world.μ + world.a.T @ (world.y - world.measured.b) / σ_y**2
    assert (cov - expected).abs().max() <= 1e-6 and (mean - expected @ pull).abs().max() <= 1e-4
    vals, vecs = torch.linalg.eigh(expected)
    z = torch.randn(20_000, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    off, ratio = world.bias((mean + z * vals.clamp_min(0).sqrt() @ vecs.T).view(-1, 1, 2, 3))
    assert off < 0.02 and abs(ratio - 1) < 0.03


@pytest.mark.parametrize(
    "name, σ_y, off, low, high",
    [
        ("core.ddrm", 0.0, 0.6, 0.7, 1.0),
        ("core.ddrm", 0.1, 0.3, 0.4, 0.8),
        ("core.ddnm", 0.0, 0.3, 0.6, 1.0),
        ("core.ddnm", 0.1, 0.4, 0.2, 0.6),
        ("core.dps", 0.1, 0.6, 0.7, 1.3),
        ("core.diffpir", 0.0, 0.5, 0.9, 1.3),
        ("core.diffpir", 0.1, 0.3, 0.8, 1.1),
        ("core.pigdm", 0.0, 0.5, 0.6, 1.0),
        ("core.pigdm", 0.1, 0.6, 0.3, 0.7),
    ],
)
def test_the_bias_is_as_documented(name: str, σ_y: float, off: float, low: float, high: float) -> None:
    found = biases(name, {}, σ_y, 1000)
    assert found[0] < off and low < found[1] < high, found


@pytest.mark.parametrize("name", ["core.ddrm", "core.ddnm", "core.diffpir", "core.pigdm", "core.dps", "core.repaint"])
def test_an_image_depends_on_its_own_generator_alone(name: str) -> None:
    x0 = images()
    observation, x = observed(x0, "core.mask", shape="box"), randn(x0, generators(0, 3))
    options: dict[str, Any] = {"steps": 4}
    many = sampled(name, liar, x, observation, generators(1, 3), **options)[-1].x
    for i in range(3):
        y, measured, t, state, _ = observation
        own = Observation(y[i : i + 1], measured, t[i : i + 1], {k: v[i : i + 1] for k, v in state.items()})
        one = sampled(name, liar, x[i : i + 1], own, generators(1, 1, i), **options)[-1].x
        assert (many[i] - one[0]).abs().max() <= 1e-9


def test_samplers_say_what_they_lack_before_any_network_call() -> None:
    observation = observed(images(), "kornia.gaussian_blur")
    blur, dense = observation.degradation, World(0.1).observation(1)
    ddrm, ddnm, dps, repaint = (rethaw.build("sampler", f"core.{n}") for n in ("ddrm", "ddnm", "dps", "repaint"))
    lacking = dense._replace(degradation=Without(dense.degradation, "svd"))
    for sampler in (ddrm, ddnm, dps, repaint):
        assert "no coefficients" in sampler.check(blur, {}, observation)
        assert "no measurement" in sampler.check(NOISE, None, None)
    assert "dense has no svd" in ddrm.check(NOISE, None, lacking)
    assert "no svd, which a noisy one must have" in ddnm.check(NOISE, None, lacking)
    assert ddnm.check(NOISE, None, lacking._replace(noise=0.0)) is None
    assert "eta must be above 0" in rethaw.build("sampler", "core.ddnm", eta=0.0).check(NOISE, None, dense)
    bare = Without(dense.degradation, "svd", "adjoint")
    assert "no svd and no adjoint" in ddnm.check(NOISE, None, dense._replace(degradation=bare, noise=0.0))
    assert dps.check(NOISE, None, dense._replace(degradation=bare)) is None
    assert "is not a mask" in repaint.check(NOISE, None, observation)


# --- what a mask shows --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(3, 9, 7), (1, 64, 64), (3, 200, 300)], ids=str)
def test_what_a_mask_shows_is_told_for_any_degradation(size: tuple[int, int, int]) -> None:
    """Against the masks themselves: the pixels whose value any image keeps, of masks alone and in compositions."""
    channels, height, width = size
    x0 = images(2, channels, height, width, dtype=torch.float32)

    def shown(text: str, at: float = 1.0) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        degradation = made(("", text))
        state, t = degradation.draw(x0, generators(5, 2)), expand(at, x0)
        y = degradation.degrade(x0, t, state)
        repaired, found = through_mask(degradation, y, t, state)
        assert (repaired - y).abs().max() <= 1e-6
        for colour in (-1.0, 0.0, 1.0):  # whatever is painted where nothing is left, y comes out
            lost = degradation.degrade(x0, t, state) == degradation.degrade(-x0, t, state)
            painted = through_mask(degradation, torch.where(lost, colour, y), t, state)[0]
            assert (painted - y).abs().max() <= 1e-6 or not found.any()
        changed = [(degradation.degrade(x, t, state) - x).abs() for x in (x0, -x0, x0.flip(-1))]
        assert not found[torch.stack(changed).amax(0) > 0.01].any()
        return found, state

    for text in ("core.mask", "{use: core.mask, shape: strokes}", "{use: core.mask, shape: half, levels: 3}"):
        found, state = shown(text)
        assert torch.equal(found, state["mask"].expand_as(x0) == 0)
    found, state = shown("[{use: core.mask, id: a}, {use: core.mask, id: b, span: [0, 0.5]}]", 0.4)
    assert torch.equal(found, (state["a.mask"] + state["b.mask"]).expand_as(x0) == 0)
    assert shown("core.identity")[0].all() and shown("core.mask", 0.0)[0].all()
    bumps, _ = shown("{use: core.cumulative_mask, kernel_std: 1.0, initial: 1, steps: 4, colour: [0.5]}")
    assert not bumps[..., height // 2, width // 2].any()
    nothing = ["core.gaussian_noise", "{use: core.gaussian_noise, process: ve}", "core.poisson_noise", "core.fade"]
    nothing += ["kornia.gaussian_blur", "[core.mask, kornia.gaussian_blur]"]
    assert not any(shown(text)[0].any() for text in nothing)


def test_repaint_refuses_a_blur_at_any_size() -> None:
    """A probe that is a ramp is the same after a blur, but for the borders."""
    repaint = rethaw.build("sampler", "core.repaint")
    for side in (16, 700):
        observation = observed(images(1, 1, side, side, dtype=torch.float32), "kornia.gaussian_blur", sigma_max=1.0)
        assert "is not a mask" in repaint.check(NOISE, None, observation)
