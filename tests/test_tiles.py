"""Pictures that are restored in tiles: the same image as whole, memory that does not pile up, progress that is told."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import rethaw
from rethaw.config import load_text
from rethaw.engine.restorer.network import Restorer
from rethaw.engine.sampling.batch import Batch
from rethaw.engine.sampling.files import Job, restore_picture
from rethaw.engine.sampling.how import How
from rethaw.images import Picture, read_image
from tests.worlds import images, with_network

NOISE = "degradation: {use: core.gaussian_noise, alpha_bar: linear}"


class Pointwise(nn.Module):
    """A network that sees single pixels, so that tiles can make no difference."""

    multiple = 8

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.channels, self.calls = channels, 0

    def forward(self, x: Tensor, t: Tensor, cond: Mapping[str, Tensor]) -> Tensor:
        assert not x.shape[-1] % 8 and not x.shape[-2] % 8
        self.calls += 1
        hint = cond["image"][:, :3] if "image" in cond else 0
        return (torch.tanh(x + t.view(-1, 1, 1, 1)) / 2 + hint).repeat(1, self.channels // 3, 1, 1)


def pipeline(text: str, tile: int, network: nn.Module) -> rethaw.Pipeline:
    return with_network(rethaw.Pipeline(*load_text(text, [f"restorer.tile={tile}"]), "cpu"), Restorer(network))


@pytest.mark.parametrize(
    ("restorer", "channels", "sampler"),
    [
        ("prediction: x0", 3, "core.cold"),
        ("prediction: edm", 3, "core.edm"),
        ("prediction: eps, variance: learned", 6, "core.ddpm"),
        ("prediction: v, clip: false", 3, "core.ddim"),
    ],
)
@pytest.mark.parametrize("size", [(150, 331), (64, 65), (200, 30)])
def test_tiles_give_the_image_of_the_whole(size: tuple[int, int], restorer: str, channels: int, sampler: str) -> None:
    text = f"{NOISE}\nrestorer: {{{restorer}}}\nsampler: {sampler}"
    x = images(2, height=size[0], width=size[1], dtype=torch.float32)
    z = images(2, height=size[0], width=size[1], seed=1, dtype=torch.float32)
    state = {"z": z} if sampler == "core.cold" else None
    whole, tiled = (
        pipeline(text, tile, Pointwise(channels)).restore(x, state=state, steps=3, seed=1) for tile in (0, 64)
    )
    assert (whole - tiled).abs().max() < 1e-4


def test_guidance_and_an_observed_image_go_into_tiles() -> None:
    text = f"{NOISE}\nguidance: {{scale: 3}}\nconditioner: [{{use: core.image, of: [kornia.pixelate], drop: 0.1}}]"
    x = images(2, height=100, width=140, dtype=torch.float32)
    cond = {"image": images(2, height=100, width=140, seed=2, dtype=torch.float32) / 4}
    whole, tiled, other = (
        pipeline(text, tile, Pointwise()).restore(x, sampler="core.direct", cond=given)
        for tile, given in ((0, cond), (64, cond), (0, {}))
    )
    assert (whole - tiled).abs().max() < 1e-5 < (whole - other).abs().max()


# --- memory ---------------------------------------------------------------------------------------------------------


def peak_of(work: Any) -> int:
    """Bytes by which a piece of work raises the memory of this process, at its highest."""
    status, peak = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not peak.exists():
        pytest.skip("only Linux lets a process begin to measure its peak anew")

    def read(key: str) -> int:
        return next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith(key))

    peak.write_text("5")
    before = read("VmRSS")
    work()
    return read("VmHWM") - before


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_large_picture_needs_little_more_than_itself_and_its_result(mode: str, tmp_path: Path) -> None:
    """12 bytes a pixel each, and some for the files; 70 before tiles were streamed."""
    colours = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(colours).resize((1800, 1500)).convert(mode).save(tmp_path / "large.png", compress_level=1)
    walker = pipeline("degradation: core.desaturate\nsampler: core.direct", 256, Pointwise()).walker

    def work() -> None:
        batch = Batch(walker, tmp_path / "out", Job(strip=True), lambda part: None, lambda text: None)
        assert not batch.run([tmp_path / "large.png"], ["large"]).failed

    work()
    found = peak_of(work) / (1800 * 1500)
    assert found < 45


def test_no_picture_lies_beside_a_large_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{i}.png" for i in range(5)]
    for name in names:
        Image.new("RGB", (64, 64)).save(tmp_path / name)
    walker = pipeline("degradation: core.desaturate\nsampler: core.direct", 0, Pointwise()).walker
    events: list[str] = []
    for limit, most in ((0, 1), (10**9, 4)):
        held = {"now": 0, "most": 0}

        def reading(path: Path, channels: int, held: dict[str, int] = held) -> Picture:
            held["now"] += 1
            held["most"] = max(held["most"], held["now"])
            return read_image(path, channels)

        def done(row: Any, held: dict[str, int] = held) -> None:
            held["now"] -= 1

        monkeypatch.setattr("rethaw.engine.sampling.batch.read_image", reading)
        monkeypatch.setattr("rethaw.engine.sampling.batch.LARGE", limit)
        batch = Batch(walker, tmp_path / "out", Job(), lambda part: None, lambda text: None)
        monkeypatch.setattr(batch, "watch", done)
        report = batch.run([tmp_path / name for name in names], [name[0] for name in names])
        assert len(report.images) == 5
        events.append(str(held["most"]))
        assert held["most"] <= most
    assert events == ["1", events[1]] and int(events[1]) > 1


# --- progress -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", ["core.direct", "core.cold", "core.naive", "core.renoise"])
@pytest.mark.parametrize("tile", [0, 64])
def test_one_picture_is_told_by_steps_and_tiles(sampler: str, tile: int) -> None:
    network = Pointwise()
    walker = pipeline("degradation: core.desaturate", tile, network).walker
    told: list[float] = []
    picture = Picture(images(1, height=160, width=130, dtype=torch.float32)[0], Path("a picture"))
    restore_picture(walker, picture, Job(how=How(sampler, 5)), watch=told.append)
    assert told == sorted(told) and told[0] == 0 and told[-1] == 1
    assert len(set(told)) >= network.calls
    assert max(b - a for a, b in itertools.pairwise(told)) <= 1 / network.calls + 1e-9


@pytest.mark.parametrize("sampler", ["core.edm", "core.flow", "core.repaint", "core.langevin", "core.dpm_solver"])
def test_progress_of_samplers_with_other_numbers_of_calls(sampler: str) -> None:
    """Several calls a step, walks that go up again, steps that are not those of the parameters: never back, to 1."""
    measured = "\nmeasurement: {use: core.identity}" if sampler == "core.repaint" else ""
    walker = pipeline(NOISE + measured, 64, Pointwise()).walker
    told: list[float] = []
    picture = Picture(images(1, height=70, width=80, dtype=torch.float32)[0], Path("a picture"))
    restore_picture(walker, picture, Job(how=How(sampler, 4)), watch=told.append)
    assert told == sorted(told) and told[-1] == 1 and len(set(told)) > 8
