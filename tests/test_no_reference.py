"""Metrics without a clean image: NIQE against its definition and scipy, and the commands on pictures that have none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage, optimize, special, stats

import rethaw
from rethaw.api import RethawError
from rethaw.builtin.metrics.niqe import describe, fitted, generalised
from rethaw.cli.grid import severity_of
from rethaw.engine.evaluation.evaluate import Contestant, evaluate
from rethaw.engine.evaluation.metrics import without_clean
from rethaw.images import find_images, read_image
from tests.helpers import photos, recipe
from tests.helpers import rethaw as command


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Squares of photographs, 128 pixels each."""
    from skimage import data

    folder = tmp_path_factory.mktemp("clean")
    for name in ("coffee", "rocket", "cat"):
        image = getattr(data, name)()
        for i, (y, x) in enumerate((y, x) for y in range(0, 257, 128) for x in range(0, 257, 128)):
            if min(image[y : y + 128, x : x + 128].shape[:2]) == 128:
                Image.fromarray(image[y : y + 128, x : x + 128]).save(folder / f"{name}{i}.png")
    return folder


def astronaut(size: int = 256) -> Any:
    from skimage import data

    return (
        torch.from_numpy(data.astronaut()[:size, 100 : 100 + size].copy()).permute(2, 0, 1)[None].double() / 127.5 - 1
    )


def score(folder: Path, images: Any, patch: int = 32) -> float:
    metric = rethaw.build("metric", "core.niqe", pristine=str(folder), patch=patch)
    metric.update(images)
    return float(metric.compute())


# --- the definition ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "left", "right"), [(0.6, 1.0, 1.0), (1.0, 0.5, 2.0), (2.0, 1.0, 1.5), (4.0, 3.0, 0.7)]
)
def test_the_moment_fit_finds_what_was_drawn_and_solves_its_equation(shape: float, left: float, right: float) -> None:
    rng = np.random.default_rng(0)
    size = np.abs(stats.gennorm.rvs(shape, size=200_000, random_state=rng))
    x = np.where(rng.random(size.size) < left / (left + right), -left * size, right * size)
    found = [float(part) for part in generalised(torch.from_numpy(x)[None])]
    assert found == pytest.approx([shape, left, right], rel=0.05)
    γ = np.sqrt((x[x < 0] ** 2).mean() / (x[x > 0] ** 2).mean())
    wanted = np.abs(x).mean() ** 2 / (x**2).mean() * (γ**3 + 1) * (γ + 1) / (γ**2 + 1) ** 2
    exact = optimize.brentq(
        lambda a: special.gamma(2 / a) ** 2 / special.gamma(1 / a) / special.gamma(3 / a) - wanted, 0.2, 10
    )
    assert abs(found[0] - exact) <= 0.00051
    scale = np.sqrt(special.gamma(1 / found[0]) / special.gamma(3 / found[0]))
    assert found[1] == pytest.approx(np.sqrt((x[x < 0] ** 2).mean()) * scale, rel=1e-9)


def naive_features(grey: Any, side: int) -> Any:
    """The 18 numbers of each patch and each patch's sharpness, one by one in numpy, as the paper writes them."""
    at = np.arange(-3, 4)
    window = np.exp(-(at[:, None] ** 2 + at[None] ** 2) / (2 * (7 / 6) ** 2))
    window /= window.sum()
    mean = ndimage.correlate(grey, window, mode="nearest")
    deviation = np.sqrt(np.abs(ndimage.correlate(grey**2, window, mode="nearest") - mean**2))
    normal, rows, sharpness = np.round((grey - mean) / (deviation + 1), 9), [], []
    for y in range(0, grey.shape[0], side):
        for x in range(0, grey.shape[1], side):
            patch, row = normal[y : y + side, x : x + side], []
            for shift in (None, (0, 1), (1, 0), (1, 1), (1, -1)):
                values = patch if shift is None else patch * np.roll(patch, shift, (0, 1))
                α, left, right = (float(part) for part in generalised(torch.from_numpy(values.copy())))
                η = (right - left) * special.gamma(2 / α) / special.gamma(1 / α)
                row += [α, (left + right) / 2] if shift is None else [α, η, left, right]
            rows.append(row)
            sharpness.append(deviation[y : y + side, x : x + side].mean())
    return np.array(rows), np.array(sharpness)


