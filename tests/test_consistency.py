"""Data consistency, renoising, symmetry-breaking noise and reference pictures: the rest of iterated restoration."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

import rethaw
from rethaw.api import Prediction, RethawError
from rethaw.cli.options import Measured
from rethaw.config import load_text
from rethaw.config.hosts import MeasurementHost
from rethaw.config.model import Consistency, Precision, RestorerConfig
from rethaw.config.schema import json_schema
from rethaw.engine.restorer.consistency import DEGRADED, RESTORED, consistent, default_weight
from rethaw.engine.restorer.parameterization import Parameterization
from rethaw.engine.sampling.reference import between, slerp
from rethaw.ops import expand, generators, randn
from rethaw.registry import Registry
from tests.gaussian import Without, World
from tests.helpers import photos, recipe
from tests.worlds import images, liar, oracle

NOISE, MASK = "{use: core.gaussian_noise}", "{use: core.mask}"
BLUR = "{use: kornia.gaussian_blur, sigma_max: 1.0}"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A function that trains a small pipeline once for each degradation: its run folder."""
    root, made = tmp_path_factory.mktemp("runs"), {}
    data = photos(root / "photos")

    def train(degradation: str) -> Path:
        if degradation not in made:
            folder = root / str(len(made))
            folder.mkdir()
            rethaw.Pipeline.from_yaml(recipe(folder, data, degradation)).train(folder / "run")
            made[degradation] = folder / "run"
        return made[degradation]

    return train


# --- renoising and symmetry -----------------------------------------------------------------------------------------


def test_renoising_is_restoring_then_adding_less_noise() -> None:
    noise, sampler = (
        rethaw.build("degradation", "core.gaussian_noise"),
        rethaw.build("sampler", "core.renoise", steps=4),
    )
    start = x = images()
    found = list(sampler.trajectory(liar, start, sampler.severities(noise), noise, None, generators(1, 3)))
    rng = generators(1, 3)
    for t, s in ((1.0, 0.75), (0.75, 0.5), (0.5, 0.25), (0.25, 0.0)):
        α, σ = noise.coefficients(expand(s, x))
        x = α.view(-1, 1, 1, 1) * liar(x, expand(t, x)).x0 + σ.view(-1, 1, 1, 1) * randn(x, rng)
    assert (found[-1].x - x).abs().max() <= 1e-12
    blur = rethaw.build("degradation", "kornia.gaussian_blur")
    naive = rethaw.build("sampler", "core.naive", steps=4)
    same = [
        list(s.trajectory(liar, start, s.severities(blur), blur, {}, generators(1, 3)))[-1].x for s in (sampler, naive)
    ]
    assert torch.equal(*same)


def test_noise_on_x1_breaks_the_symmetry_of_a_flat_start() -> None:
    """A restorer that treats all pixels alike leaves a flat image flat; δ is added once, at the start."""
    blur, flat = rethaw.build("degradation", "kornia.gaussian_blur"), torch.zeros(2, 3, 8, 8)
    found = {}
    for δ in (0.0, 0.01):
        cold = rethaw.build("sampler", "core.cold", steps=3, noise=δ)
        walk = cold.trajectory(lambda x, t: Prediction(2 * x), flat, cold.severities(blur), blur, {}, generators(0, 2))
        found[δ] = list(walk)
    assert not found[0.0][-1].x.std() and found[0.01][-1].x.std() > 1e-3
    assert torch.equal(found[0.01][0].x, 0.01 * randn(flat, generators(0, 2)))


# --- data consistency -----------------------------------------------------------------------------------------------


