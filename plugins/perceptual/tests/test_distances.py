"""FID and KID of features against their definitions and torch-fidelity; intervals against repeated draws."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rethaw_perceptual import distances
from rethaw_perceptual.distances import bootstrap_weights, frechet, mmd2, mmd2_of_subsets


def features(n: int, width: int, seed: int = 0, like: Tensor | None = None) -> Tensor:
    """Features as networks give them, correlated and not negative; or noisy ones of those that are given."""
    rng = torch.Generator().manual_seed(seed)
    drawn = torch.randn(n, width, generator=rng, dtype=torch.float64)
    mix = torch.randn(width, width, generator=torch.Generator().manual_seed(9), dtype=torch.float64) / width**0.5
    return (drawn @ mix).relu() if like is None else 0.8 * like + 0.1 + 0.1 * drawn


def fid_by_definition(x: Tensor, y: Tensor, w: Tensor) -> Tensor:
    """Of weighted images, by the eigenvalues of Σ_x Σ_y."""
    n = len(x)
    mx, my = w @ x / n, w @ y / n
    sx, sy = ((x - mx).T * w @ (x - mx) / (n - 1), (y - my).T * w @ (y - my) / (n - 1))
    root = torch.linalg.eigvals(sx @ sy).real.clamp(min=0).sqrt().sum()
    return (mx - my).square().sum() + sx.trace() + sy.trace() - 2 * root


def kid_by_definition(x: Tensor, y: Tensor, w: Tensor, own: bool) -> float:
    """Of images that are drawn w times each, pair by pair."""

    def k(a: Tensor, b: Tensor) -> float:
        return float((a @ b / len(a) + 1) ** 3)

    n = len(x)
    others = [(i, j) for i, j in product(range(n), repeat=2) if i != j]
    times = [float(w[i] * w[j]) for i, j in others]
    means = [np.average([k(a[i], b[j]) for i, j in others], weights=times) for a, b in ((x, x), (y, y), (x, y))]
    if own:
        mine = sum(float(w[i]) * k(x[i], y[i]) for i in range(n)) / n
        means[2] = (1 - 1 / n) * means[2] + mine / n
    return float(means[0] + means[1] - 2 * means[2])


@pytest.mark.parametrize("n, width", [(60, 5), (9, 9), (12, 40)])
def test_fid_is_its_definition_with_many_and_with_few_images(n: int, width: int) -> None:
    y = features(n, width)
    x, ones = features(n, width, 1, y), torch.ones(n, dtype=torch.float64)
    assert float(frechet(x, y)[0]) == pytest.approx(float(fid_by_definition(x, y, ones)), rel=1e-6)
    assert float(frechet(y, y)[0]) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("n, width", [(60, 5), (12, 40)])
def test_an_images_influence_is_the_derivative_by_its_weight(n: int, width: int) -> None:
    y = features(n, width)
    x, ones = features(n, width, 1, y), torch.ones(n, dtype=torch.float64)
    influence = frechet(x, y)[1]
    for seed in range(3):
        step = torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        step = 1e-3 * (step - step.mean())
        slope = (fid_by_definition(x, y, ones + step) - fid_by_definition(x, y, ones - step)) / 2
        assert float(influence @ step) == pytest.approx(float(slope), rel=1e-3, abs=1e-7)


@pytest.mark.parametrize("own", [True, False])
def test_kid_and_its_resamples_are_their_definition(own: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distances, "BLOCK", 3)
    y = features(8, 6)
    x = features(8, 6, 1, y)
    weights = torch.cat([torch.ones(1, 8, dtype=torch.float64), bootstrap_weights(8)[:5]])
    expected = [kid_by_definition(x, y, w, own) for w in weights]
    assert mmd2(x, y, weights, own).tolist() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("own, estimator", [(True, "unbiased"), (False, "u-statistic")])
def test_kid_is_that_of_torch_fidelity(own: bool, estimator: str) -> None:
    kid = pytest.importorskip("torch_fidelity.metric_kid")
    y = features(50, 20)
    x = features(50, 20, 1, y)
    options: dict[str, Any] = {"kid_kernel_poly_degree": 3, "kid_kernel_poly_gamma": None, "kid_kernel_poly_coef0": 1}
    k = [kid.kernel_poly(a.numpy(), b.numpy(), **options) for a, b in ((x, x), (x, y), (y, y))]
    ours = mmd2(x, y, torch.ones(1, 50, dtype=torch.float64), own)
    assert float(ours) == pytest.approx(float(kid.mmd2(*k, mmd_est=estimator)), rel=1e-9)


def test_subsets_are_subsets_and_their_mean_is_the_figure() -> None:
    """The unbiased estimate on a subset is on average that on all; on all of the images as the subset, it is that."""
    y = features(40, 6)
    x = features(40, 6, 1)
    ones = torch.ones(1, 40, dtype=torch.float64)
    assert mmd2_of_subsets(x, y, 3, 40).tolist() == pytest.approx([float(mmd2(x, y, ones))] * 3, rel=1e-9)
    many = mmd2_of_subsets(x, y, 3000, 15)
    assert float(many.mean()) == pytest.approx(float(mmd2(x, y, ones)), abs=4 * float(many.std()) / 3000**0.5)
    assert torch.equal(many, mmd2_of_subsets(x, y, 3000, 15))


def test_a_good_restoration_has_no_kid_by_the_u_statistic_and_less_than_none_as_published() -> None:
    x = features(30, 20)
    ones = torch.ones(1, 30, dtype=torch.float64)
    assert float(mmd2(x, x, ones, own=False)) == pytest.approx(0, abs=1e-9)
    assert float(mmd2(x, x, ones)) < -0.01


def test_resamples_are_draws_of_images_and_the_same_every_time() -> None:
    weights = bootstrap_weights(50)
    assert weights.dtype == torch.float64 and bool((weights.sum(1) == 50).all()) and bool((weights >= 0).all())
    assert float(weights.var(0).mean()) == pytest.approx(1 - 1 / 50, rel=0.05), "multinomial: n p (1 - p)"
    assert torch.equal(weights, bootstrap_weights(50))
    assert len(weights.unique(dim=0)) == len(weights)


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("n, width", [(100, 8), (40, 60)])
def test_intervals_hold_the_figure_that_other_images_would_give(n: int, width: int, paired: bool) -> None:
    """Of 100 data sets, the 95 % intervals of at least 85 hold the mean figure of all, and are not much too wide."""
    at, weights = torch.tensor([0.025, 0.975], dtype=torch.float64), bootstrap_weights(n)
    ones, found = torch.ones(1, n, dtype=torch.float64), []
    for seed in range(100):
        y = features(n, width, 2 * seed)
        x = features(n, width, 2 * seed + 1, y) if paired else 0.9 * features(n, width, 2 * seed + 1) + 0.2
        value, influence = frechet(x, y)
        resampled = torch.stack([value + (weights - 1) @ influence, mmd2(x, y, weights)])
        low, high = resampled.quantile(at, dim=1)
        found.append(torch.stack([torch.stack([value, mmd2(x, y, ones)[0]]), low, high]))
    value, low, high = torch.stack(found).unbind(1)
    covered = ((low <= value.mean(0)) & (value.mean(0) <= high)).double().mean(0)
    assert bool((covered >= 0.85).all()), covered
    width_of_truth = value.quantile(at[1], dim=0) - value.quantile(at[0], dim=0)
    assert bool(((high - low).mean(0) < 2.2 * width_of_truth).all())
