"""The contract of degradations, for every installed one, and each against its definition."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import rethaw
from rethaw.api import RethawError
from rethaw.config.model import RestorerConfig
from rethaw.engine.degradation.build import probe
from rethaw.engine.restorer.parameterization import Parameterization
from rethaw.ops import expand, generators
from rethaw.testing import CHECKS, run_check
from tests.worlds import EVERY, EXCEPTIONS, degradation_id, hosted, images, made

every = pytest.mark.parametrize("case", EVERY, ids=degradation_id)
APART = [case for case in EVERY if not case[0].startswith("imagenet_c.")]  # whose own tests run the kit on each
on_each_device = pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param(
            "cuda", marks=[pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]
        ),
    ],
)


@pytest.mark.parametrize("case", APART, ids=degradation_id)
@on_each_device
def test_the_contract(case: Any, device: str) -> None:
    degradation = made(case)
    for check in CHECKS.keys() - EXCEPTIONS.get(case[0], set()) - {"compiles"}:
        run_check(check, degradation, device)


@pytest.mark.long
@pytest.mark.parametrize("case", APART, ids=degradation_id)
def test_what_says_so_compiles_to_one_graph(case: Any) -> None:
    if "compiles" not in EXCEPTIONS.get(case[0], set()):
        run_check("compiles", made(case))


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_exceptions_are_needed(name: str) -> None:
    for check in EXCEPTIONS[name]:
        with pytest.raises(AssertionError):
            run_check(check, made((name, {})))


@every
@settings(max_examples=15, deadline=None)
@given(t=st.floats(0, 1), height=st.integers(1, 40), width=st.integers(1, 40), seed=st.integers(0, 99))
def test_any_size_and_severity_gives_finite_values_and_zero_the_identity(
    case: Any, t: float, height: int, width: int, seed: int
) -> None:
    degradation = made(case)
    least = 32 if case[0] == "imagenet_c.reference" else 1  # the package's own limit
    x0 = images(2, degradation.channels or 3, max(height, least), max(width, least), seed=seed, dtype=torch.float32)
    state = degradation.draw(x0, generators(seed, 2))
    assert torch.isfinite(degradation.degrade(x0, expand(t, x0), state)).all()
    assert (degradation.degrade(x0, expand(0.0, x0), state) - x0).abs().max() <= 1e-6


@pytest.mark.parametrize("t", [0.0, 0.1, 0.37, 1.0])
@pytest.mark.parametrize("size", [(48, 40), (400, 37)])
def test_blur_is_kornias_own_call(t: float, size: tuple[int, int]) -> None:
    from kornia.filters import gaussian_blur2d

    x0 = images(2, height=size[0], width=size[1], dtype=torch.float32)
    blur = rethaw.build("degradation", "kornia.gaussian_blur", sigma_max=3.0)
    taps, sigma = blur.operator.taps, max(t * 3.0, 1e-3)
    expected = gaussian_blur2d(x0, (taps, taps), (sigma, sigma), border_type="reflect")
    assert (blur.degrade(x0, expand(t, x0), {}) - expected).abs().max() <= 1e-5


def test_blur_in_blocks_is_blur_by_one_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    from rethaw.ops import linear

    x0 = images(2, height=350, width=129)
    blur = rethaw.build("degradation", "kornia.gaussian_blur", sigma_max=4.0)
    blocks = blur.degrade(x0, torch.tensor([0.4, 1.0], dtype=torch.float64), {})
    monkeypatch.setattr(linear, "BLOCK", 10_000)
    dense = blur.degrade(x0, torch.tensor([0.4, 1.0], dtype=torch.float64), {})
    assert (blocks - dense).abs().max() <= 1e-12


def test_pixelate_is_the_mean_over_blocks() -> None:
    x0 = images(1, height=12, width=8)
    pixelate = rethaw.build("degradation", "kornia.pixelate", block_max=4)
    blocks = x0.unfold(2, 4, 4).unfold(3, 4, 4).mean((-1, -2))
    expected = blocks.repeat_interleave(4, 2).repeat_interleave(4, 3)
    assert (pixelate.degrade(x0, expand(1.0, x0), {}) - expected).abs().max() <= 1e-12


@pytest.mark.parametrize("alpha_bar, scheduler", [("linear", "linear"), ("cosine", "squaredcos_cap_v2")])
def test_noise_at_levels_is_the_published_table(alpha_bar: str, scheduler: str) -> None:
    from diffusers import DDPMScheduler

    table = DDPMScheduler(beta_schedule=scheduler).alphas_cumprod.double()
    noise = rethaw.build("degradation", "core.gaussian_noise", alpha_bar=alpha_bar, levels=1000)
    t = torch.arange(1, 1001, dtype=torch.float64) / 1000
    α, σ = noise.coefficients(t)
    assert (α.square() - table).abs().max() <= 2e-6  # the table is float32
    assert (α.square() + σ.square() - 1).abs().max() <= 1e-12
    continuous = rethaw.build("degradation", "core.gaussian_noise", alpha_bar=alpha_bar).coefficients(t)[0].square()
    assert (continuous - table).abs().max() <= 2e-3


KNOTS = [[0, 0], [0.3, 0.1], [1, 1]]


@pytest.mark.parametrize("span", [[0, 1], [0.2, 0.7]], ids=str)
@pytest.mark.parametrize("schedule", ["linear", "cosine", "exponential", KNOTS], ids=str)
def test_a_severity_settles_at_the_end_of_its_level(schedule: Any, span: list[float]) -> None:
    degradation = rethaw.build("degradation", "core.desaturate", levels=7, span=span, schedule=schedule)
    t = torch.linspace(0, 1, 501, dtype=torch.float64)
    settled = degradation.settle(t)
    assert torch.equal(degradation.u(settled), degradation.u(t)), "D says the same there"
    assert len(settled.unique()) == 8 and torch.allclose(degradation.settle(settled), settled)
    inside = (degradation.u(t) > 0) & (t <= span[1])
    assert (settled[inside] >= t[inside] - 1e-3).all() and (settled.diff() >= 0).all()
    beyond = (settled + 1e-3).clamp_max(1)
    ended = (settled < span[1] - 1e-3) & (settled > span[0])
    assert (degradation.u(beyond) > degradation.u(settled))[ended].all(), "and no later"


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("{use: core.desaturate}", None),
        ("{use: core.desaturate, levels: 5}", 5),
        ("{use: core.cumulative_mask, steps: 9}", 9),
        ("{use: core.cumulative_mask, steps: 9, levels: 3}", 3),
        ("{use: kornia.cumulative_blur, routine: special_6}", 50),
        ("{use: kornia.downsample, routine: factor_2, steps: 4}", 4),
        ("[{use: core.desaturate, levels: 5}, {use: kornia.cumulative_blur, steps: 5}]", 5),
        ("[{use: core.desaturate, levels: 5}, {use: core.mask}]", None),
        ("[{use: core.desaturate, levels: 5}, {use: core.desaturate, id: b, levels: 6}]", None),
    ],
)
def test_networks_are_shown_the_severity_of_the_level(text: str, count: int | None) -> None:
    """In training and on walks alike, wherever what counts of t is its level; all of t elsewhere."""
    degradation = hosted(f"degradation: {text}")
    reading = Parameterization(RestorerConfig(), degradation)
    t = torch.rand(200, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = torch.zeros(200, 3, 8, 8)
    _, seen = reading.inputs(x, t)
    expected = t if count is None else torch.ceil(t * count) / count
    assert torch.allclose(seen, expected)


def test_levels_and_spans() -> None:
    t = torch.tensor([0.0, 0.1, 0.25, 0.26, 0.5, 0.99, 1.0], dtype=torch.float64)
    levels = rethaw.build("degradation", "core.desaturate", levels=4)
    assert levels.u(t).tolist() == [0, 0.25, 0.25, 0.5, 0.5, 1, 1]
    assert not levels.continuous
    span = rethaw.build("degradation", "core.desaturate", span=[0.25, 0.5])
    assert torch.allclose(span.u(t), torch.tensor([0, 0, 0, 0.04, 1, 1, 1], dtype=torch.float64))
    knots = rethaw.build("degradation", "core.desaturate", schedule=[[0, 0], [0.5, 0.1], [1, 0.8]])
    assert torch.allclose(knots.u(t), torch.tensor([0, 0.02, 0.05, 0.052, 0.1, 0.786, 0.8], dtype=torch.float64))
    for schedule in ("linear", "cosine", "exponential"):
        u = rethaw.build("degradation", "core.desaturate", schedule=schedule).u(t)
        assert u[0] == 0 and abs(float(u[-1]) - 1) < 1e-12 and (u.diff() > 0).all()


def test_a_list_is_applied_in_order_with_states_by_id(tmp_path: Any) -> None:
    pipeline = rethaw.Pipeline.from_yaml(
        _write(
            tmp_path,
            "degradation: [{id: blur, use: kornia.gaussian_blur}, {id: hole, use: core.mask}, core.gaussian_noise]",
        )
    )
    composed, x0, t = pipeline.parts.degradation, images(), torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)
    state = composed.draw(x0, generators(2, 3))
    assert set(state) == {"hole.mask", "gaussian_noise.z"}
    blur, hole, noise = (
        made(c) for c in [("kornia.gaussian_blur", {}), ("core.mask", {}), ("core.gaussian_noise", {})]
    )
    by_hand = noise.degrade(
        hole.degrade(blur.degrade(x0, t, {}), t, {"mask": state["hole.mask"]}), t, {"z": state["gaussian_noise.z"]}
    )
    assert torch.equal(composed.degrade(x0, t, state), by_hand)
    x_t = composed.degrade(x0, t, state)
    found = composed.infer(x_t, x0, t, {"hole.mask": state["hole.mask"]})
    assert (composed.degrade(x0, t, found) - x_t).abs().max() <= 1e-9
    assert not hasattr(composed, "prior") and not composed.gaussian


def test_a_mixture_degrades_each_image_by_one_member() -> None:
    x0 = images(40)
    mixture = made(
        ("core.mixture", {"of": [{"use": "core.desaturate"}, {"use": "core.gaussian_noise"}], "weights": [1.0, 3.0]})
    )
    state = mixture.draw(x0, generators(0, 40))
    t = expand(0.8, x0)
    members = [
        made(("core.desaturate", {})).degrade(x0, t, {}),
        made(("core.gaussian_noise", {})).degrade(x0, t, {"z": state["1.z"]}),
    ]
    x = mixture.degrade(x0, t, state)
    assert all(torch.equal(x[i], members[int(state["choice"][i])][i]) for i in range(40))
    assert 0.5 < state["choice"].double().mean() < 0.95


class Broken:
    """A third party's degradation that goes wrong in one way."""

    linear = gaussian = False
    name = "x.broken"

    def __init__(self, how: str) -> None:
        self.how = how

    def draw(self, like: Any, generator: Any) -> Any:
        if self.how == "draw":
            raise KeyError("nothing")
        return [1] if self.how == "state" else {}

    def degrade(self, x0: Any, t: Any, state: Any) -> Any:
        return {"nan": x0 * float("nan"), "shift": x0 + 0.1}.get(self.how, x0)


