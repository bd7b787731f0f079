"""Chains whose members draw their own strength, order and presence, and what Real-ESRGAN's is made of."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor

import rethaw
from rethaw.api import RethawError
from rethaw.images.picture import quantise
from rethaw.ops import LUMA, expand, generators
from tests.bench import photo_loop as naive
from tests.helpers import TINY, photos
from tests.worlds import images

MANY = 3000


def smooth(count: int, side: int = 40) -> Tensor:
    """Images (B, 3, side, side) as photographs are: smooth, with an edge; in [-1, 1]."""
    at = torch.linspace(-1, 1, side)
    shift = torch.rand(count, 3, 1, 1, generator=torch.Generator().manual_seed(3))
    wave = 0.5 * torch.sin(4 * at.view(1, 1, -1, 1) + 6 * shift) + 0.3 * torch.cos(5 * at.view(1, 1, 1, -1) * shift)
    return (wave + 0.3 * (at.view(1, 1, 1, -1) > 2 * shift - 1)).clamp(-1, 1)


def degraded(name: str, x: Tensor, t: float = 1.0, **params: Any) -> tuple[Tensor, Any]:
    d = rethaw.build("degradation", name, **params)
    state = d.draw(x, generators(1, len(x)))
    return d.degrade(x, expand(t, x), state), state


def one(state: Any, i: int) -> dict[str, Any]:
    return {key: value[i].tolist() for key, value in state.items()}


# --- what chains are made of, each against its definition, image by image ---------------------------------------------


@pytest.mark.parametrize("kind", range(6))
@pytest.mark.parametrize("taps", [(7, 21), (9, 27)])
def test_a_kernel_blur_is_its_definition(kind: int, taps: tuple[int, int]) -> None:
    x, weights = images(4, height=40, width=33), [float(i == kind) for i in range(6)]
    y, state = degraded("core.kernel_blur", x, 0.7, kernels=weights, taps=taps)
    for i in range(4):
        s = one(state, i)
        sigma = (0.7 * s["sigma"][0], 0.7 * s["sigma"][1])
        kernel = naive.gaussian_kernel(2 * int(s["radius"]) + 1, sigma, s["angle"], s["beta"], s["plateau"])
        assert (naive.filtered(x[i : i + 1], kernel) - y[i]).abs().max() <= 1e-5
        assert s["plateau"] == (kind // 2 == 2) and (s["sigma"][0] == s["sigma"][1]) == (kind % 2 == 0)


def test_a_sinc_filter_is_its_definition() -> None:
    x = images(4, height=40, width=33)
    y, state = degraded("core.sinc", x, 1.0)
    half, _ = degraded("core.sinc", x, 0.5)
    for i in range(4):
        s = one(state, i)
        kernel = naive.sinc_kernel(2 * int(s["radius"]) + 1, s["cutoff"] * math.pi)
        assert (naive.filtered(x[i : i + 1], kernel) - y[i]).abs().max() <= 1e-5
    assert (half - (x + y) / 2).abs().max() <= 1e-6


@pytest.mark.parametrize("t", [0.3, 1.0])
@pytest.mark.parametrize("size", [(40, 33), (7, 5), (1, 1)])
def test_resizing_is_torchs(t: float, size: tuple[int, int]) -> None:
    x = images(12, height=size[0], width=size[1])
    y, state = degraded("core.resize", x, t, scale=[0.15, 1.5], up=0.4)
    for i in range(12):
        s = one(state, i)
        factor = 1 + t * (s["scale"] - 1)
        if any(abs(n * factor % 1 - 0.5) < 1e-4 for n in size):
            continue  # half a pixel, which rounding decides
        expected = naive.there_and_back(x[i : i + 1], factor, tuple(naive.MODES[m] for m in s["modes"]))  # type: ignore[arg-type]
        assert (expected - y[i]).abs().max() <= 1e-5


@pytest.mark.parametrize("quality", [95, 60, 30, 10])
def test_jpeg_is_pillows(quality: int) -> None:
    x = quantise(smooth(3, 48), 8)
    y, _ = degraded("core.jpeg", x, quality_min=quality)
    expected = torch.cat([naive.compressed((x[i : i + 1] + 1) / 2, quality) for i in range(3)]) * 2 - 1
    assert (
        y - expected
    ).abs().mean() <= 1.2 / 127.5  # libjpeg rounds at every step, which turns some coefficients over


def test_noise_is_grey_in_some_images() -> None:
    x = smooth(40, 16)
    for name, params in (("core.additive_noise", {"sigma": 0.3}), ("core.poisson_noise", {"photons": 40.0})):
        noise = degraded(name, x, grey=0.5, **params)[0] - x
        alike = (noise - noise[:, :1]).abs().amax((1, 2, 3)) < 1e-5
        assert 8 < int(alike.sum()) < 32


def test_grey_photon_noise_is_that_of_the_luma() -> None:
    x = torch.tensor([0.2, -0.4, 0.6]).view(1, 3, 1, 1).expand(1, 3, 200, 200)
    noise = degraded("core.poisson_noise", x, photons=50.0, grey=1.0)[0] - x
    luma = sum(w * (v + 1) / 2 for w, v in zip(LUMA, (0.2, -0.4, 0.6), strict=True))
    assert abs(float(noise.mean())) < 0.01 and abs(float(noise.std()) / (2 * math.sqrt(luma / 50)) - 1) < 0.03


# --- strength, presence and order of each image -----------------------------------------------------------------------


def test_strengths_are_drawn_for_each_image_and_t_scales_them() -> None:
    x = images(MANY, height=2, width=2, dtype=torch.float32)
    fade = {"colour": [1.0], "strengths": [0.2, 0.8], "chance": 0.7}
    y, state = degraded("core.fade", x[:, :1], **fade)
    strength = state["strength"]
    met = strength > 0
    assert stats.binomtest(int(met.sum()), MANY, 0.7).pvalue > 1e-3
    assert stats.kstest(strength[met].numpy(), stats.uniform(0.2, 0.6).cdf).pvalue > 1e-3
    s = strength.view(-1, 1, 1, 1)
    assert (y - torch.lerp(x[:, :1], torch.ones(()), s)).abs().max() < 1e-6
    half, _ = degraded("core.fade", x[:, :1], 0.5, **fade)
    assert (half - torch.lerp(x[:, :1], torch.ones(()), s / 2)).abs().max() < 1e-6
    assert torch.equal(y[~met], x[~met][:, :1])


def test_a_member_that_varies_offers_only_what_is_told_its_strength() -> None:
    plain, varied = (rethaw.build("degradation", "core.additive_noise", **h) for h in ({}, {"chance": 0.5}))
    assert hasattr(plain, "infer") and hasattr(plain, "coefficients") and plain.gaussian
    assert not any(hasattr(varied, each) for each in ("infer", "prior", "coefficients")) and not varied.gaussian
    assert hasattr(varied, "svd") and hasattr(varied, "adjoint")


def test_each_image_has_an_order_of_its_own() -> None:
    """Of three maps that do not commute; each of the six orders is as frequent, and applied as it says."""
    x = images(MANY, channels=1, height=1, width=2, dtype=torch.float32)
    of = [{"id": f"m{i}", "use": "core.fade", "colour": [c]} for i, c in enumerate((-1.0, 0.1, 0.9))]
    y, state = degraded("core.chain", x, 0.5, of=of, shuffle=True)
    order = state["order"]
    assert stats.chisquare((order @ torch.tensor([9, 3, 1])).unique(return_counts=True)[1].numpy()).pvalue > 1e-3
    colour, expected = torch.tensor([-1.0, 0.1, 0.9]), x
    for place in range(3):
        expected = (expected + colour[order[:, place]].view(-1, 1, 1, 1)) / 2
    assert (y - expected).abs().max() < 1e-6
    fixed, none = degraded("core.chain", x, 0.5, of=of)
    assert "order" not in none and (fixed - (((x - 1) / 2 + 0.1) / 2 + 0.9) / 2).abs().max() < 1e-6


def test_what_an_image_becomes_depends_on_no_other(tmp_path: Path) -> None:
    d = rethaw.Pipeline.from_yaml("bsrgan", [f"data.path={tmp_path}"], device="cpu").parts.degradation
    x, t = smooth(6), torch.tensor([0.0, 0.2, 0.5, 0.8, 1.0, 1.0])
    before = torch.random.get_rng_state()
    state = d.draw(x, generators(0, 6))
    y = d.degrade(x, t, state)
    assert torch.equal(before, torch.random.get_rng_state())
    assert (y[0] - x[0]).abs().max() < 1e-5
    again = {key: torch.cat([value[3:], value[:3]]) for key, value in state.items()}
    assert (d.degrade(x.roll(3, 0), t.roll(3, 0), again) - y.roll(3, 0)).abs().max() < 1e-4
    alone = d.draw(x[4:5], generators(0, 1, first=4))
    assert all(torch.equal(value[0], state[key][4]) for key, value in alone.items())


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"chance": 0.0}, "degradation.chance must be greater than 0"),
        ({"chance": 1.5}, "degradation.chance must be at most 1"),
        ({"strengths": [0.8, 0.2]}, "strengths is [low, high]"),
        ({"strengths": [0, 0]}, "strengths is [low, high]"),
        ({"strengths": [0.2, 2]}, "degradation.strengths"),
        ({"shuffle": True}, "shuffle"),
        ({"taps": [6, 9]}, "taps are two odd numbers"),
        ({"sigma": [3, 1]}, "sigma is [low, high]"),
        ({"kernels": [0, 0, 0, 0, 0, 0]}, "kernels are six weights"),
    ],
)
def test_mistakes_name_the_key(given: dict[str, Any], told: str) -> None:
    with pytest.raises(RethawError) as caught:
        rethaw.build("degradation", "core.kernel_blur", **given)
    assert told in str(caught.value)


# --- Real-ESRGAN's chain ----------------------------------------------------------------------------------------------


def test_the_second_order_chain_is_the_definition_run_image_by_image(tmp_path: Path) -> None:
    """How far images are moved, and their spread, by our batched draws and by the loop's own: the same distribution."""
    count, side = 240, 40
    x = smooth(count, side)
    d = rethaw.Pipeline.from_yaml("real-esrgan", [f"data.path={tmp_path}"], device="cpu").parts.degradation
    ours = d.degrade(x, expand(1.0, x), d.draw(x, torch.Generator().manual_seed(0)))
    torch.manual_seed(0)
    rng = random.Random(0)
    theirs = torch.cat([naive.second_order((each[None] + 1) / 2, rng) * 2 - 1 for each in x])
    for measure in (
        lambda y: (y - x).square().mean((1, 2, 3)).sqrt(),
        lambda y: (y[..., 1:] - y[..., :-1]).abs().mean((1, 2, 3)),
        lambda y: (y[..., 8::8] - y[..., 7:-1:8]).abs().mean((1, 2, 3)),
        lambda y: (y - x).mean((1, 2, 3)),
    ):
        a, b = measure(ours).numpy(), measure(theirs).numpy()
        assert stats.ks_2samp(a, b).pvalue > 1e-3
        assert abs(a.mean() - b.mean()) < 4 * math.hypot(a.std(), b.std()) / math.sqrt(count)


@pytest.mark.parametrize("name", ["real-esrgan", "bsrgan", "restore-photo", "restore-scan", "restore-jpeg", "enlarge"])
@pytest.mark.long
def test_the_recipes_of_photographs_train_and_restore_blindly(name: str, tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos", 4)
    small = [f"data.path={folder}", *TINY, "data.size=32", "train.steps=3", "train.batch_size=2", "train.warmup=0"]
    pipeline = rethaw.Pipeline.from_yaml(name, small, device="cpu")
    assert pipeline.train(tmp_path / "run").finished
    y = rethaw.Pipeline.load(tmp_path / "run", device="cpu").restore(smooth(2))
    assert y.shape[:2] == (2, 3) and torch.isfinite(y).all()
