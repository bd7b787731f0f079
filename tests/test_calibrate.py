"""Calibration: against the closed forms of degradations whose distance is known, and as a command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from rethaw.api import RethawError
from rethaw.config import load_config, load_text
from rethaw.engine.degradation.calibrate import Calibration, calibrate, evenly
from rethaw.engine.parts import assemble
from tests.conftest import refused, run
from tests.helpers import photos, recipe, rethaw
from tests.worlds import images


def smooth(count: int = 8) -> Any:
    """Images (B, 3, 64, 64), neither flat nor noise."""
    return torch.nn.functional.interpolate(images(count, 3, 8, 8), size=(64, 64), mode="bicubic").clamp(-1, 1).float()


def calibrated(degradation: str, metric: str = "core.rmse", item: str | None = None, knots: int = 11) -> Calibration:
    config, registry = load_text(f"degradation: {degradation}")
    return calibrate(assemble(config, registry, "cpu"), smooth(), metric, knots, item)


def test_a_fade_is_even_already() -> None:
    found = calibrated("{use: core.fade, colour: [0, 0, 0]}")
    assert found.config.degradation[0].host.schedule == ((0.0, 0.0), (1.0, 1.0))
    assert max(found.uneven) < 1e-3


def test_any_schedule_of_a_fade_is_undone() -> None:
    found = calibrated("{use: core.fade, colour: [0, 0, 0], schedule: exponential, span: [0.2, 0.7]}")
    host = found.config.degradation[0].host
    assert host.schedule == ((0.0, 0.0), (1.0, 1.0)) and host.span == (0.2, 0.7)
    assert found.uneven[0] > 0.3 > 1e-3 > found.uneven[1]


@pytest.mark.parametrize("process", ["vp", "flow"])
def test_noise_has_the_closed_form(process: str) -> None:
    """E|D(x, u) - x|² = (1-α)² E x² + σ²; clipping would hide it, so images are faint and noise is too."""
    config, registry = load_text(f"degradation: {{use: core.gaussian_noise, process: {process}}}")
    x0 = smooth() * 0.1
    parts = assemble(config, registry, "cpu")
    found, noise = calibrate(parts, x0, "core.rmse", 11, None), parts.degradation

    def distance(u: Any) -> Any:
        """Of images that are clipped at ±1: E over z ~ N(0, 1) of (clip(α x + σ z) - x)², by quadrature."""
        α, σ = (c.view(-1, 1, 1) for c in noise.coefficients(u))
        z = torch.linspace(-6, 6, 601, dtype=torch.float64)
        weight = torch.exp(-z.square() / 2) / torch.exp(-z.square() / 2).sum()
        x = x0.double().flatten()[::37].view(1, -1, 1)
        return (((α * x + σ * z).clamp(-1, 1) - x).square() * weight).sum(-1).mean(-1).sqrt()

    s, u = torch.tensor(found.config.degradation[0].host.schedule, dtype=torch.float64).T
    expected = distance(u) / distance(torch.ones(1, dtype=torch.float64))
    assert (s - expected).abs().max() < 0.01
    assert found.uneven[1] < 0.02 < found.uneven[0]


@pytest.mark.long
@pytest.mark.parametrize("metric", ["core.rmse", "ssim"])
@pytest.mark.parametrize("use", ["kornia.gaussian_blur", "core.desaturate", "imagenet_c.fog", "core.mask"])
def test_steps_become_even_and_schedules_monotone(use: str, metric: str) -> None:
    found = calibrated(f"{{use: {use}}}", metric)
    t, u = zip(*found.config.degradation[0].host.schedule, strict=True)
    assert (t[0], u[0], t[-1], u[-1]) == (0, 0, 1, 1) and list(u) == sorted(u) and len(set(t)) == len(t) <= 11
    assert found.uneven[1] < 0.05 and found.uneven[1] <= found.uneven[0] + 0.01


LIST = "[{id: blur, use: kornia.gaussian_blur}, {id: grey, use: core.desaturate, span: [0.5, 1], schedule: cosine}]"


def test_the_items_of_a_list_share_a_pace() -> None:
    """At each station of the way they are as strong, together, as they were at some station of the old way."""
    found, (config, _) = calibrated(LIST, knots=20), load_text(f"degradation: {LIST}")
    assert found.uneven[1] < 0.03 < found.uneven[0]
    blur, grey = (dict(c.host.schedule) for c in found.config.degradation)
    assert blur.keys() == grey.keys()
    for t, u in blur.items():
        half = max(0.0, (u - 0.5) * 2)  # u of the blur was the old severity
        assert grey[t] == pytest.approx(torch.sin(torch.tensor(half * torch.pi / 2)).square().item(), abs=2e-4)
    assert all(c.host.span == (0, 1) for c in found.config.degradation) and config.composed


def test_one_item_is_calibrated_alone() -> None:
    found, alone = calibrated(LIST, item="blur"), calibrated("{id: blur, use: kornia.gaussian_blur}")
    assert found.config.degradation[0].host == alone.config.degradation[0].host
    assert found.config.degradation[1].host.schedule == "cosine" and found.config.degradation[1].host.span == (0.5, 1)


def test_what_falls_or_stays_is_made_monotone() -> None:
    assert evenly([(0, 0), (0.25, 2), (0.5, 1), (0.75, 2), (1, 4)], 9) == [(0, 0), (0.5, 0.25), (1, 1)]


@pytest.mark.parametrize(
    "degradation, metric, item, told",
    [
        ("{use: core.identity}", "core.rmse", None, "nothing to calibrate"),
        ("{use: core.fade}", "core.rsme", None, "Did you mean core.rmse"),
        (LIST, "core.rmse", "gray", "no degradation with the id 'gray'"),
    ],
)
def test_mistakes(degradation: str, metric: str, item: str | None, told: str) -> None:
    with pytest.raises(RethawError, match=told):
        calibrated(degradation, metric, item)


@pytest.mark.long
def test_the_command(tmp_path: Path) -> None:
    recipe(tmp_path, photos(tmp_path / "photos"), "{id: blur, use: kornia.gaussian_blur}")
    (tmp_path / "sub").mkdir()
    words = ["calibrate", "small.yaml", "--out", "sub/even.yaml", "--plot", "pace.png"]
    done = rethaw(*words, "degradation.blur.sigma_max=2", cwd=tmp_path)
    assert "from even; after at most" in done.stdout and "schedule: [[0.0, 0.0]" in done.stdout
    config, _ = load_config(str(tmp_path / "sub" / "even.yaml"))
    assert config.degradation[0].params.sigma_max == 2 and config.degradation[0].host.schedule[-1] == (1, 1)
    assert config.train.steps == 4 and (tmp_path / "pace.png").is_file()
    rethaw("calibrate", "deblur", "--images", "photos", "--metric", "ssim", "-n", "2", cwd=tmp_path)
    assert "no data" in refused(run("calibrate", "small.yaml", "data=null", cwd=tmp_path))
    assert "would be written over" in refused(run("calibrate", "small.yaml", "--out", "small.yaml", cwd=tmp_path))
