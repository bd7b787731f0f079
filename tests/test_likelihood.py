"""The likelihood of the probability flow against closed forms, and as a command."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import rethaw
from rethaw.api import Prediction, RethawError
from rethaw.engine.sampling.likelihood import likelihood
from rethaw.ops import generators
from tests.gaussian import World, flat
from tests.helpers import photos, recipe
from tests.helpers import rethaw as command
from tests.test_score_samplers import PROCESSES, noise
from tests.worlds import MixtureWorld

VE = {"process": "ve"}  # to σ = 100: at 20 the end would still show the data, where the flow's is taken as pure noise
LINEAR = PROCESSES["vp-linear"]
CASES = [*(("rk4", process) for process in (LINEAR, VE, PROCESSES["sub_vp"], PROCESSES["flow"])), ("adaptive", LINEAR)]


@pytest.mark.parametrize("solver, process", CASES, ids=str)
def test_it_is_the_closed_form_of_a_gaussian(solver: str, process: dict[str, Any]) -> None:
    world, degradation = World(0.0), noise(**process)
    p = torch.distributions.MultivariateNormal(world.μ, world.c)
    torch.manual_seed(0)
    x = p.sample((8,)).view(-1, *world.shape)
    found = likelihood(
        world.restore(degradation),
        degradation,
        x,
        generators(0, 8),
        solver=solver,
        steps=5 if solver == "adaptive" else 60,
    )
    exact = -p.log_prob(flat(x)) / (6 * math.log(2))
    assert (found.bits - exact).abs().max() <= 1e-2
    assert (found.log_p - p.log_prob(flat(x))).abs().max() <= 1e-2 * 6 * math.log(2)
    assert found.x_1.shape == x.shape


@pytest.mark.parametrize("process", [{}, VE], ids=str)
def test_it_is_the_closed_form_of_a_mixture(process: dict[str, Any]) -> None:
    world = MixtureWorld(noise(**process))
    x = world.draw(4, 3, seed=3)
    found = likelihood(world.restore, world.degradation, x, generators(0, 4))
    assert (found.bits + world.log_prob(x) / (9 * math.log(2))).abs().max() <= 1e-2


def test_the_estimated_trace_is_unbiased() -> None:
    """The mean over many probes is the exact one, within three standard errors."""
    world, degradation = World(0.0), noise(alpha_bar="linear")
    x = torch.zeros(1, *world.shape, dtype=torch.float64).expand(64, -1, -1, -1)
    restore = world.restore(degradation)
    exact = likelihood(restore, degradation, x[:1], generators(0, 1), probes=0).bits
    drawn = likelihood(restore, degradation, x, generators(1, 64), probes=2).bits
    assert drawn.std() > 1e-3  # it is an estimate
    assert (drawn.mean() - exact).abs() <= 3 * drawn.std() / 8


def test_dequantised_bits_are_those_of_the_integers() -> None:
    """Of a Gaussian wide against a bin: the entropy of 8-bit values, log2 of the density times the width of a bin."""
    degradation = noise(process="ve", sigma_max=50.0)

    def restore(x: Tensor, t: Tensor) -> Prediction:
        σ2 = degradation.coefficients(t.double())[1].square().view(-1, 1, 1, 1)
        return Prediction(x * 0.25 / (0.25 + σ2))

    world = torch.distributions.Normal(0.0, 0.5)
    pixels = (torch.tensor([-0.7, -0.2, 0.1, 0.4], dtype=torch.float64) * 127.5 + 127.5).round()
    x = (pixels / 127.5 - 1).view(1, 1, 2, 2).expand(32, -1, -1, -1)
    found = likelihood(restore, degradation, x, generators(0, 32), dequantise=True).bits.mean()
    low, high = (world.cdf((pixels + d) / 127.5 - 1) for d in (-0.5, 0.5))
    assert float(found) == pytest.approx(float(-(high - low).log2().mean()), abs=1e-2)


@pytest.mark.parametrize(
    "use, reason", [("core.mask", "has no coefficients"), ("animals.animorphosis", "not Gaussian")]
)
def test_what_has_no_likelihood_says_so(use: str, reason: str) -> None:
    with pytest.raises(RethawError, match=reason):
        likelihood(None, rethaw.build("degradation", use), torch.zeros(1, 3, 8, 8), generators(0, 1))  # type: ignore[arg-type]
    with pytest.raises(RethawError, match="no derivative"):
        likelihood(None, noise(levels=10), torch.zeros(1, 3, 8, 8), generators(0, 1))  # type: ignore[arg-type]


def test_the_command_writes_a_report(tmp_path: Path) -> None:
    pictures = photos(tmp_path / "photos", 3)
    (tmp_path / "broken.png").write_bytes(b"no image")
    small = recipe(tmp_path, pictures, "{use: core.gaussian_noise}").rename(tmp_path / "noise.yaml")
    rethaw.Pipeline.from_yaml(small, device="cpu").train(tmp_path / "run")
    done = command("likelihood", "run", "photos", "broken.png", "--steps", 3, "-o", "bits.json", cwd=tmp_path)
    report = json.loads((tmp_path / "bits.json").read_text())
    assert list(report["images"]) == ["photos/0.png", "photos/1.png", "photos/2.png"] and len(report["skipped"]) == 1
    assert report["bits_per_dimension"] == pytest.approx(sum(report["images"].values()) / 3)
    assert "bits a dimension" in done.stdout and "skipped" in done.stderr