def test_a_consistent_estimate_is_the_nearest_that_explains_the_image() -> None:
    """argmin |D(x) - x_t|² + λ |x - x̂0|², solved directly."""
    world, x, λ = World(0.0), images(3, 1, 2, 3), 1e-3
    t = torch.ones(3, dtype=torch.float64)
    measured: Any = world.measured
    measured.gaussian = False
    restore = consistent(liar, measured, x, t, {}, None, Consistency("state", λ), Precision())
    x0_hat, a = liar(x, t).x0.flatten(1), world.a
    eye = torch.eye(6, dtype=torch.float64)
    right = a.T @ (x.flatten(1) - measured.b).T + λ * x0_hat.T
    expected = torch.linalg.solve(a.T @ a + λ * eye, right).T
    assert (restore(x, t).x0.flatten(1) - expected).abs().max() <= 1e-10


@pytest.mark.parametrize("missing", [(), ("svd",)])
@pytest.mark.parametrize("to", ["observation", "state"])
def test_estimates_keep_to_what_was_observed_or_to_what_the_walk_has_reached(to: Any, missing: tuple[str, ...]) -> None:
    """The same direct solution at the walk's start, or at x_t, whose severity is another in each image."""
    blur: Any = Without(rethaw.build("degradation", "kornia.gaussian_blur", sigma_max=0.8), *missing)
    y, x, λ = images(2, 1, 4, 5, seed=1), images(2, 1, 4, 5, seed=2), 1e-3
    start, t = torch.tensor([[1.0, 0.7], [0.6, 0.2]], dtype=torch.float64)
    restore = consistent(liar, blur, y, start, {}, None, Consistency(to, λ, iterations=60), Precision())
    seen, at = (y, start) if to == "observation" else (x, t)
    eye, x0_hat, found = torch.eye(20, dtype=torch.float64), liar(x, t).x0, restore(x, t).x0
    for i in range(2):
        a = blur.degrade(eye.view(20, 1, 4, 5), at[i].expand(20), {}).flatten(1).T
        expected = torch.linalg.solve(a.T @ a + λ * eye, a.T @ seen[i].flatten() + λ * x0_hat[i].flatten())
        assert (found[i].flatten() - expected).abs().max() <= 1e-9


OWN = [
    name
    for name in Registry().names("sampler")
    if not getattr(s := rethaw.build("sampler", name), "measures", False)
    and s.check(rethaw.build("degradation", "kornia.gaussian_blur"), {}, None) is None
]


@pytest.mark.parametrize("to", ["observation", "state"])
@pytest.mark.parametrize("name", OWN)
def test_a_perfect_restorer_stays_perfect_under_every_sampler(name: str, to: Any) -> None:
    assert {"core.direct", "core.naive", "core.cold", "core.renoise"} <= set(OWN)
    blur, x0, start = rethaw.build("degradation", "kornia.gaussian_blur", sigma_max=0.8), images(), 0.8
    y, sampler = blur.degrade(x0, expand(start, x0), {}), rethaw.build("sampler", name)
    restore = consistent(oracle(x0), blur, y, expand(start, y), {}, None, Consistency(to), Precision())
    *_, end = sampler.trajectory(restore, y, sampler.severities(blur, start), blur, {}, generators(0, 3))
    assert (end.x - x0).abs().max() <= 1e-9


def test_the_weight_follows_the_precision_of_the_observation() -> None:
    assert Precision(bits=8).deviation == pytest.approx(2 / 255 / 12**0.5)
    assert Precision(bits=8, noise=0.03).deviation == pytest.approx((0.03**2 + (2 / 255) ** 2 / 12) ** 0.5)
    weights = [
        default_weight(Precision(bits, noise), RESTORED) for bits, noise in ((None, 0), (16, 0), (8, 0), (None, 0.1))
    ]
    assert weights == sorted(weights) and weights[0] < 1e-9
    assert weights[2] == pytest.approx(0.0128, rel=0.01), "a smaller one makes 8-bit images worse: docs/measurements.md"


