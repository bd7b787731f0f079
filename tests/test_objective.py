"""What networks may predict, and what training minimises: against their definitions, at every severity."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

import rethaw
from rethaw.api import Prediction, RethawError
from rethaw.config import load_text
from rethaw.config.model import RestorerConfig, Train
from rethaw.config.yaml import ConfigError
from rethaw.engine.restorer.parameterization import READINGS, Parameterization
from rethaw.engine.training.objective import Objective, nll
from rethaw.ops import generators, posterior, severity_rows
from tests.helpers import photos, recipe
from tests.worlds import hosted, images, made

NOISES: list[str] = [
    "{use: core.gaussian_noise}",
    "{use: core.gaussian_noise, process: ve, sigma_max: 20}",
    "{use: core.gaussian_noise, process: flow}",
    "[{use: core.gaussian_noise, alpha_bar: linear, levels: 100, id: hot}]",
    "{use: animals.animorphosis}",
]
TYPES = ["x0", "residual", *READINGS]
T = torch.tensor([0.0, 0.02, 0.3, 0.7, 0.98, 1.0], dtype=torch.float64)


def degradation_of(text: str) -> Any:
    return hosted(f"degradation: {text}")


def degraded(text: str) -> tuple[Any, Tensor, Tensor, Any]:
    """The degradation, clean images, their degraded versions at T, and the state."""
    degradation, x0 = degradation_of(text), images(len(T), height=16, width=16)
    state = degradation.draw(x0, generators(3, len(T)))
    return degradation, x0, degradation.degrade(x0, T, state), state


def pairs() -> list[tuple[str, str]]:
    return [(text, kind) for text in NOISES for kind in TYPES if (kind, text) != ("score", NOISES[-1])]


@pytest.mark.parametrize("text, kind", pairs())
def test_the_right_output_is_read_as_the_clean_image(text: str, kind: str) -> None:
    degradation, x0, x_t, state = degraded(text)
    reading = Parameterization(RestorerConfig(prediction=kind), degradation)  # type: ignore[arg-type]
    target = reading.target(x0, x_t, T, state)
    assert target.abs().max() < (100 if kind == "residual" else 7)  # of order one, but for σ z of ve in the residual
    told = degradation.coefficients(T)[0] > 1e-3 if kind in ("eps", "score") else T >= 0  # below, x_t holds no x0
    apart = (reading.read(target, x_t, T).x0 - x0).abs().flatten(1).amax(1)
    assert apart[told].max() <= 1e-9 and torch.isfinite(apart).all()
    seen, when = reading.inputs(x_t, T)
    assert torch.isfinite(seen).all() and torch.isfinite(when).all() and when.shape == T.shape


@pytest.mark.parametrize("kind", TYPES)
def test_a_reading_of_a_walk_is_the_reading_itself(kind: str) -> None:
    degradation, x0, x_t, _ = degraded(NOISES[0])
    settings = RestorerConfig(prediction=kind)  # type: ignore[arg-type]
    rows = severity_rows(torch.stack([T, T / 2]), x0)
    there, here = Parameterization(settings, degradation.along(rows)), Parameterization(settings, degradation)
    assert (there.rows is None) == (kind in ("x0", "residual"))
    for t in rows:
        assert (there.read(x0, x_t, t).x0 - here.read(x0, x_t, t).x0).abs().max() <= 1e-9
        for mine, theirs in zip(there.inputs(x_t, t), here.inputs(x_t, t), strict=True):
            assert (mine - theirs).abs().max() <= 1e-9


def test_v_is_that_of_its_paper_and_flow_is_the_velocity() -> None:
    degradation, x0, x_t, state = degraded(NOISES[0])
    α, σ = (c.view(-1, 1, 1, 1) for c in degradation.coefficients(T))
    v = Parameterization(RestorerConfig(prediction="v"), degradation)
    assert torch.allclose(v.target(x0, x_t, T, state), α * state["z"] - σ * x0)
    out = torch.randn_like(x0)
    assert torch.allclose(v.read(out, x_t, T).x0, α * x_t - σ * out)
    degradation, x0, x_t, state = degraded(NOISES[2])
    h = 1e-6
    velocity = (
        degradation.degrade(x0, T.clamp_max(0.9) + h, state) - degradation.degrade(x0, T.clamp_max(0.9), state)
    ) / h
    target = Parameterization(RestorerConfig(prediction="flow"), degradation).target(x0, x_t, T, state)
    assert (velocity - target).abs().max() <= 1e-7


def test_edm_is_the_preconditioning_of_its_paper() -> None:
    degradation, _, x_t, _ = degraded(NOISES[1])
    t = torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9, 1.0], dtype=torch.float64)
    reading, σ_data = Parameterization(RestorerConfig(prediction="edm", sigma_data=0.4), degradation), 0.4
    σ = degradation.coefficients(t)[1].view(-1, 1, 1, 1)
    F = torch.randn_like(x_t)
    c_skip, c_out = σ_data**2 / (σ**2 + σ_data**2), σ * σ_data / (σ**2 + σ_data**2).sqrt()
    assert torch.allclose(reading.read(F, x_t, t).x0, c_skip * x_t + c_out * F)
    seen, when = reading.inputs(x_t, t)
    assert torch.allclose(seen, x_t / (σ**2 + σ_data**2).sqrt())
    assert torch.allclose(when, σ.flatten().log() / 4)


@pytest.mark.parametrize(
    "key, text, words",
    [
        ("prediction: eps", "core.mask", "prediction: eps does not go with core.mask: it has no coefficients"),
        ("prediction: edm", "kornia.gaussian_blur", "no coefficients"),
        ("prediction: score", "animals.animorphosis", "z is not Gaussian"),
        ("variance: learned", "animals.animorphosis", "z is not Gaussian"),
    ],
)
def test_what_a_degradation_cannot_give_is_refused_when_the_pipeline_is_built(key: str, text: str, words: str) -> None:
    with pytest.raises(RethawError, match=words.replace(".", r"\.")):
        rethaw.Pipeline(*load_text(f"degradation: {text}\nrestorer: {{{key}}}"), device="cpu")


def test_a_sampler_with_learned_variance_needs_a_restorer_that_learns_it() -> None:
    text = "degradation: core.gaussian_noise\nsampler: {use: core.ddpm, variance: learned}\n"
    with pytest.raises(ConfigError, match="needs a restorer that learns it"):
        load_text(text)
    load_text(text + "restorer: {variance: learned}")


# --- losses and weightings ---------------------------------------------------------------------------------------


def objective(degradation: Any, kind: str = "x0", variance: Any = "fixed", **train: Any) -> Objective:
    return Objective(Train(**train), Parameterization(RestorerConfig(prediction=kind, variance=variance), degradation))  # type: ignore[arg-type]


PAPERS = {
    "snr": lambda snr: snr,
    "min_snr": lambda snr: torch.minimum(snr, torch.tensor(5.0)),
    "p2": lambda snr: snr / (1 + snr),
}
"""The weight of the squared error of x̂0: eps-loss (2006.11239), min-SNR-5 (2303.09556), P2, k = γ = 1 (2204.00227)."""


@pytest.mark.parametrize("weighting", list(PAPERS))
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("text", NOISES[:3])
def test_a_weighting_means_the_same_for_every_prediction_type(text: str, kind: str, weighting: str) -> None:
    degradation, x0, x_t, state = degraded(text)
    inner = slice(1, 5) if "ve" not in text else slice(2, 6)  # where neither α nor σ is at its floor
    t = T[inner]
    x0, x_t, state = x0[inner], x_t[inner], {"z": state["z"][inner]}
    loss = objective(degradation, kind, loss="l2", weighting=weighting)
    out = torch.randn(x0.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    α, σ = degradation.coefficients(t)
    x0_hat = loss.parameterization.read(out, x_t, t).x0
    expected = (PAPERS[weighting]((α / σ).square()) * (x0_hat - x0).square().flatten(1).mean(1)).mean()
    assert float(loss(out, x0, x_t, t, state)) == pytest.approx(float(expected), rel=1e-9)
    root = objective(degradation, kind, loss="l1", weighting=weighting)
    expected = (PAPERS[weighting]((α / σ).square()).sqrt() * (x0_hat - x0).abs().flatten(1).mean(1)).mean()
    assert float(root(out, x0, x_t, t, state)) == pytest.approx(float(expected), rel=1e-9)


@pytest.mark.parametrize("weighting", ["uniform", *PAPERS])
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("text", NOISES[:3])
def test_losses_and_gradients_are_finite_at_both_ends(text: str, kind: str, weighting: str) -> None:
    degradation, x0, x_t, state = degraded(text)
    for t in (torch.zeros_like(T), torch.full_like(T, 1e-6), torch.ones_like(T)):
        x_t = degradation.degrade(x0, t, state)
        for loss in ("l1", "l2", "huber"):
            out = torch.randn_like(x0).requires_grad_()
            value = objective(degradation, kind, loss=loss, weighting=weighting)(out, x0, x_t, t, state)
            value.backward()
            assert torch.isfinite(value) and torch.isfinite(out.grad).all()  # type: ignore[arg-type]


def test_the_known_weights_of_eps_and_v() -> None:
    """min-SNR: min(SNR, γ)/SNR for eps and min(SNR, γ)/(SNR + 1) for v (2303.09556, section 3.4); snr for eps: none."""
    degradation = degradation_of(NOISES[0])
    t = torch.linspace(0.05, 0.95, 7, dtype=torch.float64)
    α, σ = degradation.coefficients(t)
    snr = (α / σ).square()
    like = torch.zeros(7, 1, 1, 1, dtype=torch.float64)
    for kind, expected in (("eps", snr.clamp_max(5) / snr), ("v", snr.clamp_max(5) / (snr + 1))):
        weight = objective(degradation, kind, loss="l2", weighting="min_snr").weight(t, like)
        assert weight is not None and torch.allclose(weight.flatten(), expected)
    weight = objective(degradation, "eps", loss="l2", weighting="snr").weight(t, like)
    assert weight is not None and torch.allclose(weight.flatten(), torch.ones_like(t))


def test_without_coefficients_only_uniform_weighting() -> None:
    mask = made(("core.mask", {}))
    with pytest.raises(RethawError, match=r"train\.weighting: min_snr does not go with core\.mask"):
        objective(mask, weighting="min_snr")
    with pytest.raises(RethawError, match=r"train\.severities: log_normal does not go with core\.mask"):
        objective(mask, severities="log_normal")
    with pytest.raises(RethawError, match="discrete needs levels"):
        objective(mask, severities="discrete")


# --- learned variance ----------------------------------------------------------------------------------------------


def test_the_bound_is_the_kl_divergence_of_the_posteriors() -> None:
    degradation = degradation_of("{use: core.gaussian_noise, alpha_bar: linear, levels: 100}")
    x0 = images(3, height=8, width=8)
    t, s = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64), torch.tensor([0.19, 0.49, 0.89], dtype=torch.float64)
    state = degradation.draw(x0, generators(0, 3))
    x_t = degradation.degrade(x0, t, state)
    loss = objective(degradation, "eps", "learned", vlb=0.01, loss="l2")
    out = torch.randn(3, 6, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    found = loss.parameterization.read(out, x_t, t)
    assert found.log_var is not None
    at = [c.view(-1, 1, 1, 1) for pair in (degradation.coefficients(t), degradation.coefficients(s)) for c in pair]
    a, b, small, large = posterior(*at)
    place = found.log_var.clamp(0, 1)
    log_var = place * large.log() + (1 - place) * small.log()
    true, model = Normal(a * x_t + b * x0, small.sqrt()), Normal(a * x_t + b * found.x0, (log_var / 2).exp())
    expected = 0.01 * 100 * kl_divergence(true, model).mean() / math.log(2)
    bound = loss.bound(found, x0, t)
    assert float(bound) == pytest.approx(float(expected), rel=1e-8)
    (grad,) = torch.autograd.grad(bound, out, retain_graph=True)
    assert not grad[:, :3].any() and grad[:, 3:].abs().min() > 0  # stop-gradient into the mean
    simple = (out[:, :3] - state["z"]).square().mean()
    assert float(loss(out, x0, x_t, t, state)) == pytest.approx(float(simple + bound), rel=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("text", ["{use: core.gaussian_noise}", "{use: core.gaussian_noise, process: ve, levels: 30}"])
def test_a_variance_far_outside_its_bounds_is_led_back(text: str, dtype: torch.dtype) -> None:
    loss = objective(degradation_of(text), "eps", "learned")
    x0, t = images(3, height=6, width=6, dtype=dtype), torch.tensor([0.0, 0.05, 0.6], dtype=dtype)
    for far in (3.0, 1e3, 1e6):
        for side, bound in ((far, 1.0), (-far, 0.0)):
            place = torch.full_like(x0, side).requires_grad_()
            value = loss.bound(Prediction(x0, place), x0, t)
            assert float(value) == pytest.approx(float(loss.bound(Prediction(x0, torch.full_like(x0, bound)), x0, t)))
            (grad,) = torch.autograd.grad(value, place)
            assert torch.isfinite(grad).all()
            if side > 0:  # an exact estimate wants the smallest variance
                assert (grad[1:] > 0).all()


def test_the_last_term_of_the_bound_is_the_likelihood_of_eight_bits() -> None:
    mean, log_var = torch.tensor([0.1, -0.99, 0.3]), torch.tensor([-4.0, -9.0, -12.0])
    grid = torch.arange(256) / 127.5 - 1
    mass = torch.exp(-nll(grid[:, None], mean, log_var).double()).sum(0)
    assert torch.allclose(mass, torch.ones(3, dtype=torch.float64), atol=1e-4)
    degradation = degradation_of(NOISES[0])
    x0, t = images(2, height=8, width=8), torch.tensor([0.0, 5e-4], dtype=torch.float64)
    loss = objective(degradation, "v", "learned")
    bound = loss.bound(loss.parameterization.read(torch.zeros(2, 6, 8, 8, dtype=torch.float64), x0, t), x0, t)
    assert torch.isfinite(bound)


# --- severities ------------------------------------------------------------------------------------------------------


def drawn(count: int, start: int = 0, text: str = NOISES[0], **train: Any) -> Tensor:
    positions = list(range(start, start + count))
    rngs = [torch.Generator().manual_seed(p) for p in positions]
    return objective(degradation_of(text), **train).severities(torch.zeros(count, 1, 1, 1), positions, rngs)


@pytest.mark.parametrize("kind", ["uniform", "stratified", "heavy", "log_normal", "discrete"])
def test_a_severity_is_a_function_of_its_position(kind: str) -> None:
    text = "{use: core.gaussian_noise, levels: 50}"
    whole = drawn(16, text=text, severities=kind, batch_size=8)
    assert whole.dtype == torch.float32 and bool(((whole >= 0) & (whole <= 1)).all())
    parts = torch.cat([drawn(3, start, text, severities=kind, batch_size=8) for start in (0, 3, 6, 9)])
    assert torch.equal(whole[:12], parts)


def test_the_distributions_of_severities() -> None:
    assert float(drawn(4000).mean()) == pytest.approx(0.5, abs=0.02)
    assert float(drawn(4000, severities="heavy").mean()) == pytest.approx(2 / 3, abs=0.02)
    strata = drawn(64, severities="stratified", batch_size=16).view(4, 16)
    assert torch.equal((strata * 16).floor(), torch.arange(16.0).expand(4, 16))
    found = drawn(300, text="{use: core.gaussian_noise, levels: 10}", severities="discrete") * 10
    assert sorted({round(float(v)) for v in found}) == list(range(1, 11)) and (found - found.round()).abs().max() < 1e-5


@pytest.mark.parametrize("text", NOISES[:3])
def test_log_normal_severities_have_log_normal_noise_levels(text: str) -> None:
    t = drawn(2000, text=text, severities="log_normal", log_normal=(-1.0, 0.8)).double()
    α, σ = degradation_of(text).coefficients(t)
    log = (σ / α).log()
    assert float(log.mean()) == pytest.approx(-1.0, abs=0.06) and float(log.std()) == pytest.approx(0.8, abs=0.05)


# --- end to end --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "restorer, train, sampler",
    [
        ("prediction: eps", "loss: l2, weighting: min_snr, severities: discrete", "core.ddpm"),
        (
            "prediction: eps, variance: learned",
            "loss: l2, severities: stratified",
            "{use: core.ddpm, variance: learned}",
        ),
        ("prediction: edm", "loss: l2, severities: log_normal", "core.edm"),
        ("prediction: v", "loss: huber, weighting: p2", "core.ddim"),
        ("prediction: score", "loss: l2", "core.dpm_solver"),
        ("prediction: flow", "loss: l2, severities: stratified", "core.flow"),
    ],
)
def test_each_kind_trains_resumes_and_samples(tmp_path: Path, restorer: str, train: str, sampler: str) -> None:
    path = recipe(tmp_path, photos(tmp_path / "photos"), "{use: core.gaussian_noise, levels: 100}")
    text = path.read_text().replace("prediction: residual", restorer).replace("train: {", f"train: {{{train}, ")
    path.write_text(text.replace("{use: core.cold, steps: 3}", sampler))
    whole = rethaw.Pipeline.from_yaml(path)
    assert whole.train(tmp_path / "whole").finished
    first = rethaw.Pipeline.from_yaml(path, ["train.steps=2", "train.lr_schedule=constant"])
    first.train(tmp_path / "parts")
    second = rethaw.Pipeline.from_yaml(path, ["train.lr_schedule=constant"])
    second.train(tmp_path / "parts", resume=True)
    straight = rethaw.Pipeline.from_yaml(path, ["train.lr_schedule=constant"])
    straight.train(tmp_path / "straight")
    ours, theirs = second.walker.restorer.state_dict(), straight.walker.restorer.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    made_by = rethaw.Pipeline.load(tmp_path / "whole").generate(2, steps=4)
    assert made_by.shape == (2, 3, 16, 16) and torch.isfinite(made_by).all() and made_by.abs().max() <= 1.0001
