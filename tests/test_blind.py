"""Blind restoration: the estimate of the severity is learnt, saved, resumed, used and told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import rethaw
from rethaw.api import RethawError
from rethaw.engine.restorer.blind import SeverityHead, estimation_loss
from tests.helpers import photos, recipe
from tests.helpers import rethaw as command
from tests.worlds import images

BLUR = "{use: kornia.gaussian_blur, sigma_max: 3.0}"


def test_an_estimate_depends_on_one_image_alone_and_takes_any_size() -> None:
    head = SeverityHead(3, 8)
    for size in ((1, 1), (3, 17), (40, 40)):
        x = images(3, height=size[0], width=size[1], dtype=torch.float32)
        t = head(x)
        assert t.shape == (3,) and 0 < t.min() <= t.max() < 1 and (head(x[1:2]) - t[1:2]).abs().max() < 1e-6


def test_its_loss_trains_the_head_and_counts_nothing() -> None:
    head, x, t = SeverityHead(3, 8), images(4, dtype=torch.float32), torch.tensor([0.1, 0.4, 0.7, 1.0])
    loss = estimation_loss(head, x, t)
    loss.backward()
    assert loss == 0 and all(p.grad is not None and p.grad.abs().max() > 0 for p in head.parameters())


def test_the_restorer_starts_as_it_would_without_it(tmp_path: Path) -> None:
    path = recipe(tmp_path, tmp_path)
    plain, blind = (
        rethaw.Pipeline.from_yaml(path, words).parts.restorer() for words in ([], ["severity.estimate=true"])
    )
    assert blind.blind is not None and plain.blind is None
    assert all(torch.equal(value, blind.state_dict()[key]) for key, value in plain.state_dict().items())


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("blind")
    recipe(root, photos(root / "photos", 12), BLUR, "severity: {estimate: true}\n")
    words = ["train.lr=0.003", "train.batch_size=16", "train.checkpoint_every=1000"]
    rethaw.Pipeline.from_yaml(root / "small.yaml", [*words, "train.steps=200"]).train(root / "run")
    rethaw.Pipeline.from_yaml(root / "small.yaml", ["train.steps=1", "severity.estimate=false"]).train(root / "told")
    return root


def test_it_learns_how_degraded_an_image_is(work: Path) -> None:
    pipeline = rethaw.Pipeline.load(work / "run")
    data = pipeline.parts.data()
    clean = torch.stack([data.item(i, torch.Generator().manual_seed(i))["image"] for i in range(12)])
    t = torch.linspace(0.15, 0.95, 12)
    x_t = pipeline.parts.degradation.degrade(clean, t, {})
    found = pipeline.estimate(x_t).cpu()
    assert (found - t).abs().mean() < 0.15 < (t - t.mean()).abs().mean()  # against knowing only the mean
    both = torch.stack([t, found])
    assert torch.corrcoef(both)[0, 1] > 0.8


def test_each_image_of_a_batch_is_restored_from_its_own_severity(work: Path) -> None:
    pipeline = rethaw.Pipeline.load(work / "run")
    x = images(3, height=16, width=16, dtype=torch.float32)
    found = pipeline.estimate(x)
    by_name = pipeline.restore(x, found)
    assert torch.equal(pipeline.restore(x), by_name)
    one_by_one = torch.cat([pipeline.restore(x[i : i + 1], float(found[i])) for i in range(3)])
    assert (by_name - one_by_one).abs().max() < 2 / 255
    assert torch.equal(pipeline.restore(x, 1.0), pipeline.restore(x, torch.ones(3)))
    told = rethaw.Pipeline.load(work / "told")
    assert torch.equal(told.restore(x), told.restore(x, 1.0)), "without a head, full severity"
    with pytest.raises(RethawError, match=r"severity 0 is not in \(0, 1\]"):
        pipeline.restore(x, torch.tensor([0.5, 0.0, 1.0]))


def test_restore_says_what_it_estimated(work: Path) -> None:
    done = command("restore", "run", "photos/0.png", "photos/1.png", "--out", "blind", cwd=work)
    rows = json.loads((work / "blind" / "report.json").read_text())["images"]
    for row in rows:
        assert row["estimated"] and 0 < row["severity"] < 1
        assert f"severity {row['severity']:.2f}, as the run estimates it" in done.stdout
    done = command("restore", "run", "photos/0.png", "--severity", "0.4", "--out", "given", cwd=work)
    (row,) = json.loads((work / "given" / "report.json").read_text())["images"]
    assert row["severity"] == 0.4 and "estimated" not in row and "estimates" not in done.stdout
    command("restore", "told", "photos/0.png", "--out", "one", cwd=work)
    assert json.loads((work / "one" / "report.json").read_text())["images"][0]["severity"] == 1.0