@pytest.mark.parametrize("degradation", [BLUR, MASK])
def test_consistent_restorations_explain_what_they_restore(run: Any, degradation: str) -> None:
    x0 = images(2, height=16, width=16, dtype=torch.float32)
    apart = {}
    for overrides in ((), ("consistency={weight: 1e-5, iterations: 60}",)):
        pipeline = rethaw.Pipeline.load(run(degradation), overrides)
        x, state = pipeline.degrade(x0, 1.0)
        restored = pipeline.restore(x, state=state, sampler="core.direct")
        again = pipeline.parts.degradation.degrade(restored, expand(1.0, x), state)
        apart[bool(overrides)] = float((again - x).abs().mean())
    assert apart[True] <= apart[False] / 10  # what a mask shows is kept without it too


def test_every_estimate_of_a_walk_explains_what_it_keeps_to(run: Any) -> None:
    """From a severity below 1: the observation at that severity, or x_t at t."""
    farthest = {}
    for to in ("observation", "state"):
        blur, how = "{use: kornia.gaussian_blur, sigma_max: 3.0}", f"consistency={{to: {to}, weight: 1e-6}}"
        pipeline = rethaw.Pipeline.load(run(blur), [how])
        y, _ = pipeline.degrade(images(2, height=16, width=16, dtype=torch.float32), 0.7)
        for step in list(pipeline.trajectory(y, 0.7, sampler="core.cold", steps=4))[:-1]:
            for key, x, t in (("y", y, expand(0.7, y)), ("x_t", step.x, step.t)):
                apart = float((pipeline.parts.degradation.degrade(step.x0_hat, t, {}) - x).abs().mean())
                farthest[to, key] = max(apart, farthest.get((to, key), 0))
    assert farthest["observation", "y"] <= 1e-4 and farthest["state", "x_t"] <= 1e-4
    assert farthest["observation", "x_t"] > 1e-3


@pytest.mark.parametrize(
    "word, expected",
    [
        ("auto", Consistency()),
        ("1e-3", Consistency(weight=1e-3)),
        ("state", Consistency("state")),
        ("observation", Consistency("observation")),
        ("{to: state, weight: 1e-4}", Consistency("state", 1e-4)),
    ],
)
def test_the_command_line_says_what_to_keep_to_or_how_closely(word: str, expected: Consistency) -> None:
    overrides = Measured(consistency=word).overrides()
    assert load_text(f"degradation: {BLUR}", overrides)[0].consistency == expected
    kept, _ = load_text(
        f"degradation: {BLUR}\nconsistency: {{to: state, weight: 0.5}}", Measured(None, "auto").overrides()
    )
    assert kept.consistency == Consistency("state")
    assert Measured().overrides() == []
    with pytest.raises(RethawError, match="must be 'observation' or 'state'"):
        load_text(f"degradation: {BLUR}", Measured(consistency="stat").overrides())


def test_consistency_is_refused_where_it_means_nothing(run: Any) -> None:
    x = images(1, height=16, width=16, dtype=torch.float32)
    for degradation, reason in ((NOISE, "any x0 explains any x_t"), (MASK, "state is not known")):
        pipeline = rethaw.Pipeline.load(run(degradation), ["consistency={}"])
        with pytest.raises(RethawError, match=reason):
            pipeline.restore(x, sampler="core.direct")
    measured = rethaw.Pipeline.load(run(NOISE), ["consistency={}"]).measured("kornia.gaussian_blur")
    with pytest.raises(RethawError, match="keeps to the measurement itself"):
        measured.restore(x, sampler="core.ddnm")


# --- the inverse as the restorer's input ------------------------------------------------------------------------------


