"""Guides: the algebra against closed forms, with every sampler, in batches, as a plugin; faults named; the kit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import rethaw
from rethaw.api import Prediction, RethawError
from rethaw.config import load_text
from rethaw.config.hosts import GuideHost
from rethaw.config.model import Guidance
from rethaw.engine.classifier.guiding import Classifier
from rethaw.engine.restorer.guides import Guiding, steered
from rethaw.engine.sampling.how import How
from rethaw.engine.sampling.walking import last
from rethaw.testing import check_guide
from tests.worlds import images, with_network

EXTRA = Path(__file__).parent / "third_party" / "rethaw-extra"
COLOUR = torch.tensor([0.6, 0.2, -0.4], dtype=torch.float64)
DISTRIBUTION = "Metadata-Version: 2.1\nName: {}\nVersion: 1.0\nRequires-Dist: rethaw>=0.1\n"


@pytest.fixture
def extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The third-party plugin of the documentation, on this process's path."""
    info = tmp_path / "rethaw_extra-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(DISTRIBUTION.format("rethaw-extra"))
    (info / "entry_points.txt").write_text("[rethaw.plugins]\nextra = rethaw_extra\n")
    for folder in (EXTRA, tmp_path):
        monkeypatch.syspath_prepend(str(folder))


def pipeline(degradation: str, extra: str = "") -> Any:
    text = f"degradation: {degradation}\nbackbone: {{use: core.unet, width: 8, multipliers: [1], blocks: 1}}\n{extra}"
    made = with_network(rethaw.Pipeline(*load_text(text), device="cpu"))
    made.walker.restorer.double()
    return made


class Fit:
    """log p = a·x + b·x̂0, whose gradients are known; None leaves a term out."""

    def __init__(self, a: Tensor | float | None = None, b: Tensor | float | None = None) -> None:
        self.a, self.b = a, b

    def guide(self, x: Tensor, x0_hat: Tensor, t: Tensor) -> Tensor:
        terms = [by * seen for by, seen in ((self.a, x), (self.b, x0_hat)) if by is not None]
        return torch.stack(terms).sum(0).flatten(1).sum(1)


def guiding(guide: Any, **host: Any) -> Guiding:
    return Guiding("mine.guide", guide, GuideHost(**host))


def half(x: Tensor, t: Tensor) -> Prediction:
    """A restorer whose x̂0 is x_t / 2."""
    return Prediction(x / 2)


NOISE = rethaw.build("degradation", "core.gaussian_noise", alpha_bar="cosine")
BLUR = rethaw.build("degradation", "kornia.gaussian_blur")


def moved(guide: Any, degradation: Any = NOISE, **host: Any) -> tuple[Tensor, Tensor]:
    """What a guide adds to x̂0 at three severities, by σ²/α, and x."""
    x, t = images(3), torch.tensor([0.2, 0.5, 0.8], dtype=torch.float64)
    with torch.no_grad():
        return steered(half, [guiding(guide, **host)], degradation)(x, t).x0 - x / 2, t.view(-1, 1, 1, 1)


def test_each_gradient_is_scaled_as_the_formulas_say() -> None:
    t = torch.tensor([0.2, 0.5, 0.8], dtype=torch.float64)
    α, σ = (c.view(-1, 1, 1, 1) for c in NOISE.coefficients(t))
    a, b = images(1, seed=3), images(1, seed=4)
    for guide, host, expected in (
        (Fit(a), {"scale": 3.0}, 3 * σ**2 / α * a),
        (Fit(a), {"gradient": "network"}, σ**2 / α * a),
        (Fit(None, b), {"scale": 0.1}, 0.1 * σ**2 / (α**2 + σ**2) * b),
        (Fit(None, b), {"gradient": "network", "scale": 2.0}, 2 * σ**2 / α * b / 2),  # ∂x̂0/∂x = 1/2
        (Fit(a, b), {}, σ**2 / α * a + σ**2 / (α**2 + σ**2) * b),
        (Fit(a, b), {"gradient": "network"}, σ**2 / α * (a + b / 2)),
    ):
        found, _ = moved(guide, **host)
        assert (found - expected).abs().max() < 1e-12 < expected.abs().max()
        within, _ = moved(guide, **host, interval=(0.4, 0.6))
        assert (within[1] - expected[1]).abs().max() < 1e-12 and within[[0, 2]].abs().max() == 0
    found, severity = moved(Fit(None, b), BLUR)
    assert (found - severity * b).abs().max() < 1e-12


def test_through_the_network_the_posterior_mean_is_exact() -> None:
    """x0 ~ N(0, I), seen through noise, and p(c | x0) ∝ exp(b·x0): E[x0 | x, c] = α x + σ² b, where α² + σ² = 1."""
    t = torch.tensor([0.3, 0.9], dtype=torch.float64)
    α, σ = (c.view(-1, 1, 1, 1) for c in NOISE.coefficients(t))
    x, b = images(2), images(1, seed=4)
    for gradient in ("network", "estimate"):
        walk = steered(lambda x, t: Prediction(α * x), [guiding(Fit(None, b), gradient=gradient)], NOISE)
        assert (walk(x, t).x0 - (α * x + σ**2 * b)).abs().max() < 1e-12