@pytest.mark.parametrize(
    "how, told",
    [
        ("draw", "KeyError"),
        ("state", "draw gave no mapping"),
        ("nan", "not finite"),
        ("shift", "D\\(x0, 0\\) is not x0"),
    ],
)
def test_probing_tells_what_a_degradation_does_wrong(how: str, told: str) -> None:
    with pytest.raises(RethawError, match=told):
        probe(Broken(how), images())  # type: ignore[arg-type]


def test_a_degradation_that_returns_rubbish_is_named() -> None:
    hosted = made(("core.desaturate", {}))
    hosted.operator.degrade = lambda x0, u, state: x0[:, :1]
    with pytest.raises(RethawError, match=r"core\.desaturate does not keep its contract.*\(3, 1, 24, 20\)"):
        hosted.degrade(images(), expand(0.5, images()), {})


def _write(folder: Any, text: str) -> Any:
    path = folder / "pipeline.yaml"
    path.write_text(text)
    return path


def test_noise_processes_are_their_formulas() -> None:
    u = torch.linspace(0, 1, 11, dtype=torch.float64)
    α, σ = rethaw.build(
        "degradation", "core.gaussian_noise", process="ve", sigma_min=0.01, sigma_max=50.0
    ).coefficients(u)
    assert torch.equal(α, torch.ones(11, dtype=torch.float64))
    expected = ((0.01 * 5000**u) ** 2 - 0.01**2).sqrt()
    assert torch.allclose(σ, expected, rtol=1e-9)
    α, σ = rethaw.build("degradation", "core.gaussian_noise", process="flow").coefficients(u)
    assert torch.equal(σ, u) and torch.equal(α, 1 - u)
    α, _ = rethaw.build("degradation", "core.gaussian_noise", alpha_bar="sigmoid").coefficients(u)
    curve = torch.sigmoid(3 - 6 * u)
    assert torch.allclose(α.square(), (curve - curve[-1]) / (curve[0] - curve[-1]), atol=1e-12)