def test_a_restorer_can_be_shown_the_inverse() -> None:
    """argmin |D(x) - x_t|² + λ |x - x_t|², solved directly; the observation's precision says λ."""
    world, x_t = World(0.0), images(3, 1, 2, 3)
    t = torch.ones(3, dtype=torch.float64)
    measured: Any = world.measured
    measured.gaussian = False
    for precision in (Precision(bits=8), Precision(noise=0.1)):
        reading = Parameterization(RestorerConfig(prediction="residual", input="inverse"), measured, precision)
        a, λ, eye = world.a, default_weight(precision, DEGRADED), torch.eye(6, dtype=torch.float64)
        right = a.T @ (x_t.flatten(1) - measured.b).T + λ * x_t.flatten(1).T
        expected = torch.linalg.solve(a.T @ a + λ * eye, right).T
        shown = reading.shown(x_t, t, {})
        assert (shown.flatten(1) - expected).abs().max() <= 1e-9
        assert torch.equal(reading.read(torch.ones_like(x_t), shown, t).x0, shown + 1)
        assert torch.equal(reading.target(x_t, shown, t, {}), x_t - shown)
    plain = Parameterization(RestorerConfig(), measured)
    assert plain.shown(x_t, t, None) is x_t


def test_the_inverse_of_what_loses_nothing_is_the_clean_image() -> None:
    x0 = images(2, height=16, width=16)
    pipeline = rethaw.Pipeline(
        *load_text(f"degradation: {BLUR}\nrestorer: {{prediction: x0, input: inverse}}"), device="cpu"
    )
    t = torch.tensor([0.0, 0.6], dtype=torch.float64)
    x_t = pipeline.parts.degradation.degrade(x0, t, {})
    assert (x_t - x0)[1].abs().max() > 0.05
    assert (pipeline.parts.parameterization.shown(x_t, t, {}) - x0).abs().max() <= 1e-5


def test_a_run_shown_the_inverse_restores_by_every_kind_of_walk(tmp_path: Path) -> None:
    """Its network starts as zero, so that even a few steps of training start from the inverse."""
    extra, x0 = "metrics: [core.rmse]\n", images(4, height=16, width=16, dtype=torch.float32)
    path = recipe(tmp_path, photos(tmp_path / "photos"), BLUR, extra)
    rethaw.Pipeline.from_yaml(path, ["restorer.input=inverse", "train.lr=1e-6"]).train(tmp_path / "run")
    pipeline = rethaw.Pipeline.load(tmp_path / "run")
    x0 = x0.to(pipeline.parts.device)
    x, state = pipeline.degrade(x0, 1.0)
    for sampler in ("core.direct", "core.cold"):
        restored = pipeline.restore(x, state=state, sampler=sampler)
        assert (restored - x0).square().mean() < 0.3 * (x - x0).square().mean(), sampler
    assert (tmp_path / "run" / "preview.png").is_file()


@pytest.mark.parametrize("way", ["consistency={}", "restorer.input=inverse"])
def test_many_steps_do_not_add_up_rounding(tmp_path: Path, way: str) -> None:
    """The inverse would amplify it: in single precision the two walks end more than 0.01 apart."""
    path = recipe(tmp_path, photos(tmp_path / "photos"), "{use: kornia.gaussian_blur, sigma_max: 1.5}")
    rethaw.Pipeline.from_yaml(path, ["train.lr=1e-6", way]).train(tmp_path / "run")
    pipeline, x0 = rethaw.Pipeline.load(tmp_path / "run"), images(4, height=16, width=16, dtype=torch.float32)
    x, state = pipeline.degrade(x0, 1.0)
    found, exact = (list(pipeline.trajectory(y, state=state, sampler="core.cold", steps=50)) for y in (x, x.double()))
    assert found[-1].x.dtype == found[-1].t.dtype == torch.float32
    assert (found[-1].x - exact[-1].x).abs().max() <= 1e-6


