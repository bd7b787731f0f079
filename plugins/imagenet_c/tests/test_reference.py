"""`imagenet_c.reference`: the published implementation behind rethaw's contract."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import rethaw
from rethaw.api import RethawError
from rethaw.ops import generators

package = pytest.importorskip("imagecorruptions")
NAMES = package.get_corruption_names("all")


def build(name: str, **params: Any) -> Any:
    return rethaw.build("degradation", "imagenet_c.reference", corruption=name, **params)


def images(count: int = 2, channels: int = 3, side: int = 36) -> Tensor:
    drawn = torch.randint(0, 256, (count, channels, side, side + 4), generator=torch.Generator().manual_seed(0))
    return drawn / 127.5 - 1


@pytest.mark.parametrize("name", NAMES)
def test_every_one_is_a_function_of_its_seed(name: str) -> None:
    d, x0, t = build(name), images(), torch.tensor([0.4, 1.0])
    state, before = d.draw(x0, generators(0, 2)), np.random.get_state()[1].tolist()
    first, second = (d.degrade(x0, t, state) for _ in range(2))
    assert torch.equal(first, second) and not torch.equal(first, x0)
    assert torch.equal(d.degrade(x0[1:], t[1:], {"seed": state["seed"][1:]}), first[1:])
    assert np.random.get_state()[1].tolist() == before
    assert torch.equal(d.degrade(x0, torch.zeros(2), state), x0)


def test_it_gives_the_published_numbers() -> None:
    d, x0 = build("snow"), images(1)
    pixels = ((x0[0] + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    for t, level in ((0.05, 1), (0.2, 1), (0.61, 3), (1.0, 5)):
        np.random.seed(7)
        expected = package.corrupt(pixels, corruption_name="snow", severity=level)
        x = d.degrade(x0, torch.tensor([t]), {"seed": torch.tensor([7])})
        assert (((x[0] + 1) * 127.5).round().byte().permute(1, 2, 0).numpy() == expected).all()


def test_the_global_generator_is_restored_when_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        np.random.rand(5)
        raise ValueError("broken")

    monkeypatch.setattr(package, "corrupt", fail)
    before = np.random.get_state()[1].tolist()
    with pytest.raises(RethawError, match=r"raised ValueError .*: broken"):
        build("fog").degrade(images(), torch.ones(2), {"seed": torch.tensor([1, 2])})
    assert np.random.get_state()[1].tolist() == before


def test_threads_do_not_disturb_each_other() -> None:
    d, x0, t = build("gaussian_noise"), images(), torch.ones(2)
    seeds = [{"seed": torch.tensor([2 * i, 2 * i + 1])} for i in range(12)]
    alone = [d.degrade(x0, t, state) for state in seeds]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda state: d.degrade(x0, t, state), seeds))
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


def test_grey_images_stay_grey() -> None:
    d, x0 = build("snow"), images(channels=1)
    assert d.degrade(x0, torch.ones(2), d.draw(x0, generators(0, 2))).shape == x0.shape


def test_what_it_cannot_do_is_refused_by_name() -> None:
    for x0, words in ((images(side=31), "31 × 35 pixels"), (images(channels=4), "4 channels")):
        with pytest.raises(RethawError, match=f"imagenet_c.reference: images of {words}"):
            build("snow").degrade(x0, torch.ones(2), {"seed": torch.tensor([1, 2])})
    with pytest.raises(RethawError, match="corruption"):
        build("rain")


def test_the_package_is_not_imported_before_it_is_used() -> None:
    code = """if True:
        import sys, rethaw
        rethaw.build("degradation", "imagenet_c.reference", corruption="snow")
        rethaw.build("degradation", "imagenet_c.frost")
        print({"imagecorruptions", "cv2", "numba"} & set(sys.modules))"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
