"""The metrics of pyiqa: what is told where it or its weights are missing, how it is called, and itself where it is."""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from rethaw.api import RethawError
from rethaw_pyiqa import metrics, plugin

NAMES = {"niqe": "Niqe", "brisque": "Brisque", "musiq": "Musiq", "clipiqa": "ClipIqa"}
FAKE = """
CALLS = []
def create_metric(name, device, **options):
    CALLS.append((name, str(device), options))
    print("Loading pretrained model")
    return lambda images: images.mean((1, 2, 3))[:, None]
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A stand-in for the package, which says the mean brightness."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "pyiqa.py").write_text(FAKE)
    monkeypatch.delitem(sys.modules, "pyiqa", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    metrics.loaded.cache_clear()
    yield importlib.import_module("pyiqa")
    sys.modules.pop("pyiqa", None)
    metrics.loaded.cache_clear()


def made(name: str, weights: Path | None = None) -> Any:
    return getattr(metrics, NAMES[name])(getattr(plugin, NAMES[name])(weights))


def test_the_plugin_declares_what_it_builds() -> None:
    specs = {spec.name: spec for spec in plugin.rethaw_metrics()}
    assert set(specs) == set(NAMES)
    for name, spec in specs.items():
        assert getattr(metrics, spec.target.partition(":")[2]).name == name
        assert metrics.Judge.reference is False


@pytest.mark.parametrize("name", NAMES)
def test_what_is_missing_is_told(name: str, fake: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = getattr(metrics, NAMES[name]).file
    with pytest.raises(
        RethawError, match=rf"the weights of pyiqa\.{name} are not at .*{file}(.|\n)*Put the file from https"
    ):
        made(name)
    with pytest.raises(RethawError, match="are not at nowhere"):
        made(name, Path("nowhere"))
    monkeypatch.setattr(metrics, "find_spec", lambda name: None)
    with pytest.raises(RethawError, match=r"needs the package pyiqa, which is not installed\n  Run: pip install pyiqa"):
        made(name)


@pytest.mark.parametrize("name", NAMES)
def test_images_are_handed_over_as_pyiqa_takes_them(name: str, fake: Any, tmp_path: Path, capsys: Any) -> None:
    cls = getattr(metrics, NAMES[name])
    place = tmp_path / "hub" / cls.folder / cls.file
    place.parent.mkdir(parents=True)
    torch.save({"params": torch.zeros(1)}, place)
    meter = made(name)
    assert meter.compute() != meter.compute()  # NaN
    images = torch.rand(4, 4, 8, 8, generator=torch.Generator().manual_seed(0)) * 3 - 1.5
    for batch in images.split(3):
        meter.update(batch)
    expected = float(((images[:, :3].clamp(-1, 1) + 1) / 2).mean())
    assert meter.compute() == pytest.approx(expected, abs=1e-6) and meter.images == 4
    assert [(name, "cpu", {cls.option: str(place)})] == fake.CALLS  # loaded once
    assert capsys.readouterr().out == ""


class Evil:
    """A pickle that would run code."""

    def __reduce__(self) -> Any:
        return print, ("CODE WAS RUN",)


@pytest.mark.parametrize("name", ["brisque", "musiq"])
def test_a_pickle_that_runs_code_is_refused(name: str, fake: Any, tmp_path: Path, capsys: Any) -> None:
    file = tmp_path / "bad.pth"
    torch.save(Evil(), file)
    with pytest.raises(RethawError, match=r"does not hold the weights of pyiqa\.(.|\n)*would run code is refused"):
        made(name, file).update(torch.zeros(1, 3, 8, 8))
    assert "CODE" not in capsys.readouterr().out and fake.CALLS == []


@pytest.mark.long
@pytest.mark.skipif(find_spec("pyiqa") is None, reason="pyiqa is not installed")
def test_niqe_of_pyiqa_agrees_with_core_niqe(tmp_path: Path) -> None:
    """By one pristine model, fitted here: within 2 %, since the two halve an image with other borders."""
    from scipy.io import savemat
    from skimage import data

    from rethaw.builtin.metrics.niqe import Gaussian, describe, distance, gaussian

    def picture(name: str, at: int = 0) -> Any:
        return torch.from_numpy(getattr(data, name)()[at:, at:].copy()).permute(2, 0, 1)[None].float() / 127.5 - 1

    names = ("coffee", "rocket", "cat", "immunohistochemistry", "hubble_deep_field")
    rows = torch.cat([describe(picture(name, at), 96)[0][0] for name in names for at in (0, 32, 64)])
    clean = Gaussian(rows.mean(0), torch.cov(rows.T))
    savemat(tmp_path / "own.mat", {"mu_prisparam": clean.mean.numpy(), "cov_prisparam": clean.cov.numpy()})
    for name in ("astronaut", "chelsea"):
        meter = made("niqe", tmp_path / "own.mat")
        meter.update(picture(name))
        assert meter.compute() == pytest.approx(
            float(distance(gaussian(describe(picture(name), 96)[0]), clean)), rel=0.02
        )
