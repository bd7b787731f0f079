"""What every backbone promises the host, which pads and tiles for it, as functions that raise AssertionError.

Each takes a network in float64 whose output depends on its input. The images are textures, one patch repeated: to them
belongs one answer, wherever a window on them begins and however far it goes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

import rethaw
from rethaw.api import Context

PATCH = 3  # steps of the network's grid, the side of what is repeated
LENGTH = 512  # px of a strip, at least: its middle is far from its ends
APART = 0.02  # of the answer's standard deviation: statistics of the whole image feel the borders a little


def any_size_of_its_grid(network: nn.Module, channels: int) -> None:
    """Every image whose sides are multiples of `multiple` comes back in its size, all values finite."""
    for rows, columns in ((1, 1), (1, 3), (2, 1)):
        x = patch(network, channels, rows * grid(network), columns * grid(network))
        out = answer(network, x)
        assert out.shape[-2:] == x.shape[-2:] and torch.isfinite(out).all()


def larger_images_are_no_different(network: nn.Module, channels: int) -> None:
    """Twice as large an image of the same texture gets the same answer, unless `fixed_size` is set."""
    if getattr(network, "fixed_size", False):
        return
    for axis in (-1, -2):
        small, large = (middle(network, channels, axis, length) for length in (LENGTH, 2 * LENGTH))
        apart = difference(small, large)
        assert apart <= APART, f"the answer depends on the image's size (by {apart:.2f}): set fixed_size = True"


def multiple_is_its_grid(network: nn.Module, channels: int) -> None:
    """A window that begins at a multiple of `multiple`, as tiles do, gets the same answer, unless `fixed_size`."""
    if getattr(network, "fixed_size", False):
        return
    for axis in (-1, -2):
        here, there = (middle(network, channels, axis, LENGTH, shift) for shift in (0, grid(network)))
        apart = difference(here, there.roll(grid(network), axis))
        assert apart <= APART, f"shifted by multiple = {grid(network)}, the answer is another (by {apart:.2f})"


BACKBONE_CHECKS: dict[str, Callable[[nn.Module, int], None]] = {
    check.__name__: check for check in (any_size_of_its_grid, larger_images_are_no_different, multiple_is_its_grid)
}


def run_backbone_check(check: str, name: str, params: Mapping[str, Any], channels: int = 3) -> None:
    """One check on a backbone by name. Raises AssertionError where it fails."""
    network = rethaw.build("backbone", name, Context(channels, channels), **params)
    try:
        with torch.no_grad():
            BACKBONE_CHECKS[check](awake(network), channels)
    except AssertionError as error:
        raise AssertionError(f"{name}, {check}: {error}") from error


def check_backbone(name: str, /, **params: Any) -> None:
    """Runs every check on a backbone by name. Raises AssertionError at the first that fails."""
    for check in BACKBONE_CHECKS:
        run_backbone_check(check, name, params)


def backbone_tests(name: str, /, *params: Mapping[str, Any]) -> type:
    """A class of pytest tests: every check, for each set of parameters (by default the defaults)."""
    import pytest

    sets = params or ({},)
    names = [", ".join(f"{k}={v}" for k, v in given.items()) or "defaults" for given in sets]

    class Tests:
        @pytest.mark.parametrize("params", sets, ids=names)
        @pytest.mark.parametrize("check", BACKBONE_CHECKS)
        def test_it_keeps_its_contract(self, params: Mapping[str, Any], check: str) -> None:
            run_backbone_check(check, name, params)

    return Tests


def awake(network: nn.Module) -> nn.Module:
    """The network in float64 and evaluation mode, what starts at zero set to something, as training would."""
    rng = torch.Generator().manual_seed(1)
    network = network.eval().double()
    with torch.no_grad():
        for p in network.parameters():
            if not p.any():
                p.normal_(0, 0.05, generator=rng)
    return network


def grid(network: nn.Module) -> int:
    """Its `multiple`."""
    return int(getattr(network, "multiple", 1))


def patch(network: nn.Module, channels: int, height: int, width: int) -> Tensor:
    """One random image, where the network's weights are."""
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    drawn = torch.rand(1, channels, height, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return (2 * drawn - 1).to(device)


def middle(network: nn.Module, channels: int, axis: int, length: int, shift: int = 0) -> Tensor:
    """The answer to the middle copy of a patch on a strip along an axis; the image begins `shift` pixels later."""
    side = PATCH * grid(network)
    copies = -(-length // side)
    strip = patch(network, channels, side, side).repeat(1, 1, *((1, copies) if axis == -1 else (copies, 1)))
    return answer(network, strip.roll(-shift, axis)).narrow(axis, copies // 2 * side, side)


def difference(first: Tensor, second: Tensor) -> float:
    """The root mean square, as a part of the standard deviation."""
    return float((first - second).square().mean().sqrt() / first.std().clamp_min(1e-12))


def answer(network: nn.Module, x: Tensor) -> Tensor:
    """What the network gives in the middle of the severities, without a condition."""
    out: Tensor = network(x, torch.full((len(x),), 0.5, dtype=x.dtype, device=x.device), {})
    return out
