"""What a degradation cannot work with is told by `rethaw degrade` in one message that names component and parameter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import refused, run
from tests.helpers import photos


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photograph of 40×32 pixels, one of a single pixel, a mask of another size, an empty folder."""
    folder = photos(tmp_path_factory.mktemp("bad"), 1)
    Image.fromarray(np.zeros((1, 1, 3), np.uint8)).save(folder / "dot.png")
    Image.fromarray(np.eye(8, 9, dtype=np.uint8) * 255).save(folder / "mask.png")
    (folder / "empty").mkdir()
    return folder


@pytest.mark.parametrize(
    "degradation, told",
    [
        ("{use: core.mask, shape: file, path: mask.png}", ["core.mask", "path is 9×8 pixels, the images are 40×32"]),
        ("{use: core.mask, shape: file, path: no.png}", ["core.mask", "no.png"]),
        ("{use: core.fade, colour: [0, 0]}", ["core.fade", "colour has 2 values, the images 3 channels"]),
        ("{use: core.fade, colour: [0, 0, 2]}", ["degradation.colour", "at most 1"]),
        ("{use: animals.blend, path: empty}", ["animals.blend", "empty", "no image"]),
        ("{use: animals.blend, path: nowhere}", ["animals.blend", "nowhere"]),
        ("{use: core.desaturate, span: [0.5, 0.2]}", ["span", "a < b"]),
        ("{use: core.desaturate, span: [0, 1.5]}", ["degradation.span", "at most 1"]),
        ("{use: core.desaturate, schedule: [[0, 0], [1, 1.5]]}", ["degradation.schedule", "at most 1"]),
        ("{use: core.desaturate, schedule: [[0, 0], [0.5, 1], [1, 0.5]]}", ["schedule", "must not fall"]),
        ("{use: core.desaturate, levels: 0}", ["degradation.levels", "at least 1"]),
        ("{use: imagenet_c.snow, severity_max: 6}", ["degradation.severity_max", "at most 5"]),
        ("{use: kornia.cumulative_blur, kernel_size: 4}", ["kernel_size must be odd"]),
    ],
)
def test_mistakes_are_told(place: Path, degradation: str, told: list[str]) -> None:
    (place / "bad.yaml").write_text(f"degradation: {degradation}\n")
    message = refused(run("degrade", "bad.yaml", "0.png", cwd=place))
    for words in told:
        assert words in message


@pytest.mark.parametrize("use", ["core.desaturate", "animals.animorphosis", "imagenet_c.frost", "imagenet_c.saturate"])
def test_one_channel_into_colour_operators(place: Path, use: str) -> None:
    (place / "grey.yaml").write_text(f"degradation: {{use: {use}}}\nrestorer: {{channels: 1}}\n")
    message = refused(run("degrade", "grey.yaml", "0.png", cwd=place))
    assert f"{use} works on 3-channel images, but restorer.channels is 1" in message


def test_a_single_pixel_is_degraded_or_refused_in_words(place: Path) -> None:
    """The sheet tries every degradation: what cannot is left out with a note, and nothing falls over."""
    done = run("degrade", "--all", "dot.png", "--out", "sheet.png", cwd=place)
    assert done.returncode == 0 and (place / "sheet.png").is_file()
    for line in done.stderr.splitlines():
        assert line.startswith("note: ") and "is left out: " in line and "raised" not in line


@pytest.mark.parametrize("severity", ["0", "-0.5", "1.5", "nan"])
def test_severities_outside_are_refused(place: Path, severity: str) -> None:
    from tests.helpers import recipe, rethaw

    if not (place / "run").is_dir():
        recipe(place, place, extra="")
        rethaw("train", "small.yaml", "data.path=.", "train.steps=1", "--out", "run", cwd=place)
    message = refused(run("restore", "run", "0.png", "--severity", severity, cwd=place))
    assert f"severity {float(severity):g} is not in (0, 1]" in message
