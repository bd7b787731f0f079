"""`core.unet`, its small default and ADM's form, and the command that lists backbones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import rethaw
from rethaw.api import Context, RethawError
from rethaw.engine.restorer.network import Restorer
from rethaw.engine.restorer.tiles import tiled
from rethaw.testing import backbone_tests
from rethaw.testing.backbones import BACKBONE_CHECKS, awake
from tests.backbones import COND, falls, heard, images, returns_by_safetensors
from tests.helpers import rethaw as command

ADM: dict[str, Any] = {
    "width": 16,
    "multipliers": [1, 2, 2],
    "blocks": 1,
    "patch": 1,
    "attention": [1, 2],
    "skips": "concat",
    "norm": "group",
    "resample": "residual",
}
FORMS: list[dict[str, Any]] = [{}, ADM]

TestContract = backbone_tests(
    "core.unet", {}, ADM, {"norm": "group", "width": 16}, {"patch": 4, "bands": 0, "width": 16}
)


@pytest.mark.long
@pytest.mark.parametrize("params", FORMS, ids=["default", "adm"])
def test_it_learns_on_photographs(params: dict[str, Any]) -> None:
    before, after = falls("core.unet", params)
    assert after < 0.8 * before


@pytest.mark.parametrize("params", FORMS, ids=["default", "adm"])
def test_severity_and_every_condition_change_the_output(params: dict[str, Any]) -> None:
    heard(rethaw.build("backbone", "core.unet", Context(3, 3, COND), **params))


@pytest.mark.parametrize("params", FORMS, ids=["default", "adm"])
def test_its_weights_return(params: dict[str, Any], tmp_path: Path) -> None:
    returns_by_safetensors(lambda: rethaw.build("backbone", "core.unet", Context(3, 3, COND), **params), tmp_path)


@pytest.mark.parametrize("params", FORMS, ids=["default", "adm"])
@pytest.mark.parametrize("height, width", [(1, 1), (17, 30)])
def test_any_size_and_twice_the_channels_for_a_variance(params: dict[str, Any], height: int, width: int) -> None:
    net = rethaw.build("backbone", "core.unet", Context(3, 6), **params)
    assert tiled(Restorer(net), images(2, height, width), torch.ones(2), {}, None).shape == (2, 6, height, width)


@pytest.mark.parametrize("params", [{}, {"norm": "group"}, {"attention": [0]}, ADM])
def test_attention_is_for_one_size(params: dict[str, Any]) -> None:
    """Statistics over more pixels of the same kind are the same; attention to more of them is not."""
    net = rethaw.build("backbone", "core.unet", Context(3, 3), **params)
    assert net.fixed_size == ("attention" in params)


class Placed(torch.nn.Module):
    """Adds to each pixel its place, along the height or along the width, or what `multiple` hides: a grid of 6."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.multiple, self.scale = how, 4, torch.nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor, t: torch.Tensor, cond: Any) -> torch.Tensor:
        down, across = (torch.arange(n, dtype=x.dtype) for n in x.shape[-2:])
        place = {"rows": 0.01 * down.unsqueeze(1), "columns": 0.01 * across, "grid": (across % 6 == 0).to(x.dtype)}
        return self.scale * (x + place[self.how])


@pytest.mark.parametrize(
    "how, words",
    [("rows", "on the image's size"), ("columns", "on the image's size"), ("grid", "shifted by multiple = 4")],
)
def test_the_kit_finds_a_network_that_does_not_say_so(how: str, words: str) -> None:
    net, told = awake(Placed(how)), []
    for check in BACKBONE_CHECKS.values():
        try:
            check(net, 3)
        except AssertionError as error:
            told.append(str(error))
    assert any(words in each for each in told)
    net.fixed_size = True  # type: ignore[assignment]
    for check in BACKBONE_CHECKS.values():
        check(net, 3)


def test_attention_at_a_level_that_is_not_there_is_refused() -> None:
    with pytest.raises(RethawError, match="levels 0 to 1, not 2"):
        rethaw.build("backbone", "core.unet", Context(3, 3), attention=[2])


@pytest.mark.long
def test_backbones_lists_sizes_and_costs(tmp_path: Path) -> None:
    rows = json.loads(command("backbones", "core", "--size", 32, "--json", cwd=tmp_path).stdout)
    (row,) = (row for row in rows if row["name"] == "core.unet")
    net = rethaw.build("backbone", "core.unet", Context(3, 3))
    assert row["params"] == sum(p.numel() for p in net.parameters())
    assert row["macs"] == pytest.approx(multiply_adds(net, 32), rel=0.01)


def multiply_adds(net: Any, side: int) -> float:
    """Of the convolutions and linear layers, counted by their definition."""
    total = 0.0

    def count(layer: Any, seen: Any, out: torch.Tensor) -> None:
        nonlocal total
        total += out.numel() * layer.weight[0].numel()

    for layer in net.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            layer.register_forward_hook(count)
    net(torch.zeros(1, 3, side, side), torch.ones(1), {})
    return total


@pytest.mark.parametrize(
    "words, told",
    [
        (["xyzzy"], "no backbone matches 'xyzzy'"),
        (["--max-params", "5X"], "500K or 5M, not '5X'"),
        pytest.param(["core", "--max-params", "1K"], "no backbone of at most 1K weights", marks=pytest.mark.long),
    ],
)
def test_backbones_that_are_not_there(words: list[str], told: str, tmp_path: Path) -> None:
    done = command("backbones", *words, cwd=tmp_path, check=False)
    assert done.returncode == 2 and told in done.stderr
