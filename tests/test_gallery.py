"""`make gallery`: its table is valid, a smallest run makes a page, what is done stays, what fails is told."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from rethaw.api import RethawError
from rethaw.config import load_text
from rethaw.config.components import parse_component
from tests.bench.gallery import figures, images, page
from tests.bench.gallery.exhibits import Effort, Exhibit, exhibits
from tests.bench.gallery.judges import Judges
from tests.bench.gallery.making import make
from tests.bench.gallery.views import VIEWS
from tests.helpers import TINY, env

ROOT = Path(__file__).parents[1]
LEAST = Effort(1e-6, 4, 2, tuple(TINY))
FOLDERS = {
    "mnist-train-20k.tar": ("mnist/train", [str(digit) for digit in range(10)], 28, "L"),
    "mnist-val-1k.tar": ("mnist/val", [str(digit) for digit in range(10)], 28, "L"),
    "cifar10-train-25k.tar": ("cifar10/train", ["cat", "dog"], 32, "RGB"),
    "cifar10-val-1k.tar": ("cifar10/val", ["cat", "dog"], 32, "RGB"),
    "faces-animal-ref.tar": ("animal_faces", ["cat", "dog"], 40, "RGB"),
    "faces-human-ref.tar": ("human_faces", ["female", "male"], 40, "RGB"),
}


def archive(path: Path, folder: str, classes: list[str], size: int, mode: str) -> None:
    """A tar like those of the real data, with three images of each class."""
    rng = np.random.default_rng(0)
    with tarfile.open(path, "w") as tar:
        for name in (f"{folder}/{label}/{i}.png" for label in classes for i in range(3)):
            file = io.BytesIO()
            Image.fromarray(rng.integers(0, 256, (size, size, 3), dtype=np.uint8)).convert(mode).save(file, "PNG")
            info = tarfile.TarInfo(name)
            info.size = file.tell()
            file.seek(0)
            tar.addfile(info, file)


@pytest.fixture(scope="module")
def tars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tars")
    for name, content in FOLDERS.items():
        archive(folder / name, *content)
    return folder


@pytest.mark.parametrize("exhibit", exhibits().values(), ids=exhibits())
def test_every_exhibit_is_valid(exhibit: Exhibit) -> None:
    effort = Effort(0.5, 1, 1, ("backbone.width=64", "train.batch_size=128", "train.workers=2"), finest=True)
    config, registry = load_text(exhibit.yaml(Path("/images")), effort.of(exhibit))
    assert str(config.data.params.path).startswith("/images/")  # type: ignore[union-attr]
    assert config.train.steps == exhibit.pipeline["train"]["steps"] // 2
    for tree in exhibit.contestants.values():
        params = {key: value for key, value in tree.items() if key not in ("use", "guidance")}
        assert parse_component(str(tree["use"]), "sampler", registry, params).use == tree["use"]
    assert set(exhibit.pictures) <= set(VIEWS) and exhibit.shows
    assert bool(exhibit.condition) == bool(config.conditioner)
    assert exhibit.kind == "restoration" or config.train.loss == "l2" or "published" in exhibit.name


def test_the_page_tells_what_is_done_what_failed_and_what_is_not_made(tmp_path: Path) -> None:
    chosen = [exhibits()[name] for name in ("noise-mnist", "snow-cifar10", "deblur-mnist")]
    training = {"steps": 3, "batch": 8, "seconds": 61.2, "weights": 1e6, "device": "a <GPU>", "overrides": ["a=1"]}
    rows = {label: {"KID (lite0@96)": [0.51, 0.4, None], figures.READ: 0.875} for label in chosen[0].contestants}
    rows[figures.REAL] = {"KID (lite0@96)": [0.01], figures.SPREAD: "1 2"}
    found = {"rows": rows, "images": 7, "pictures": {"walk": "w.png"}, "pipeline": "a: b\n", "measuring": 2.0}
    found |= {"training": training, "judges": {"classes": ["0", "1"], "accuracy": [0.99, 0.985]}}
    (tmp_path / "noise-mnist.json").write_text(json.dumps(found))
    (tmp_path / "snow-cifar10.json").write_text(json.dumps({"error": "no <snow> today"}))
    page.write(chosen, tmp_path)
    text, html = ((tmp_path / name).read_text("utf-8") for name in ("README.md", "index.html"))
    for shown in (text, html):
        assert "failed" in shown and "not made yet" in shown and "99.0% and 98.5%" in shown and "87.5%" in shown
    assert "| DDIM, 50 steps | 0.510 (0.400 to –) | 87.5% |  |" in text
    assert "| 3 × 8, 61 s | DDIM, 50 steps | 0.510 | 0.010 | 87.5% |" in text
    assert "no <snow> today" in text and "no &lt;snow&gt; today" in html and "<snow>" not in html
    assert "![Gaussian noise → digits: walk](w.png)" in text and '<img src="w.png"' in html


@pytest.mark.long
def test_two_exhibits_make_a_page(tars: Path, tmp_path: Path) -> None:
    data, out = images.prepared(tars, tmp_path / "out" / "data"), tmp_path / "out"
    short = {"DDIM, 2 steps": {"use": "core.ddim", "steps": 2}}
    chosen = [replace(exhibits()["noise-mnist"], contestants=short), exhibits()["superres-cifar10"]]
    for exhibit in chosen:
        make(exhibit, LEAST, data, out, torch.device("cpu"))
    page.write([*chosen, exhibits()["snow-cifar10"]], out)
    text, html = ((out / name).read_text("utf-8") for name in ("README.md", "index.html"))
    assert "not made yet" in text
    for exhibit in chosen:
        found = json.loads((out / f"{exhibit.name}.json").read_text("utf-8"))
        assert set(found["pictures"]) == set(exhibit.pictures)
        for file in found["pictures"].values():
            assert Image.open(out / file).size[0] > 100 and f"]({file})" in text and f'src="{file}"' in html
        assert all(label in text and label in found["rows"] for label in exhibit.contestants)
        assert any(column.startswith("KID (lite0") for column in found["rows"][figures.REAL])
        assert found["training"]["steps"] == 1 and not (out / "runs" / exhibit.name / "checkpoint.pt").exists()
        load_text(found["pipeline"])
    weights = (out / "runs" / "noise-mnist" / "model.safetensors").stat().st_mtime_ns
    make(chosen[0], LEAST, data, out, torch.device("cpu"))
    assert (out / "runs" / "noise-mnist" / "model.safetensors").stat().st_mtime_ns == weights, "it was trained again"


def test_archives_stay_in_their_folder_and_are_asked_for_by_name(tars: Path, tmp_path: Path) -> None:
    images.prepared(tars, tmp_path / "data")
    assert len(list((tmp_path / "data" / "faces").rglob("*.png"))) == 6
    assert {file.parent.name for file in (tmp_path / "data" / "faces").rglob("*.png")} == {"train", "val"}
    with tarfile.open(tmp_path / "mnist-train-20k.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("../outside.png"))
    with pytest.raises(tarfile.OutsideDestinationError):
        images.prepared(tmp_path, tmp_path / "other")
    with pytest.raises(RethawError, match=r"mnist-train-20k\.tar"):
        images.prepared(tmp_path / "nowhere", tmp_path / "third")


class Says(nn.Module):
    """A classifier that reads a number from the first pixel, as surely as the second pixel says."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        at = (x[:, 0, 0, 0] * 10).round().long()
        return nn.functional.one_hot(at, 10) * 20 * x[:, 0, 0, 1:2]