def test_a_mask_file_is_the_mask(tmp_path: Any) -> None:
    import numpy as np
    from PIL import Image

    hidden = np.zeros((24, 20), np.uint8)
    hidden[5:9, 3:] = 255
    Image.fromarray(hidden).save(tmp_path / "mask.png")
    mask = rethaw.build("degradation", "core.mask", shape="file", path=str(tmp_path / "mask.png"))
    x0 = images()
    x = mask.degrade(x0, expand(1.0, x0), {})
    assert not mask.draw(x0, generators(0, 3))
    assert (x[:, :, torch.from_numpy(hidden == 255)] == -1).all()
    assert torch.allclose(x[:, :, torch.from_numpy(hidden == 0)], x0[:, :, torch.from_numpy(hidden == 0)])
    with pytest.raises(RethawError, match=r"core\.mask: path is 20×24 pixels, the images are 20×25"):
        mask.degrade(images(height=25), expand(1.0, x0), {})
    with pytest.raises(RethawError, match="path go together"):
        rethaw.build("degradation", "core.mask", shape="file")


def test_fade_ends_in_one_colour() -> None:
    x0 = images()
    fade = rethaw.build("degradation", "core.fade", colour=[0.1, -0.2, 0.3])
    assert (fade.degrade(x0, expand(1.0, x0), {}).mean((0, 2, 3)) - torch.tensor([0.1, -0.2, 0.3])).abs().max() < 1e-6
    drawn = rethaw.build("degradation", "core.fade")
    state = drawn.draw(x0, generators(0, 3))
    assert state["colour"].shape == (3, 3, 1, 1) and state["colour"].abs().max() <= 0.5
    with pytest.raises(RethawError, match="colour has 3 values, the images 1 channels"):
        fade.degrade(images(channels=1), expand(1.0, x0), {})
