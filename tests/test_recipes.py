"""The published experiments: each recipe says what was published, and trains, restores or generates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import rethaw
from rethaw.cli.recipes import GROUPS, grouped
from rethaw.config import load_config
from rethaw.config.find import recipe_names
from rethaw.ops import expand, generators
from tests.helpers import TINY, photos
from tests.helpers import rethaw as command
from tests.published import EXPERIMENTS
from tests.worlds import images

PUBLISHED = [name for name in recipe_names() if name.startswith("cold-")]
LEVELS = {
    "cold-blur-mnist": 20,
    "cold-blur-cifar10": 50,
    "cold-blur-celeba": 200,
    "cold-generate-blur-celeba": 300,
    "cold-generate-blur-afhq": 300,
    "cold-superres-mnist": 3,
    "cold-superres-cifar10": 3,
    "cold-superres-celeba": 4,
    "cold-snow-cifar10": 200,
    "cold-snow-celeba": 200,
    "cold-decolour-cifar10": 20,
    "cold-decolour-celeba": 20,
    "cold-generate-noise-celeba": 200,
    "cold-generate-noise-afhq": 200,
    "cold-generate-animorphosis-celeba": 200,
    "cold-generate-superres-celeba": 6,
    "cold-inpaint-mnist": 50,
    "cold-inpaint-cifar10": 50,
    "cold-inpaint-celeba": 100,
    "cold-generate-mask-celeba": 750,
}
"""T of each experiment."""


def small(name: str, folder: Path) -> list[str]:
    """Overrides that make a published training one of seconds."""
    paths = [f"data.path={folder}", *([f"degradation.animal.path={folder}"] if "animorphosis" in name else [])]
    return [*paths, *TINY, "data.size=32", "train.steps=2", "train.batch_size=2", "sampler.steps=2"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photos(tmp_path_factory.mktemp("recipes"), 4)


def test_every_experiment_is_there() -> None:
    assert set(PUBLISHED) == set(LEVELS) == set(EXPERIMENTS)


@pytest.mark.parametrize("name", PUBLISHED)
def test_settings_are_the_published_ones(name: str, folder: Path) -> None:
    config, _ = load_config(name)
    train, (item,) = config.train, config.degradation
    assert (train.steps, train.batch_size, train.accumulate, train.lr, train.ema) == (700_000, 32, 2, 2e-5, 0.995)
    assert (train.loss, train.lr_schedule, train.weight_decay, train.severities) == ("l1", "constant", 0, "discrete")
    assert config.restorer.prediction == "x0" and not config.restorer.clip
    assert item.host.levels == config.sampler.params.steps == LEVELS[name]
    assert LEVELS[name] == getattr(item.params, "steps", LEVELS[name])
    assert config.sampler.use == "core.cold" and config.data is not None
    assert config.data.params.size == (32 if name.endswith(("mnist", "cifar10")) else 128)
    assert config.restorer.channels == config.data.params.channels == (1 if name.endswith("mnist") else 3)


def test_the_network_is_as_large_as_the_published_ones() -> None:
    from rethaw.engine.parts import assemble

    network = assemble(*load_config("cold-blur-celeba"), "cpu").restorer()
    assert 36e6 < sum(p.numel() for p in network.parameters()) < 57e6


@pytest.mark.parametrize("name", PUBLISHED)
def test_each_level_is_its_definition(name: str, folder: Path) -> None:
    """All levels of one image, against the definition followed step by step."""
    path = [f"degradation.animal.path={folder}"] if "animorphosis" in name else []
    pipeline = rethaw.Pipeline.from_yaml(name, path, device="cpu")
    d, T = pipeline.parts.degradation, LEVELS[name]
    side = 64 if "superres" in name else 32  # of which 6 halvings leave a pixel
    x = images(1, channels=1 if name.endswith("mnist") else 3, height=side, width=side)
    state = d.draw(x, generators(1, 1))
    expected = torch.cat(list(EXPERIMENTS[name](x, state)))
    each = {key: value.expand(T, *value.shape[1:]) for key, value in state.items()}
    t = torch.arange(1, T + 1, dtype=torch.float64) / T
    assert (d.degrade(x.expand(T, -1, -1, -1), t, each) - expected).abs().max() <= 1e-6
    assert torch.equal(d.degrade(x, 0 * t[:1], state), x)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_few_steps_of_each(name: str, folder: Path, tmp_path: Path) -> None:
    pipeline = rethaw.Pipeline.from_yaml(name, small(name, folder), device="cpu")
    assert pipeline.train(tmp_path / "run").finished
    if "generate" in name:
        made: Any = pipeline.generate(2, seed=1)
    else:
        x0 = torch.zeros(2, pipeline.config.restorer.channels, 32, 32)
        state = pipeline.parts.degradation.draw(x0, generators(0, 2))
        made = pipeline.restore(pipeline.parts.degradation.degrade(x0, expand(1.0, x0), state), state=state)
    assert made.shape[1:] == pipeline.walker.image_shape and torch.isfinite(made).all()


def test_the_list_is_grouped() -> None:
    groups = grouped(recipe_names())
    assert list(groups) == list(GROUPS.values()) and sum(map(len, groups.values())) == len(recipe_names())
    assert all(name.startswith("cold-generate-") for name in list(groups.values())[-1])
    printed = command("recipes", cwd=Path()).stdout
    assert printed.index("deblur") < printed.index("cold-blur-celeba") < printed.index("cold-generate-blur-afhq")
    assert "_cold" not in printed and max(map(len, printed.splitlines())) < 200
    assert command("recipes", "cold-blur-mnist", cwd=Path()).stdout.startswith("# Blur of MNIST")