def test_digits_count_where_both_are_sure_of_the_same() -> None:
    x = torch.zeros(4, 3, 8, 8)
    x[:, :, 0, 0] = torch.tensor([0.1, 0.1, 0.3, 0.7])[:, None]
    x[:, :, 0, 1] = torch.tensor([1.0, 0.0, 1.0, 1.0])[:, None]
    judges = Judges((Says(), Says()), tuple("0123456789"), (1.0, 1.0))
    assert judges.share(x) == 0.75
    assert judges.spread(x) == [0, 1, 0, 1, 0, 0, 0, 1, 0, 0]
    assert judges.agreement(x[[0, 2, 3]], ["1", "3", "0"]) == pytest.approx(2 / 3)


def test_the_nearest_may_be_mirrored() -> None:
    among = torch.rand(5, 3, 8, 8)
    found, distance = figures.to_nearest(among[[3, 1]].flip(3) - 0.02, among)
    assert torch.equal(found, among[[3, 1]].flip(3))
    assert distance.tolist() == pytest.approx([0.01, 0.01], abs=1e-3)


@pytest.mark.long
def test_a_failure_is_told_and_stops_nothing(tars: Path, tmp_path: Path) -> None:
    shutil.rmtree(images.prepared(tars, tmp_path / "data") / "cifar10" / "val")
    options = ["--data", str(tars), "--out", str(tmp_path), "--scale", "1e-6", "--images", "4", "--jobs", "2"]
    chosen = ["--only", "superres-cifar10", "inpaint-mnist", "--judge-steps", "2", "--device", "cpu", *TINY]
    command = [sys.executable, "-m", "tests.bench.gallery", *options, *chosen]
    ran = subprocess.run(command, cwd=ROOT, env=env(), capture_output=True, text=True, timeout=300)
    assert ran.returncode == 1, ran.stderr
    assert "inpaint-mnist: done" in ran.stdout and "superres-cifar10: failed" in ran.stdout
    text = (tmp_path / "README.md").read_text("utf-8")
    assert "It failed:" in text and "](inpaint-mnist-walk.png)" in text