def test_the_state_goes_into_double_precision_with_the_walk(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A third party's degradation may multiply by it, which takes two tensors of one dtype."""
    pipeline = rethaw.Pipeline.load(run(MASK), ["consistency={}"])
    x, state = pipeline.degrade(images(1, height=16, width=16, dtype=torch.float32), 1.0)
    met, degrade = [], pipeline.parts.degradation.degrade

    def spy(x0: Any, t: Any, state: Any) -> Any:
        met.extend((x0.dtype, *(value.dtype for value in state.values())))
        return degrade(x0, t, state)

    monkeypatch.setattr(pipeline.parts.degradation, "degrade", spy)
    assert pipeline.restore(x, state=state, sampler="core.cold").dtype == torch.float32
    assert met and set(met) == {torch.float64}


def test_the_inverse_is_refused_where_there_is_none(run: Any, tmp_path: Path) -> None:
    for degradation, reason in ((NOISE, "any x0 explains any x_t"), ("{use: kornia.jpeg}", "neither svd nor adjoint")):
        with pytest.raises(RethawError, match=f"restorer.input: inverse does not go with .*{reason}"):
            rethaw.Pipeline(*load_text(f"degradation: {degradation}\nrestorer: {{input: inverse}}"), device="cpu")
    with pytest.raises(RethawError, match="input: inverse goes with prediction: x0 or residual, not eps"):
        load_text(f"degradation: {BLUR}\nrestorer: {{input: inverse, prediction: eps}}")
    path = recipe(tmp_path, photos(tmp_path / "photos"), MASK)
    rethaw.Pipeline.from_yaml(path, ["restorer.input=inverse"]).train(tmp_path / "run")
    x = images(1, height=16, width=16, dtype=torch.float32)
    with pytest.raises(RethawError, match="random state is not known"):
        rethaw.Pipeline.load(tmp_path / "run").restore(x, sampler="core.direct")


# --- measurements through the pipeline ------------------------------------------------------------------------------


def test_a_measurement_has_all_host_keys_of_both_sorts() -> None:
    names = {f.name for f in dataclasses.fields(MeasurementHost)}
    assert names == {"id", "span", "schedule", "levels", "chance", "strengths", "bits", "noise"}
    schema = json_schema(Registry())
    assert schema["properties"]["measurement"]["$ref"] == "#/$defs/measurement"
    (mask,) = (shape for shape in schema["$defs"]["measurement"]["anyOf"] if shape.get("title") == "core.mask")
    assert names | {"use", "shape"} <= set(mask["properties"]) and mask["properties"]["noise"]["description"]
    (plain,) = (shape for shape in schema["$defs"]["degradation"]["anyOf"] if shape.get("title") == "core.mask")
    assert "noise" not in plain["properties"]
    with pytest.raises(RethawError, match=r"measurement.noize"):
        load_text("degradation: core.gaussian_noise\nmeasurement: {use: core.mask, noize: 1}")
    with pytest.raises(RethawError, match=r"desaturate works on 3-channel images"):
        load_text("degradation: core.gaussian_noise\nmeasurement: core.desaturate\nrestorer: {channels: 1}")


@pytest.mark.parametrize("sampler", ["core.ddnm", "core.dps", "core.repaint"])
def test_a_pipeline_restores_from_a_measurement(run: Any, sampler: str) -> None:
    pipeline = rethaw.Pipeline.load(run(NOISE)).measured("core.mask", shape="box")
    x0 = images(3, height=16, width=20, dtype=torch.float32).to(pipeline.parts.device)
    y, state = pipeline.degrade(x0, seed=1)
    assert set(state) == {"mask"} and pipeline.parts.known(state) is state
    many = pipeline.restore(y, state=state, sampler=sampler, steps=4, seed=2)
    few = pipeline.restore(y[:2], state={"mask": state["mask"][:2]}, sampler=sampler, steps=4, seed=2)
    assert many.shape == x0.shape and (many[:2] - few).abs().max() <= 2 / 255
    if sampler != "core.dps":
        assert (torch.where(state["mask"].bool(), 0.0, many - x0)).abs().max() <= 1e-5
    with pytest.raises(RethawError, match="random state of the measurement"):
        pipeline.restore(y, sampler=sampler)
    with pytest.raises(RethawError, match="takes no account of the measurement"):
        pipeline.restore(y, state=state)
    assert rethaw.Pipeline.load(run(NOISE)).generate(1, steps=2).shape[0] == 1  # the pipeline itself is left as it was


def test_a_measurement_in_yaml_is_kept_by_a_run(run: Any, tmp_path: Path) -> None:
    text = "measurement={use: kornia.gaussian_blur, sigma_max: 1.5, noise: 0.05, bits: 8, span: [0, 0.5]}"
    pipeline = rethaw.Pipeline.load(run(NOISE), [text])
    pipeline.save(tmp_path / "copy")
    again = rethaw.Pipeline.load(tmp_path / "copy")
    assert again.config.measurement == pipeline.config.measurement
    assert again.config.measurement.host.deviation == pytest.approx(0.05, rel=0.01)
    y, _ = again.degrade(images(1, height=16, width=16, dtype=torch.float32))
    assert (y * 255 / 2 + 127.5 - (y * 255 / 2 + 127.5).round()).abs().max() < 1e-3
    with pytest.raises(RethawError, match="restores from a measurement, and none is given"):
        rethaw.Pipeline.load(run(NOISE)).restore(y, sampler="core.dps")


# --- reference pictures ---------------------------------------------------------------------------------------------


def test_an_edit_goes_from_the_reference_to_something_new(run: Any) -> None:
    pipeline = rethaw.Pipeline.load(run(NOISE))
    x0 = images(1, height=16, width=16, dtype=torch.float32).expand(3, -1, -1, -1).to(pipeline.parts.device)
    options: dict[str, Any] = {"sampler": "core.cold", "steps": 4, "seed": 3}
    near, far = (pipeline.edit(x0, strength, **options) for strength in (0.02, 0.9))
    assert (near - x0).abs().mean() < (far - x0).abs().mean() / 3
    assert (far[0] - far[1]).abs().mean() > 0.01  # each image of a batch has noise of its own
    assert (pipeline.edit(x0[:2], 0.9, **options) - far[:2]).abs().max() <= 2 / 255


def test_an_interpolation_starts_and_ends_with_edits_of_its_pictures(run: Any) -> None:
    pipeline = rethaw.Pipeline.load(run(NOISE))
    a, b = images(2, height=16, width=16, dtype=torch.float32)
    options: dict[str, Any] = {"sampler": "core.cold", "steps": 4, "seed": 3}
    for own in (False, True):
        found = pipeline.interpolate(a, b, 5, 0.5, own=own, **options)
        assert found.shape == (5, 3, 16, 16)
        assert (found[0] - pipeline.edit(a[None], 0.5, **options)[0]).abs().max() <= 1e-4
        steps = (found[1:] - found[:-1]).abs().mean((1, 2, 3))
        assert steps.max() < 2 * steps.mean()
    with pytest.raises(RethawError, match="cannot infer the state"):
        rethaw.Pipeline.load(run(BLUR)).interpolate(a, b, own=True)
    with pytest.raises(RethawError, match="16×16 and 8×16 pixels"):
        pipeline.interpolate(a, b[..., :8].flip(0))


def test_mixing_on_the_arc_keeps_noise_as_strong_as_it_is() -> None:
    a, b = (randn(torch.zeros(1, 3, 64, 64), generators(0, 1, i)) for i in range(2))
    share = torch.linspace(0, 1, 5).view(-1, 1, 1, 1)
    mixed = slerp(a, b, share)
    assert mixed.std((1, 2, 3)).sub(1).abs().max() < 0.02
    assert torch.allclose(mixed[0], a[0], atol=1e-5) and torch.allclose(mixed[-1], b[0], atol=1e-5)
    assert torch.allclose(slerp(a, a, share), a.expand(5, -1, -1, -1))
    noise = rethaw.build("degradation", "core.gaussian_noise")
    x, state = between(noise, a[0] / 3, b[0] / 3, 3, 0.5, 0, own=False)
    half = noise.degrade((a + b) / 6, torch.tensor([0.5]), noise.draw(a, generators(0, 1)))
    assert state is None and torch.allclose(x[1], half[0], atol=1e-5)
