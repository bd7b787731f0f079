"""Larger pictures: squares of equal pixels restored as a pixelation, from the command line and from Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

import rethaw
from rethaw.api import RethawError
from rethaw.engine.sampling.enlarging import fit, severity_of
from rethaw.images import enlarged, read_image
from tests.helpers import photos, recipe
from tests.helpers import rethaw as command


def built(use: str, **params: Any) -> Any:
    return rethaw.build("degradation", use, **params)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("enlarging")
    path = recipe(folder, photos(folder / "photos"), "{use: kornia.pixelate, block_max: 4}")
    rethaw.Pipeline.from_yaml(path, ["restorer.enlarge=2"], device="cpu").train(folder / "run")
    return folder


@pytest.mark.parametrize(
    ("use", "params", "expected"),
    [
        ("kornia.pixelate", {"block_max": 4}, {2: 1 / 3, 3: 2 / 3, 4: 1.0}),
        ("kornia.pixelate", {"block_max": 4, "schedule": [[0, 0], [0.5, 1 / 3], [1, 1]]}, {2: 0.5, 3: 0.75}),
        ("kornia.pixelate", {"block_max": 3, "span": [0.5, 1.0]}, {2: 0.75, 3: 1.0}),
        ("kornia.downsample", {"steps": 2, "levels": 2}, {2: 0.5, 4: 1.0}),
        ("core.mixture", {"of": [{"use": "kornia.pixelate", "block_max": 5}]}, {2: 0.25, 5: 1.0}),
    ],
)
def test_the_severity_of_a_ratio_is_found(use: str, params: dict[str, Any], expected: dict[int, float]) -> None:
    d = built(use, **params)
    for ratio, t in expected.items():
        found = fit(d, ratio, 3)
        assert found.exact
        x0 = torch.rand(1, 3, 4 * ratio, 4 * ratio)
        y = F.interpolate(F.avg_pool2d(x0, ratio), scale_factor=ratio, mode="nearest")
        assert (d.degrade(x0, torch.tensor([found.severity]), d.draw(x0, torch.Generator())) - y).abs().max() < 0.02
        assert use == "kornia.downsample" or abs(found.severity - t) < 1e-3


def test_what_another_ratio_costs_is_said() -> None:
    halves = built("kornia.downsample", steps=2, levels=2)
    severity, notes = severity_of(halves, 3, 3)
    assert severity is not None and "trained to enlarge 2 and 4 times; 3 times" in notes[0] and "%" in notes[0]
    with pytest.raises(RethawError, match="trained to enlarge 2 and 3 times and cannot enlarge 4 times"):
        severity_of(built("kornia.pixelate", block_max=3), 4, 3)
    severity, notes = severity_of(built("kornia.gaussian_blur"), 2, 3)
    assert severity is None and "not on loss of resolution" in notes[0]


def small(mode: str, path: Path) -> Path:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 256, (17, 23, 4), dtype=np.uint8)
    values[..., 3] = np.where(rng.random((17, 23)) < 0.3, 0, 255)
    image = Image.fromarray(values)
    if mode == "I;16":
        Image.fromarray(values[..., 0].astype(np.uint16) * 257 + 3).save(path)
    else:
        image.convert(mode).save(path)
    return path


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "I;16"])
def test_files_of_every_kind_become_larger_and_stay_what_they_are(work: Path, tmp_path: Path, mode: str) -> None:
    file = small(mode, tmp_path / "a.png")
    given = read_image(file, 3)
    result = rethaw.Pipeline.load(work / "run", device="cpu").restore(file, enlarge=3)
    result.save(tmp_path / "large.png")
    large = read_image(tmp_path / "large.png", 3)
    assert large.pixels.shape == (3, 51, 69)
    assert (large.grey, large.depth, large.alpha is None) == (given.grey, given.depth, given.alpha is None)
    if given.alpha is not None and large.alpha is not None and given.hidden is not None:
        assert torch.equal(large.alpha[:, ::3, 1::3], given.alpha)
        assert large.hidden is not None and torch.equal(large.hidden, enlarged(given, 3).hidden)  # type: ignore[arg-type]


@pytest.mark.long
def test_the_command_and_python_agree_and_the_pipelines_ratio_is_the_default(work: Path, tmp_path: Path) -> None:
    small("RGB", tmp_path / "a.png")
    words = ("restore", work / "run", "a.png", "--no-strip")
    command(*words, "--enlarge", "4", "--out", "four", cwd=tmp_path)
    pipeline = rethaw.Pipeline.load(work / "run", device="cpu")
    image = Image.open(tmp_path / "four" / "a.png")
    assert image.size == (92, 68)
    pipeline.restore(tmp_path / "a.png", enlarge=4).save(tmp_path / "python.png")
    assert np.array_equal(np.asarray(image), np.asarray(Image.open(tmp_path / "python.png")))
    assert pipeline.restore(tmp_path / "a.png").pixels.shape == (3, 34, 46)
    x = pipeline.tensor(tmp_path / "a.png")
    assert pipeline.restore(x[None]).shape == (1, 3, 34, 46) and pipeline.restore([x], enlarge=1)[0].shape == x.shape
    both = command(*words, "--enlarge", "2", "--degrade", cwd=tmp_path, check=False)
    assert both.returncode == 2 and "--degrade takes clean ones" in both.stderr


def test_it_is_restored_as_the_pixelation_of_that_ratio(work: Path) -> None:
    """In tiles, too: as the same squares are at the severity of the ratio."""
    x = torch.rand(1, 3, 40, 40) * 2 - 1
    for tile in (512, 64):
        pipeline = rethaw.Pipeline.load(work / "run", [f"restorer.tile={tile}"], device="cpu")
        squares = F.interpolate(x, scale_factor=3, mode="nearest")
        expected = pipeline.restore(squares, severity=2 / 3, enlarge=1)
        assert (pipeline.restore(x, enlarge=3) - expected).abs().max() < 1e-3
