"""PSNR, SSIM and RMSE against their definitions, and that any value of a metric is valid JSON."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

import rethaw
from rethaw.files import json_text
from tests.conftest import Site
from tests.helpers import photos, recipe
from tests.helpers import rethaw as command


def images(count: int, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, 24, 20, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def measured(name: str, *pairs: tuple[Tensor, Tensor]) -> float:
    meter: Any = rethaw.build("metric", name)
    for restored, clean in pairs:
        meter.update(restored, clean)
    return float(meter.compute())


def psnr(restored: Tensor, clean: Tensor) -> list[float]:
    """By hand, in double precision."""
    mse = ((restored.clamp(-1, 1) - clean).double() / 2).square().flatten(1).mean(1)
    return [-10 * math.log10(float(value)) for value in mse]


def test_psnr_is_the_mean_over_images_in_any_batches() -> None:
    clean, noise = images(6), images(6, 1)
    restored = clean + 0.3 * noise * torch.linspace(0.01, 1, 6).view(-1, 1, 1, 1)
    expected = sum(psnr(restored, clean)) / 6
    assert measured("core.psnr", (restored, clean)) == pytest.approx(expected, abs=1e-3)
    split = measured("core.psnr", (restored[:1], clean[:1]), (restored[1:], clean[1:]))
    assert split == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("equal", [1, 2, 5])
def test_equal_pairs_count_as_100_db(equal: int) -> None:
    clean = images(5)
    restored = clean + 0.1
    restored[:equal] = clean[:equal]
    others = sum(psnr(restored[equal:], clean[equal:]))
    assert measured("core.psnr", (restored, clean)) == pytest.approx((100 * equal + others) / 5, abs=1e-3)
    assert measured("core.rmse", (clean, clean)) == 0 and measured("core.ssim", (clean, clean)) == pytest.approx(1)


@pytest.mark.parametrize("tone", [-0.9, 0.0, 0.57, 1.0])
def test_flat_images_have_no_similarity_beyond_one(tone: float) -> None:
    flat = torch.full((2, 3, 40, 40), tone)
    assert measured("core.ssim", (flat, flat)) == pytest.approx(1, abs=1e-7)
    assert measured("core.ssim", (flat + 1e-4 * images(1)[:, :, :1, :1], flat)) <= 1 + 1e-9


@pytest.mark.parametrize("contrast", [0.0, 1e-3, 1.0])
def test_similarity_is_that_of_double_precision(contrast: float) -> None:
    """The variances are differences of squares: what single precision loses shows on flat and faint images."""
    clean = images(4) * contrast + (1 - contrast) * 0.14
    restored = (clean + 0.04 * images(4, 9)).clamp(-1, 1)
    wide = [(each.double() + 1) / 2 for each in (restored, clean)]
    expected = structural_similarity_index_measure(*wide, data_range=1.0, sigma=1.5, reduction="none")
    assert measured("core.ssim", (restored, clean)) == pytest.approx(float(expected.mean()), abs=5e-4)


def test_a_step_of_16_bits_is_below_the_limit_and_the_limit_is_not_crossed() -> None:
    clean = images(1).mul(0.9)
    step = measured("core.psnr", (clean + 2 / 65535, clean))
    assert step == pytest.approx(20 * math.log10(65535), abs=0.05) and step < 100
    assert measured("core.psnr", (clean + 1e-6, clean)) == 100


def test_values_that_are_no_numbers_stay_so() -> None:
    broken = images(2)
    broken[0, 0, 0, 0] = math.nan
    for name in ("core.psnr", "core.ssim", "core.rmse"):
        assert math.isnan(measured(name, (broken, images(2)))) and math.isnan(measured(name))


# --- JSON ---------------------------------------------------------------------------------------------------------


def test_everything_becomes_strict_json() -> None:
    content = {
        "nan": math.nan,
        "inf": [math.inf, -math.inf, (1.5, np.float32("nan"), np.float64("inf"))],
        "numpy": np.array([[1, 2], [3, 4]]),
        "scalar": np.float32(0.5),
        "tensor": torch.tensor([0.25, math.inf]),
        "zero": torch.tensor(3),
        "path": Path("a/b"),
        "set": {1},
        "plain": [None, True, False, 1, "x\u2028é\udce9"],
        3: {None: 1},
    }
    strict = json.loads(json_text(content), parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert strict == {
        "nan": None,
        "inf": [None, None, [1.5, None, None]],
        "numpy": [[1, 2], [3, 4]],
        "scalar": 0.5,
        "tensor": [0.25, None],
        "zero": 3,
        "path": "a/b",
        "set": [1],
        "plain": [None, True, False, 1, "x\u2028é\udce9"],
        "3": {"None": 1},
    }
    assert json_text({"a": 1.0}) == '{\n  "a": 1.0\n}\n'


ODD = """
    from dataclasses import dataclass
    from rethaw.api import *

    @dataclass(frozen=True)
    class Odd:
        '''Odd.

        value: that it finds.
        '''
        value: str = "nan"

    @hookimpl
    def rethaw_metrics():
        return [metric("odd", Odd, target="odd_ops:Odd", summary="Odd.")]
"""
ODD_OPS = """
class Odd:
    higher_is_better = True
    def __init__(self, params): self.value = float(params.value)
    def update(self, restored, clean): pass
    def compute(self): return self.value
"""


@pytest.mark.long
@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_results_json_is_valid_whatever_a_metric_finds(value: str, site: Site, tmp_path: Path) -> None:
    site.add("odd", ODD)
    (site.folder / "odd_ops.py").write_text(ODD_OPS)
    recipe(
        tmp_path, photos(tmp_path / "photos", 2), extra=f"metrics: [core.psnr, {{use: odd.odd, value: '{value}'}}]\n"
    )
    command("train", "small.yaml", "train.steps=1", "--out", "run", cwd=tmp_path, **site.env)
    command("evaluate", "run", "--data", "photos", "-s", "core.direct", cwd=tmp_path, **site.env)
    text = (tmp_path / "run" / "evaluation" / "results.json").read_text()
    rows = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))["rows"]
    assert rows["core.direct"]["odd"] is None and rows["degraded"]["psnr"] > 0