def test_several_guides_add_up_and_the_restorer_is_asked_once() -> None:
    a, b, calls = images(1, seed=3), images(1, seed=4), []

    def counted(x: Tensor, t: Tensor) -> Prediction:
        calls.append(len(x))
        return half(x, t)

    x, t = images(2), torch.tensor([0.2, 0.7], dtype=torch.float64)
    guides = [guiding(Fit(a)), guiding(Fit(None, b), gradient="network"), guiding(Fit(None, a), scale=2.0)]
    with torch.no_grad():
        found = steered(counted, guides, NOISE)(x, t).x0
        parts = [steered(half, [guide], NOISE)(x, t).x0 - x / 2 for guide in guides]
    assert calls == [2] and not found.requires_grad
    assert (found - (x / 2 + sum(parts))).abs().max() < 1e-12


def test_a_sampler_that_differentiates_the_restorer_still_can() -> None:
    """As core.dps does, also through a network guide."""
    x, t = images(2).requires_grad_(), torch.tensor([0.2, 0.7], dtype=torch.float64)
    for gradient in ("network", "estimate"):
        found = steered(half, [guiding(Fit(None, 1.0), gradient=gradient)], NOISE)(x, t).x0
        (slope,) = torch.autograd.grad(found.sum(), x)
        assert (slope - 0.5).abs().max() < 1e-12


def test_classifier_guidance_is_what_it_was() -> None:
    """Against the formula as it stood before guides: x̂0 + scale·σ²/max(α, 0.01)·∇ log p, in both precisions."""
    made = pipeline("core.gaussian_noise", "restorer: {clip: false}\n")
    params = type("Params", (), {"field": "label", "classes": ("cat", "dog")})
    for dtype in (torch.float64, torch.float32):
        made.walker.restorer.to(dtype)
        network = rethaw.build("classifier", "core.convnet", rethaw.api.Context(3, 2), width=8)
        classifier = Classifier(network, made.parts.degradation, params)
        x, t = images(3, height=16, width=16, dtype=dtype), torch.tensor([0.1, 0.6, 1.0], dtype=dtype)
        walker = replace(made.walker, classifier=classifier)
        how = How(cond={"label": ["dog", "cat", "dog"]}, guidance=Guidance(classifier_scale=2.5))
        with torch.no_grad():
            plain = made.walker.bound(made.parts.degradation, x, None)(x, t).x0
            found = walker.bound(made.parts.degradation, x, None, how)(x, t).x0
        seen = x.float().requires_grad_()
        log_p = classifier(seen, t.float()).gather(1, torch.tensor([[1], [0], [1]])).sum()
        (slope,) = torch.autograd.grad(log_p, seen)
        α, σ = (c.view(-1, 1, 1, 1) for c in made.parts.degradation.coefficients(t))
        before = plain + (2.5 * σ.square() / α.clamp_min(0.01)) * slope.to(dtype)
        assert (found - before).abs().max() <= 1e-6 * before.abs().max() and (found - plain).abs().max() > 1e-3


# --- as a plugin ---------------------------------------------------------------------------------------------------


NOISY = ("ddpm", "ddim", "edm", "dpm_solver", "cold", "naive", "direct")
WALKS = [("core.gaussian_noise", sampler) for sampler in NOISY] + [
    (of, sampler) for of in ("core.desaturate", "kornia.gaussian_blur") for sampler in ("naive", "direct")
]


@pytest.mark.parametrize(("degradation", "sampler"), WALKS)
def test_the_guide_of_the_docs_leads_with_every_sampler(extra: None, degradation: str, sampler: str) -> None:
    x = images(2, height=16, width=16)
    reads = "v" if degradation == "core.gaussian_noise" else "residual"  # x̂0 = α x_t or x_t: the network says 0
    text = f"restorer: {{prediction: {reads}}}\nguide: {{use: extra.colour, scale: "
    plain, led = (pipeline(degradation, f"{text}{scale}}}\n") for scale in (0, 1))
    results = []
    for made in (plain, led):
        state = None if degradation == "core.gaussian_noise" else {}
        found = last(made.trajectory(x, state=state, sampler=f"core.{sampler}", steps=8, seed=1)).x
        results.append((found.mean((2, 3)) - COLOUR).norm(dim=1))
    assert (results[1] < 0.8 * results[0]).all()
    alone = last(led.trajectory(x[:1], state=state, sampler=f"core.{sampler}", steps=8, seed=1)).x
    assert (alone - found[:1]).abs().max() < 1e-9  # an image does not depend on its batch


def test_cold_sampling_keeps_what_the_degradation_keeps() -> None:
    """D(x̂0, t) - D(x̂0, s) of lost colour has no brightness: only what was lost can be guided."""
    made = pipeline("{use: core.desaturate, weights: mean}", "restorer: {prediction: residual}\n")
    guides, x = (guiding(Fit(None, images(1, height=16, width=16))),), images(2, height=16, width=16)
    led = replace(made.walker, parts=replace(made.parts, guides=guides))
    plain, led = (last(w.trajectory(x, 1.0, How(sampler="core.cold", steps=3))).x for w in (made.walker, led))
    assert (led - plain).abs().max() > 0.1 and (led - plain).mean(1).abs().max() < 1e-12


