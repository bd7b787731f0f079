"""Runs whose plugins are gone: what the work at hand does not use may be absent, and is named where it is used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import rethaw
from rethaw.api import RethawError
from rethaw.config import load_config
from rethaw.engine.run import find_run
from tests.conftest import Site, refused, run
from tests.helpers import photos, recipe

ACME = """
    from dataclasses import dataclass
    from rethaw.api import *

    @dataclass(frozen=True)
    class Params:
        '''What is called Acme.

        level: of everything.
        '''
        level: float = 0.5

    @hookimpl
    def rethaw_datasets():
        return [dataset("flat", Params, target="{module}_ops:Flat", summary="One colour.")]

    @hookimpl
    def rethaw_metrics():
        return [metric("worst", Params, target="{module}_ops:Worst", summary="The largest error.")]
"""
OPS = """
import torch

class Flat:
    def __init__(self, params):
        self.level = params.level

    def __len__(self):
        return 4

    def item(self, index, generator):
        return {"image": torch.full((3, 16, 16), self.level), "path": str(index)}

class Worst:
    def __init__(self, params):
        self.value = torch.zeros(())

    def update(self, image, clean):
        self.value = torch.maximum(self.value, (image - clean).abs().max())

    def compute(self):
        return self.value
"""
MEASURED = "metrics: [core.psnr, {use: acme.worst, level: 0.25}]\n"


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was trained on acme.flat and is measured by acme.worst."""
    folder = tmp_path_factory.mktemp("absent")
    site = Site(folder / "site")
    site.add("acme", ACME, distribution="acme-for-rethaw")
    (site.folder / "acme_for_rethaw_ops.py").write_text(OPS)
    recipe(folder, photos(folder / "photos", 2), extra=MEASURED)
    words = ("train", "small.yaml", "data={use: acme.flat}", "--out", "runs/flat")
    done = run(*words, cwd=folder, env=site.env)
    assert done.returncode == 0, done.stderr
    return folder


def test_restoring_needs_neither_dataset_nor_metric(work: Path) -> None:
    done = run("restore", "runs/flat", "photos", "--no-strip", "--out", "out", cwd=work)
    assert done.returncode == 0, done.stderr
    assert (work / "out" / "0.png").is_file()
    assert "core" in json.loads((work / "out" / "report.json").read_text())["plugins"]


@pytest.mark.parametrize("words", [("evaluate", "runs/flat", "--data", "photos"), ("train", "runs/flat", "--resume")])
def test_what_uses_them_names_what_to_install(words: tuple[str, ...], work: Path) -> None:
    told = refused(run(*words, cwd=work))
    assert "acme-for-rethaw==1.0" in told and "which is not installed" in told
    assert "resolved.yaml:" in told


def test_the_parts_that_are_absent_stay_in_the_pipeline(work: Path, tmp_path: Path) -> None:
    pipeline = rethaw.Pipeline.load(work / "runs" / "flat", device="cpu")
    with pytest.raises(RethawError, match=r"acme\.flat is in acme-for-rethaw"):
        pipeline.parts.data()
    with pytest.raises(RethawError, match=r"acme\.worst is in acme-for-rethaw"):
        pipeline.parts.metrics()
    pipeline.save(tmp_path / "copy")
    again = rethaw.Pipeline.load(tmp_path / "copy", device="cpu")
    x = torch.zeros(1, 3, 16, 16)
    assert torch.equal(again.restore(x), pipeline.restore(x))
    assert again.config.absent["data"].written == {"id": "flat", "use": "acme.flat", "level": 0.5}
    assert again.config.absent["metrics"].written[1] == {"id": "worst", "use": "acme.worst", "level": 0.25}
    with pytest.raises(RethawError, match="no installed plugin"):
        rethaw.Pipeline.load(work / "runs" / "flat", ["sampler=nowhere.walk"])


@pytest.mark.parametrize("name", ["runs/flatt", "runs/flt", "flatt", "./runs/flaat", "owner/flat"])
def test_a_mistyped_run_suggests_the_nearest(name: str, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command looks for its run by one of these two."""
    monkeypatch.chdir(work)
    with pytest.raises(RethawError) as caught:
        load_config(name)
    assert "Did you mean runs/flat?" in caught.value.hint

    def no_hub(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.snapshot_download", no_hub)
    with pytest.raises(RethawError) as caught:
        find_run(name)
    assert "Did you mean runs/flat?" in caught.value.hint


def test_a_name_in_runs_is_never_asked_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: pytest.fail("asked the hub"))
    for name in ("runs/deblur", "~nobody/runs/deblur", "nowhere", "a/b/c"):
        with pytest.raises(RethawError, match="is not a run folder"):
            find_run(name)
