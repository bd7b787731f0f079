"""Generation priors: what they fit, what they draw, and that a run keeps them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import rethaw
from rethaw.api import RethawError
from rethaw.ops import generators
from tests.helpers import photos, recipe

ALL: list[tuple[str, dict[str, Any]]] = [
    ("core.mixture", {"components": 2, "size": 2}),
    ("core.gaussian", {}),
    ("core.gaussian", {"size": 4}),
    ("core.flat_colour", {}),
    ("core.flat_colour", {"colour": [0.5, 0.0, -0.5]}),
    ("core.images", {"count": 5, "size": 8}),
]
EVERY = pytest.mark.parametrize("name, params", ALL, ids=lambda v: str(v))


def batches(count: int = 4) -> list[Tensor]:
    rng = torch.Generator().manual_seed(0)
    mean = torch.tensor([0.3, -0.2, 0.6]).view(1, 3, 1, 1)
    return [mean + 0.2 * torch.randn(16, 3, 16, 12, generator=rng) for _ in range(count)]


def fitted(name: str, **params: Any) -> tuple[Any, dict[str, Tensor]]:
    prior = rethaw.build("prior", name, **params)
    return prior, dict(prior.fit(iter(batches())))


def test_a_gaussian_has_the_moments_of_the_images() -> None:
    prior, found = fitted("core.gaussian")
    x = prior.sample(found, torch.empty(8, 3, 64, 64), generators(0, 8))
    assert torch.allclose(x.mean((0, 2, 3)), torch.tensor([0.3, -0.2, 0.6]), atol=0.02)
    assert torch.allclose(x.std((0, 2, 3)), torch.full((3,), 0.2), atol=0.01)
    place, by_place = fitted("core.gaussian", size=4)
    assert by_place["mean"].shape == (3, 4, 4) and place.sample(by_place, x, generators(0, 8)).shape == x.shape


def test_flat_colours_are_flat_and_of_the_images() -> None:
    prior, found = fitted("core.flat_colour", noise=0.0, count=20)
    means = torch.cat(batches())[:20].mean((2, 3))
    x = prior.sample(found, torch.empty(50, 3, 9, 7), generators(0, 50))
    assert torch.equal(x, x[..., :1, :1].expand_as(x))
    apart = (x[:, None, :, 0, 0] - means).abs().amax(-1)
    assert (apart.amin(1) <= 1e-6).all() and len(apart.argmin(1).unique()) > 10
    given, colour = fitted("core.flat_colour", noise=0.0, colour=[1.0, 0.0, -1.0])
    assert given.sample(colour, torch.empty(1, 3, 2, 2), generators(0, 1))[0, :, 0, 0].tolist() == [1, 0, -1]
    with pytest.raises(RethawError, match="colour has 2 values for 3 channels"):
        fitted("core.flat_colour", colour=[1.0, 0.0])


def test_images_are_those_of_the_dataset() -> None:
    prior, found = fitted("core.images", count=5, size=16)
    kept = torch.cat(batches())[:5]
    x = prior.sample(found, torch.empty(40, 3, 16, 12), generators(0, 40))
    nearest = (x[:, None] - kept).abs().flatten(2).amax(-1)
    assert (nearest.amin(1) <= 1e-3).all() and len(nearest.argmin(1).unique()) == 5
    small = fitted("core.images", size=8)[1]["images"]
    assert small.shape == (64, 3, 8, 6)
    long = rethaw.build("prior", "core.images", size=8)
    assert long.fit(iter([torch.rand(2, 3, 2, 100)]))["images"].shape == (2, 3, 1, 8), "no side is lost"


@EVERY
def test_a_draw_does_not_depend_on_its_batch(name: str, params: dict[str, Any]) -> None:
    prior, found = fitted(name, **params)
    whole = prior.sample(found, torch.empty(5, 3, 16, 12), generators(3, 5))
    part = prior.sample(found, torch.empty(2, 3, 16, 12), generators(3, 2))
    assert torch.allclose(whole[:2], part, atol=1e-6) and torch.isfinite(whole).all()
    assert whole.std(0).max() > 0  # something is drawn


@EVERY
def test_a_run_keeps_its_prior(name: str, params: dict[str, Any], tmp_path: Path) -> None:
    flow = ", ".join(f"{key}: {value}" for key, value in {"use": name, **params}.items())
    small = recipe(tmp_path, photos(tmp_path / "photos"), "{use: kornia.gaussian_blur}", f"prior: {{{flow}}}\n")
    made = rethaw.Pipeline.from_yaml(small, ["train.steps=1"], device="cpu")
    made.train(tmp_path / "run")
    again = rethaw.Pipeline.load(tmp_path / "run", device="cpu")
    one, two = made.walker.fitted, again.walker.fitted
    assert one.keys() == two.keys() and one and all(torch.equal(one[key], two[key]) for key in one)
    assert torch.equal(made.walker.start(3, None, 1)[0], again.walker.start(3, None, 1)[0])
    assert torch.isfinite(again.generate(2)).all()