def test_it_keeps_its_contract_and_is_found_by_name(extra: None) -> None:
    check_guide("extra.colour", colour=[0.1, 0.2, 0.3])
    made = pipeline("core.desaturate", "guide: [{use: extra.colour}, {id: second, use: extra.colour, scale: 2}]\n")
    assert [item.id for item in made.config.guide] == ["colour", "second"]
    for text, message in (
        ("guide: extra.color\n", "Did you mean extra.colour"),
        ("guide: {use: extra.colour, scal: 2}\n", "Did you mean scale"),
        ("guide: {use: extra.colour, interval: [0.5, 0.5]}\n", "interval is"),
        ("guide: [extra.colour, extra.colour]\n", "two items have the id 'colour'"),
    ):
        with pytest.raises(RethawError, match=message):
            pipeline("core.desaturate", text)


class Wrong(Fit):
    """A guide that breaks its contract."""

    def __init__(self, how: str) -> None:
        super().__init__(None, 1.0)
        self.how = how

    def guide(self, x: Tensor, x0_hat: Tensor, t: Tensor) -> Tensor:
        found = super().guide(x, x0_hat, t)
        if self.how == "raises":
            raise ValueError("no such word")
        wrong = {"sum": found.sum(), "float": 3.0, "detached": found.detach(), "image": x0_hat}
        return wrong[self.how]  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("raises", r"mine\.guide raised ValueError guiding images of shape \(3, 3, .*no such word"),
        ("sum", r"mine\.guide does not keep its contract: guide gives \(\), not one log-probability an image, \(3,\)"),
        ("float", "guide gives float"),
        ("image", r"guide gives \(3, 3"),
        ("detached", "depends neither on x nor on x0_hat"),
    ],
)
@pytest.mark.parametrize("gradient", ["network", "estimate"])
def test_faults_name_the_guide(how: str, message: str, gradient: str) -> None:
    with pytest.raises(RethawError, match=message):
        moved(Wrong(how), gradient=gradient)


def test_a_gradient_by_x_t_is_refused_where_there_is_no_gaussian_noise() -> None:
    with pytest.raises(RethawError, match=r"mine\.guide guides by the gradient with respect to x_t"):
        steered(half, [guiding(Fit(None, 1.0), gradient="network")], BLUR)
    with pytest.raises(RethawError, match=r"kornia\.gaussian_blur is none"):
        moved(Fit(1.0), BLUR)


class ToColours:
    """Leads towards values of the field `colour`."""

    def toward(self, values: Any, device: torch.device) -> Fit:
        return Fit(None, torch.tensor([float(value) for value in values]).view(-1, 1, 1, 1))


def test_a_guide_with_a_field_leads_where_the_user_says_and_rests_where_he_does_not() -> None:
    made = pipeline("core.desaturate", "restorer: {clip: false}\n")
    parts = replace(made.parts, guides=(Guiding("mine.guide", ToColours(), GuideHost(), "colour"),))
    walker, x, t = replace(made.walker, parts=parts), images(2), torch.full((2,), 0.5, dtype=torch.float64)
    with torch.no_grad():
        plain = walker.bound(parts.degradation, x, {})(x, t).x0
        led = walker.bound(parts.degradation, x, {}, How(cond={"colour": [1, -2]}))(x, t).x0
    assert (plain - made.walker.bound(parts.degradation, x, {})(x, t).x0).abs().max() == 0
    assert (led - plain - 0.5 * torch.tensor([1.0, -2.0]).view(-1, 1, 1, 1)).abs().max() < 1e-12
    with pytest.raises(RethawError, match="nothing here reads the condition color"):
        walker.bound(parts.degradation, x, {}, How(cond={"color": [1, 1]}))
    with pytest.raises(RethawError, match=r"mine\.guide raised ValueError reading what it is to lead towards"):
        walker.bound(parts.degradation, x, {}, How(cond={"colour": ["red", "blue"]}))


BAD = {
    "one_number_an_image": Wrong("sum"),
    "its_gradient_leads_upwards": type("Down", (), {"guide": lambda self, x, x0, t: -Slope.apply(x0)})(),
    "each_image_alone": type("Mixed", (), {"guide": lambda self, x, x0, t: (x0 * x0.mean(0)).flatten(1).sum(1)})(),
}


class Slope(torch.autograd.Function):
    """A sum whose gradient has the wrong sign."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.shape = x.shape
        return x.flatten(1).sum(1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return -grad.view(-1, 1, 1, 1).expand(ctx.shape)


@pytest.mark.parametrize("check", BAD)
def test_the_kit_finds_what_is_wrong(check: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rethaw, "build", lambda *words, **params: BAD[check])
    with pytest.raises(AssertionError, match=f"wrong, {check}"):
        check_guide("wrong")
