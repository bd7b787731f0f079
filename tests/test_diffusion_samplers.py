"""DDPM, DDIM, EDM, DPM-Solver++ and flow: published sums, diffusers step by step, and worlds whose answer is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

import rethaw
from rethaw.api import Prediction, RethawError
from rethaw.ops import expand, generators, severity_at
from tests.worlds import MixtureWorld, images, liar, made, with_network

pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # of diffusers with numpy 2

VP, VE, FLOW = {}, {"process": "ve", "sigma_max": 20.0}, {"process": "flow"}
PROCESSES = [VP, VE, FLOW]
LINEAR = {"alpha_bar": "linear", "levels": 1000}


def noise(**params: Any) -> Any:
    return rethaw.build("degradation", "core.gaussian_noise", **params)


def sampler(name: str, **params: Any) -> Any:
    return rethaw.build("sampler", name, **params)


def walk(
    chosen: Any, restore: Any, x: Tensor, degradation: Any, severities: Tensor | None = None, rng: Any = None
) -> list[Any]:
    severities = chosen.severities(degradation) if severities is None else severities
    return list(chosen.trajectory(restore, x, severities, degradation, {}, rng or generators(0, len(x))))


def levels(timesteps: Tensor) -> Tensor:
    """The severities of a diffusers schedule: timestep i is level i + 1 of 1000; then 0."""
    return torch.cat([(timesteps.double() + 1) / 1000, torch.zeros(1, dtype=torch.float64)])


# --- the sums that diffusers' own tests publish ----------------------------------------------------------------


def dummy_sample() -> Tensor:
    count = 4 * 3 * 8 * 8
    return (torch.arange(count).reshape(3, 8, 8, 4) / count).permute(3, 0, 1, 2).contiguous()


def dummy_model(x: Tensor, timestep: Tensor) -> Tensor:
    return x * timestep / (timestep + 1)


def dummy_restore(degradation: Any) -> Callable[[Tensor, Tensor], Prediction]:
    """The dummy model as the eps that it stands for there, clipped as their schedulers are."""

    def restore(x: Tensor, t: Tensor) -> Prediction:
        α, σ = (c.view(-1, 1, 1, 1) for c in degradation.coefficients(t))
        ε = dummy_model(x, (t * 1000).round().view(-1, 1, 1, 1) - 1)
        return Prediction(((x - σ * ε) / α).clamp(-1, 1))

    return restore


def test_the_published_sum_of_ddim() -> None:
    degradation = noise(**LINEAR)
    leading = levels(torch.arange(900, -1, -100))
    stations = walk(sampler("core.ddim"), dummy_restore(degradation), dummy_sample(), degradation, leading)
    assert stations[-1].x.abs().sum().item() == pytest.approx(172.0067, abs=1e-2)


def test_the_published_sum_of_ddpm() -> None:
    degradation, rng = noise(**LINEAR), torch.Generator().manual_seed(0)
    ddpm = sampler("core.ddpm", steps=1000)
    stations = walk(ddpm, dummy_restore(degradation), dummy_sample(), degradation, rng=rng)
    assert stations[-1].x.abs().sum().item() == pytest.approx(258.9606, abs=1e-2)


def test_the_published_sum_of_edm_euler() -> None:
    degradation, σ_data = noise(process="ve", sigma_min=0.002, sigma_max=80.0), 0.5

    def restore(x: Tensor, t: Tensor) -> Prediction:
        σ = degradation.coefficients(t)[1].view(-1, 1, 1, 1)
        r = torch.hypot(σ, torch.tensor(σ_data))
        out = dummy_model(x / r, σ.log() / 4)
        return Prediction((σ_data / r).square() * x + σ * σ_data / r * out)

    x = dummy_sample() * math.hypot(80, 1)
    stations = walk(sampler("core.edm", steps=10, solver="euler"), restore, x, degradation)
    assert stations[-1].x.abs().sum().item() == pytest.approx(34.1855, abs=1e-3)


# --- diffusers' schedulers, step by step -----------------------------------------------------------------------


def random_model(seed: int) -> Callable[[Tensor, Tensor], Tensor]:
    """A smooth function of the image and t in [0, 1], of order one: an x0 that is always wrong."""
    a, b, c = torch.rand(3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).tolist()
    return lambda x, t: 0.8 * torch.tanh((1 + a) * x + (2 * b - 1) * x.flip(-1) + c * t)


def against(
    scheduler: Any, chosen: Any, degradation: Any, seed: int, steps: int, calls: Callable[..., dict[str, Any]]
) -> None:
    """Both walk from the same x with the same model and noise; every station agrees to 1e-4.

    calls: what else the scheduler's step takes, given the generator.
    """
    model = random_model(seed)
    scheduler.set_timesteps(steps)
    scale = getattr(scheduler, "init_noise_sigma", 1.0)  # of schedulers that hold x/α, so that σ/α is their noise level
    first, *_ = degradation.coefficients((scheduler.timesteps[:1].double() + 1) / 1000)
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(seed + 100), dtype=torch.float64)
    theirs, rng, expected = x if scale == 1 else x / first, torch.Generator().manual_seed(seed), []
    for i, timestep in enumerate(scheduler.timesteps):
        seen = theirs if scale == 1 else scheduler.scale_model_input(theirs, timestep)
        if timestep not in scheduler.timesteps[i + 1 :]:
            expected.append(seen)  # an earlier call at this severity is the end of Heun's step, not yet a station
        out = model(seen, (timestep + 1) / 1000)
        theirs = scheduler.step(out, timestep, theirs, **calls(rng)).prev_sample
    mine = walk(
        chosen,
        lambda x, t: Prediction(model(x, t.view(-1, 1, 1, 1))),
        x,
        degradation,
        levels(torch.unique_consecutive(scheduler.timesteps)),
        torch.Generator().manual_seed(seed),
    )
    assert len(mine) == steps + 1
    assert all((station.x - x_t).abs().max() <= 1e-4 for station, x_t in zip(mine, [*expected, theirs], strict=False))
    assert (mine[-1].x - theirs).abs().max() <= 1e-4


COMMON: dict[str, Any] = {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02, "prediction_type": "sample"}
SEEDS = pytest.mark.parametrize("seed", range(3))


@SEEDS
@pytest.mark.parametrize("variance", ["small", "large"])
def test_ddpm_steps_as_in_diffusers(variance: str, seed: int) -> None:
    from diffusers import DDPMScheduler

    scheduler = DDPMScheduler(**COMMON, clip_sample=False, variance_type=f"fixed_{variance}")
    chosen = sampler("core.ddpm", variance=variance)
    against(scheduler, chosen, noise(**LINEAR), seed, 40, lambda rng: {"generator": rng})


@SEEDS
@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_ddim_steps_as_in_diffusers(eta: float, seed: int) -> None:
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(**COMMON, clip_sample=False, timestep_spacing="trailing")
    calls = lambda rng: {"generator": rng, "eta": eta}  # noqa: E731
    against(scheduler, sampler("core.ddim", eta=eta), noise(**LINEAR), seed, 25, calls)


@SEEDS
def test_dpm_solver_steps_as_in_diffusers(seed: int) -> None:
    from diffusers import DPMSolverMultistepScheduler

    scheduler = DPMSolverMultistepScheduler(**COMMON, timestep_spacing="trailing", final_sigmas_type="zero")
    against(scheduler, sampler("core.dpm_solver"), noise(**LINEAR), seed, 20, lambda rng: {})


@SEEDS
@pytest.mark.parametrize("solver", ["euler", "heun"])
def test_edm_steps_as_in_diffusers(solver: str, seed: int) -> None:
    from diffusers import EulerDiscreteScheduler, HeunDiscreteScheduler

    kind = {"euler": EulerDiscreteScheduler, "heun": HeunDiscreteScheduler}[solver]
    scheduler = kind(**COMMON, timestep_spacing="trailing")
    against(scheduler, sampler("core.edm", solver=solver), noise(**LINEAR), seed, 20, lambda rng: {})


@SEEDS
def test_learned_variance_is_that_of_diffusers(seed: int) -> None:
    from diffusers import DDPMScheduler

    scheduler = DDPMScheduler(**COMMON, clip_sample=False, variance_type="learned_range")
    scheduler.set_timesteps(40)
    model, degradation = random_model(seed), noise(**LINEAR)
    x = theirs = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    rng = torch.Generator().manual_seed(seed)
    for timestep in scheduler.timesteps:
        out = torch.cat([model(theirs, (timestep + 1) / 1000), model(theirs, 0.3).flip(-2)], 1)
        theirs = scheduler.step(out, timestep, theirs, generator=rng).prev_sample

    def restore(x: Tensor, t: Tensor) -> Prediction:
        return Prediction(model(x, t.view(-1, 1, 1, 1)), (model(x, torch.tensor(0.3)).flip(-2) + 1) / 2)

    chosen = sampler("core.ddpm", variance="learned")
    mine = walk(chosen, restore, x, degradation, levels(scheduler.timesteps), torch.Generator().manual_seed(seed))
    assert (mine[-1].x - theirs).abs().max() <= 1e-4
    with pytest.raises(RethawError, match=r"variance: learned needs a restorer"):
        walk(chosen, liar, x, degradation)


@pytest.mark.parametrize("keys", [{}, {"levels": 40}, {"span": [0.2, 1.0]}], ids=str)
@pytest.mark.parametrize("process", [{}, {"process": "ve"}, {"process": "sub_vp"}, {"process": "flow"}], ids=str)
def test_a_learned_variance_lies_between_the_bounds(process: dict[str, Any], keys: dict[str, Any]) -> None:
    """Networks give v outside [0, 1] on some values, which is the nearer bound; and the last step has no variance."""
    degradation, x0 = noise(**process, **keys), images(2, height=8, width=8, dtype=torch.float32)
    x, _ = degradation.prior(x0, generators(1, 2))
    wide = torch.linspace(-300, 300, x0[0].numel()).view_as(x0[:1]).expand_as(x0)

    def drawn(variance: str, v: Tensor) -> Tensor:
        chosen = sampler("core.ddpm", variance=variance, steps=6)
        stations = walk(chosen, lambda x, t: Prediction(liar(x, t).x0, v), x, degradation)
        assert all(torch.isfinite(station.x).all() for station in stations)
        return stations[-1].x

    assert (drawn("learned", wide) - drawn("learned", wide.clamp(0, 1))).abs().max() == 0
    for variance, v in (("small", -0.3), ("small", 0.0), ("large", 1.0), ("large", 40.0)):
        assert torch.allclose(drawn("learned", torch.full_like(x0, v)), drawn(variance, wide), atol=1e-5)


def test_edm_steps_with_noise_as_in_diffusers() -> None:
    """Churn: γ, σ̂ and the noise that reaches it, with the Euler step that diffusers has for it."""
    from diffusers import EDMEulerScheduler

    scheduler = EDMEulerScheduler(sigma_min=0.01, sigma_max=20.0, sigma_data=0.5)
    scheduler.set_timesteps(12)
    degradation, model = noise(process="ve", sigma_min=0.01, sigma_max=50.0), random_model(0)
    x = theirs = 20 * torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    churn = {"s_churn": 4.0, "s_noise": 1.003}
    rng = torch.Generator().manual_seed(5)
    for timestep in scheduler.timesteps:
        seen = scheduler.scale_model_input(theirs, timestep)
        out = model(seen * 0, timestep * 0)  # a constant: diffusers does not show the network the noise it adds
        theirs = scheduler.step(out, timestep, theirs, generator=rng, **churn).prev_sample

    def restore(x: Tensor, t: Tensor) -> Prediction:
        σ = degradation.coefficients(t)[1].view(-1, 1, 1, 1)
        r = torch.hypot(σ, torch.tensor(0.5))
        return Prediction((0.5 / r).square() * x + σ * 0.5 / r * model(x * 0, torch.tensor(0.0)))

    chosen = sampler("core.edm", solver="euler", steps=12, sigma_min=0.01, sigma_max=20.0, churn=4.0, churn_noise=1.003)
    start = severity_at(degradation, torch.tensor([20.0], dtype=torch.float64)).item()
    severities = chosen.severities(degradation, start)
    mine = walk(chosen, restore, x, degradation, severities, rng=torch.Generator().manual_seed(5))
    assert (mine[-1].x - theirs).abs().max() <= 1e-4


# --- worlds whose answer is known ------------------------------------------------------------------------------

ODES: list[tuple[str, dict[str, Any], int]] = [
    ("core.ddim", {}, 1),
    ("core.flow", {"solver": "euler"}, 1),
    ("core.edm", {"solver": "euler"}, 1),
    ("core.flow", {"solver": "heun"}, 2),
    ("core.edm", {}, 2),
    ("core.dpm_solver", {}, 2),
]


@pytest.mark.parametrize("process", PROCESSES, ids=["vp", "ve", "flow"])
@pytest.mark.parametrize("name, params, order", ODES, ids=lambda v: str(v))
def test_a_solver_reaches_the_exact_flow_at_its_order(
    name: str, params: dict[str, Any], order: int, process: dict[str, Any]
) -> None:
    world = MixtureWorld(noise(**process))
    begin, end = torch.tensor([0.8], dtype=torch.float64), torch.tensor([0.3], dtype=torch.float64)
    x = world.degradation.degrade(world.draw(1, 16), begin, world.degradation.draw(world.draw(1, 16), generators(0, 1)))
    exact, errors, counts = world.carry(x, begin, end), [], [32, 64, 128]
    for count in counts:
        severities = torch.linspace(0.8, 0.3, count + 1, dtype=torch.float64)
        found = walk(sampler(name, **params), world.restore, x, world.degradation, severities)[-1].x
        errors.append(float((found - exact).square().mean().sqrt()))
    slopes = [math.log2(a / b) for a, b in pairwise(errors)]
    assert all(abs(slope - order) <= 0.3 for slope in slopes), (errors, slopes)


STOCHASTIC: list[tuple[str, dict[str, Any]]] = [
    ("core.ddpm", {"steps": 150}),
    ("core.ddpm", {"steps": 300, "variance": "large"}),
    ("core.ddim", {"steps": 150, "eta": 1.0}),
    ("core.ddim", {"steps": 100, "eta": 0.4}),
    ("core.edm", {"steps": 40, "churn": 10.0}),
    ("core.ddpm", {"steps": 150, "spacing": "log_snr"}),
]


@pytest.mark.parametrize("process", PROCESSES, ids=["vp", "ve", "flow"])
@pytest.mark.parametrize(
    "name, params", [*STOCHASTIC, *[(n, p | {"steps": 60}) for n, p, _ in ODES[3:]]], ids=lambda v: str(v)
)
def test_samples_have_the_moments_of_the_data(name: str, params: dict[str, Any], process: dict[str, Any]) -> None:
    degradation = noise(**process)
    world = MixtureWorld(degradation)
    x, _ = degradation.prior(torch.empty(1, 1, 128, 128, dtype=torch.float64), generators(7, 1))
    found = walk(sampler(name, **params), world.restore, x, degradation)[-1].x
    mean, std = world.moments()
    assert float(found.mean()) == pytest.approx(mean, abs=0.02)
    assert float(found.std()) == pytest.approx(std, rel=0.02)
    upper = found[found > 0]
    assert len(upper) / found.numel() == pytest.approx(0.6 * 0.97725, abs=0.02)  # the part of N(0.5, 0.25²) above 0
    assert float(upper.mean()) == pytest.approx(0.5138, abs=0.02)


@pytest.mark.parametrize("process", PROCESSES, ids=["vp", "ve", "flow"])
def test_inversion_then_ddim_gives_the_image_back(process: dict[str, Any]) -> None:
    world, ddim = MixtureWorld(noise(**process)), sampler("core.ddim")
    x0, apart = world.draw(1, 24), []
    for count in (50, 200):
        down = torch.linspace(1, 0, count + 1, dtype=torch.float64)
        up = list(ddim.encode(world.restore, x0, down.flip(0), world.degradation))
        assert len(up) == count + 1 and float(up[0].t[0]) == 0 and float(up[-1].t[0]) == 1
        back = walk(ddim, world.restore, up[-1].x, world.degradation, down)[-1].x
        apart.append(float((back - x0).square().mean().sqrt()))
    assert apart[1] < 0.4 * apart[0] and apart[1] < 0.02


def test_an_encoded_image_looks_like_noise() -> None:
    world, ddim = MixtureWorld(noise()), sampler("core.ddim")
    up = torch.linspace(0, 1, 301, dtype=torch.float64)
    *_, last = ddim.encode(world.restore, world.draw(1, 64), up, world.degradation)
    assert float(last.x.mean()) == pytest.approx(0, abs=0.05) and float(last.x.std()) == pytest.approx(1, abs=0.03)


# --- severities ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("process", PROCESSES, ids=["vp", "ve", "flow"])
def test_spacings_are_what_they_say(process: dict[str, Any]) -> None:
    degradation = noise(**process)

    def levels_of(chosen: Any, start: float = 1.0) -> Tensor:
        t = chosen.severities(degradation, start)
        assert len(t) == 11 and t[-1] == 0 and bool((t.diff() < 0).all()) and t[0] <= start
        α, σ = degradation.coefficients(t[:-1])
        return σ / α

    ramp = torch.linspace(0, 1, 10, dtype=torch.float64)
    top = min(
        80.0, float(degradation.coefficients(torch.ones(1, dtype=torch.float64))[1]) if "ve" in str(process) else 80
    )
    karras = (top ** (1 / 7) + ramp * (0.002 ** (1 / 7) - top ** (1 / 7))) ** 7
    assert torch.allclose(levels_of(sampler("core.edm", steps=10)), karras, rtol=1e-6)
    log = levels_of(sampler("core.dpm_solver", steps=10)).log()
    assert torch.allclose(log.diff(), log.diff()[:1].expand(9), rtol=1e-6)
    assert sampler("core.edm", steps=10).severities(degradation, 0.5)[0] == 0.5


@pytest.mark.parametrize("process", PROCESSES, ids=["vp", "ve", "flow"])
@pytest.mark.parametrize("name", ["core.ddpm", "core.ddim", "core.edm", "core.dpm_solver", "core.flow"])
@pytest.mark.parametrize("spacing", ["uniform", "karras", "log_snr"])
def test_every_spacing_serves_every_sampler_in_single_precision(
    spacing: str, name: str, process: dict[str, Any]
) -> None:
    degradation, x0 = noise(**process), images(2, height=8, width=8, dtype=torch.float32)
    x, _ = degradation.prior(x0, generators(1, 2))
    found = walk(sampler(name, steps=8, spacing=spacing), lambda x, t: Prediction(x0), x, degradation)
    assert all(torch.isfinite(step.x).all() for step in found)
    assert (found[-1].x - x0).abs().max() <= 1e-4


def test_spacings_on_levels_stop_at_levels() -> None:
    degradation = noise(**LINEAR)
    for chosen in (sampler("core.edm"), sampler("core.dpm_solver"), sampler("core.ddim", spacing="log_snr")):
        t = chosen.severities(degradation)
        assert ((t * 1000) - (t * 1000).round()).abs().max() <= 1e-9 and bool((t.diff() <= 0).all())


def test_a_noise_level_is_found_again() -> None:
    σ = torch.tensor([[80.0, 3.0], [0.5, 0.002]], dtype=torch.float64)
    for params in (
        VP,
        FLOW,
        {"process": "ve"},
        {"alpha_bar": "sigmoid"},
        {"schedule": "exponential", "span": [0.1, 1.0]},
    ):
        degradation = noise(**params)
        α, found = degradation.coefficients(severity_at(degradation, σ).flatten())
        assert torch.allclose(found / α, σ.flatten(), rtol=1e-6)


# --- what a sampler needs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["core.ddpm", "core.ddim", "core.edm", "core.dpm_solver", "core.flow"])
def test_what_a_degradation_lacks_is_said_before_the_first_network_call(name: str) -> None:
    from rethaw.config import load_text

    for text in ("kornia.gaussian_blur", "core.mask", "[core.desaturate, core.gaussian_noise]"):
        pipeline = with_network(rethaw.Pipeline(*load_text(f"degradation: {text}"), device="cpu"))
        with pytest.raises(RethawError, match="it has no coefficients: it is not of the form α x0"):
            next(pipeline.trajectory(images(1, height=16, width=16, dtype=torch.float32), sampler=name))


def test_noise_is_added_only_to_gaussian_noise() -> None:
    faces, x = made(("animals.animorphosis", {})), images(2, height=16, width=16)
    for name, params in (("core.ddpm", {}), ("core.ddim", {"eta": 0.5}), ("core.edm", {"churn": 1.0})):
        assert sampler(name, **params).check(faces, None) == "its z is not Gaussian noise"
    for name in ("core.ddim", "core.edm", "core.dpm_solver", "core.flow"):
        chosen = sampler(name, steps=6)
        assert chosen.check(faces, None) is None
        state = faces.draw(x, generators(0, 2))
        x_1 = faces.degrade(x, expand(1.0, x), state)
        oracle = walk(chosen, lambda x_t, t: Prediction(x), x_1, faces)
        assert (oracle[-1].x - x).abs().max() <= 1e-6


@pytest.mark.parametrize(
    "keys", [{}, {"span": [0.25, 0.9]}, {"levels": 7}, {"schedule": [[0, 0], [0.3, 0.4], [0.6, 0.4], [1, 1]]}], ids=str
)
@pytest.mark.parametrize("process", PROCESSES, ids=["vp", "ve", "flow"])
def test_ddim_is_cold_sampling_with_inferred_noise(process: dict[str, Any], keys: dict[str, Any]) -> None:
    x, degradation = images(seed=3), noise(**process, **keys)
    cold = walk(sampler("core.cold", state="inferred", steps=10), liar, x, degradation)
    ddim = walk(sampler("core.ddim", steps=10), liar, x, degradation)
    flow = walk(sampler("core.flow", steps=10, solver="euler"), liar, x, degradation)
    for other in (ddim, flow):
        assert max((a.x - b.x).abs().max() for a, b in zip(cold, other, strict=True)) <= 1e-9


class Shrinking(torch.nn.Module):
    """The best x0 of standard normal values, for vp: α x."""

    def forward(self, x: Tensor, t: Tensor, cond: Any) -> Tensor:
        return x * noise().coefficients(t)[0].view(-1, 1, 1, 1)


@pytest.mark.long
def test_a_pipeline_encodes_an_image_and_gives_it_back() -> None:
    from rethaw.config import load_text
    from rethaw.engine.restorer.network import Restorer

    pipeline = rethaw.Pipeline(*load_text("degradation: core.gaussian_noise\nrestorer: {clip: false}"), device="cpu")
    with_network(pipeline, Restorer(Shrinking()))
    x0 = images(2, height=8, width=8, dtype=torch.float32)
    x_1 = pipeline.encode(x0, steps=100)
    assert (x_1 - x0).abs().max() <= 0.03  # the flow of a standard normal is the identity for vp
    assert (pipeline.restore(x_1, sampler="core.ddim", steps=100) - x0).abs().max() <= 0.03
    blur = with_network(rethaw.Pipeline(*load_text("degradation: kornia.gaussian_blur"), device="cpu"))
    with pytest.raises(RethawError, match=r"DDIM inversion cannot encode for kornia\.gaussian_blur: it has no coeff"):
        blur.encode(x0)