def naive_description(image: Any, side: int) -> Any:
    grey = np.round(255 * ((image[0].numpy() + 1) / 2 * np.array([0.299, 0.587, 0.114])[:, None, None]).sum(0))
    h, w = (n // side * side for n in grey.shape)
    grey = grey[:h, :w]
    half = Image.fromarray(grey.astype(np.float32)).resize((w // 2, h // 2), Image.Resampling.BICUBIC)
    fine, sharpness = naive_features(grey, side)
    return np.hstack([fine, naive_features(np.asarray(half, np.float64), side // 2)[0]]), sharpness


def test_it_is_the_definition_written_naively(clean: Path) -> None:
    image, side, rows = astronaut(140), 32, []
    for file in find_images([clean])[::2][: len(find_images([clean])) // 2]:
        found, sharpness = naive_description(read_image(file, 3).pixels[None], side)
        rows.append(found[sharpness > 0.75 * sharpness.max()])
    pristine, mine = np.vstack(rows), naive_description(image, side)[0]
    Δ = pristine.mean(0) - mine.mean(0)
    expected = np.sqrt(Δ @ np.linalg.pinv((np.cov(pristine.T) + np.cov(mine.T)) / 2) @ Δ)
    metric = rethaw.build("metric", "core.niqe", pristine=str(clean), patch=side, images=len(find_images([clean])) // 2)
    metric.update(image)
    assert metric.compute() == pytest.approx(expected, rel=2e-3)  # the half image of Pillow is in single precision
    apart = np.abs(describe(image, side)[0][0].numpy()[:, :18] - mine[:, :18])
    assert (apart < 1e-6).mean() > 0.8 and apart.max() < 0.02  # a few pixels at a half are rounded the other way


def test_it_rises_with_blur_noise_and_blocks(clean: Path) -> None:
    image = astronaut()
    for name, params in (
        ("kornia.gaussian_blur", {"sigma_max": 4.0}),
        ("core.gaussian_noise", {}),
        ("kornia.pixelate", {"block_max": 6}),
    ):
        degradation = rethaw.build("degradation", name, **params)
        state = degradation.draw(image, torch.Generator().manual_seed(0))
        t = [torch.tensor([severity], dtype=torch.float64) for severity in (0.0, 0.3, 0.8)]
        found = [score(clean, degradation.degrade(image, at, state)) for at in t]
        assert found[0] < found[1] < found[2], (name, found)


def test_batches_sizes_greys_and_what_cannot_be_judged(clean: Path, tmp_path: Path) -> None:
    image = astronaut(96)
    both = torch.cat([image, image.flip(-1) * 0.7])
    alone = [score(clean, each[None].float()) for each in both]
    metric = rethaw.build("metric", "core.niqe", pristine=str(clean), patch=32)
    for batch in (both, torch.full_like(image, 0.3)):
        metric.update(batch)
    assert metric.compute() == pytest.approx(sum(alone) / 2, rel=1e-6) and metric.images == 2
    assert "could not judge 1 images" in metric.note()
    assert (metric.reference, metric.label, metric.kind) == (False, f"niqe ({clean.name}@32)", "perception")
    grey = image.mean(1, keepdim=True)
    assert score(clean, grey) == pytest.approx(score(clean, grey.expand(-1, 3, -1, -1)), rel=1e-2)
    with pytest.raises(RethawError, match="at least two patches of 96 pixels"):
        score(clean, image, patch=96)
    photos(tmp_path / "few", 1, (64, 64))
    with pytest.raises(RethawError, match=r"needs more than 36 sharp patches of clean pictures, and there are \d+"):
        score(tmp_path / "few", image)
    with pytest.raises(RethawError, match="nowhere"):
        score(tmp_path / "nowhere", image)
    fitted.cache_clear()
    assert score(clean, image) == score(clean, image)
    assert fitted.cache_info()[:2] == (1, 1)  # fitted once


# --- without clean images ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world(clean: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on blur, and pictures that are blurred already."""
    root = tmp_path_factory.mktemp("world")
    rethaw.Pipeline.from_yaml(recipe(root, clean, "{use: kornia.gaussian_blur, sigma_max: 2.0}")).train(root / "run")
    (root / "blurred").mkdir()
    blur = rethaw.build("degradation", "kornia.gaussian_blur", sigma_max=2.0)
    for i in range(2):
        image = blur.degrade(astronaut(96).roll(30 * i, -1), torch.ones(1, dtype=torch.float64), {})[0]
        pixels = ((image.permute(1, 2, 0) + 1) * 127.5).round().clamp(0, 255).byte().numpy()
        Image.fromarray(pixels).save(root / "blurred" / f"{i}.png")
    return root


def test_pictures_without_clean_ones_are_restored_as_they_are_and_judged(clean: Path, world: Path) -> None:
    niqe = f"metrics=[core.psnr, {{use: core.niqe, pristine: {clean}, patch: 32}}]"
    walker = rethaw.Pipeline.load(world / "run", [niqe]).walker
    judging = walker.of(without_clean(walker.parts))
    files = find_images([world / "blurred"])
    report = evaluate(judging, files, {"cold": Contestant(judging)}, clean=False)
    x = torch.cat([read_image(file, 3).pixels[None] for file in files])
    assert report.rows["degraded"] == {"niqe": pytest.approx(score(clean, x))}
    restored = rethaw.Pipeline.load(world / "run").restore(x)
    assert report.rows["cold"]["niqe"] == pytest.approx(score(clean, restored), rel=1e-3)
    assert report.examples == [] and report.images == 2
    both = evaluate(walker, files, {"cold": Contestant(walker)})  # with clean images it stands beside the others
    assert set(both.rows["cold"]) == {"psnr", "niqe"} and both.axes == ("psnr", "niqe")
    for parts, chosen, message in (
        (walker.parts, ["psnr"], "psnr compares with clean images, and there are none"),
        (rethaw.Pipeline.load(world / "run").parts, [], "every metric of the run compares with clean images"),
    ):
        with pytest.raises(RethawError, match=message):
            without_clean(parts, chosen)


@pytest.mark.long
def test_evaluate_and_tune_on_the_command_line(clean: Path, world: Path) -> None:
    niqe = f"{{use: core.niqe, pristine: {clean}, patch: 32}}"
    words = ["run", "--data", "blurred", "--no-reference", "-s", "core.direct", "-s", "core.cold", "--steps", "2"]
    done = command("evaluate", *words, "-m", niqe, "--out", "judged", cwd=world)
    found = json.loads((world / "judged" / "results.json").read_text())
    assert set(found["rows"]) == {"degraded", "core.direct", "core.cold"} and "2 images, severity 1;" in done.stdout
    done = command("tune", *words, "-m", niqe, cwd=world)
    assert "is the lowest of all" in done.stdout and (world / "run" / "tuned.yaml").is_file()
    done = command("evaluate", *words, cwd=world, check=False)
    assert done.returncode == 2 and "every metric of the run compares with clean images" in done.stderr
    done = command("tune", *words, "-m", "core.rmse", cwd=world, check=False)
    assert done.returncode == 2 and "rmse compares with clean images" in done.stderr


@pytest.mark.parametrize("estimates", [False, True])
def test_a_run_that_estimates_severities_does_so_of_pictures_without_clean_ones(estimates: bool) -> None:
    assert severity_of(None, False, estimates) == (None if estimates else 1.0)
    assert severity_of(None, True, estimates) == 1.0 and severity_of(0.5, False, estimates) == 0.5
