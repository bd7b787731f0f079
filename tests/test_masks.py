"""Masks in every encoding that programs save them in: one result, or words that say what was understood."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from rethaw.api import RethawError
from rethaw.images import read_mask, read_state
from tests.test_image_depth import deep_png

Array = NDArray[Any]
HARD = np.zeros((40, 60), np.uint8)
HARD[8:20, 10:40] = HARD[30:32, 50:60] = 255
SOFT = np.asarray(Image.fromarray(HARD).resize((60, 40), box=(2, 2, 58, 38), resample=Image.Resampling.BICUBIC))


def rgb(mask: Array) -> Array:
    return np.repeat(mask[..., None], 3, 2)


def painted(mask: Array, colour: int | tuple[int, ...], ground: int | tuple[int, ...] = 0) -> Array:
    """A layer, transparent but where a brush of that colour went; ground: the colour below full transparency."""
    colours = np.where(mask[..., None] > 0, np.broadcast_to(colour, 3), np.broadcast_to(ground, 3))
    return np.dstack([colours, mask]).astype(np.uint8)


def grey_layer(mask: Array, colour: int, ground: int = 0) -> Array:
    return painted(mask, colour, ground)[..., 2:]


def palette(mask: Array, order: tuple[int, int]) -> Image.Image:
    """Black and white at two places of a palette."""
    image = Image.fromarray(np.where(mask > 127, order[1], order[0]).astype(np.uint8)).convert("P")
    colours = [9, 99, 199] * 256
    colours[3 * order[0] : 3 * order[0] + 3], colours[3 * order[1] : 3 * order[1] + 3] = [0] * 3, [255] * 3
    image.putpalette(colours)
    return image


SOFT_TOO: dict[str, Callable[[Array], Any]] = {
    "grey": lambda mask: mask,
    "rgb": rgb,
    "rgba, opaque": lambda mask: np.dstack([rgb(mask), np.full_like(mask, 255)]),
    "grey with alpha, opaque": lambda mask: np.dstack([mask, np.full_like(mask, 255)]),
    "16 bits": lambda mask: mask.astype(np.uint16) * 257,
    "float": lambda mask: mask.astype(np.float32) / 255,
    "painted black": lambda mask: painted(mask, 0),
    "painted white": lambda mask: painted(mask, 255),
    "painted white over white": lambda mask: painted(mask, 255, 255),
    "painted black over white": lambda mask: painted(mask, 0, 255),
    "painted red": lambda mask: painted(mask, (255, 0, 0)),
    "painted green over blue": lambda mask: painted(mask, (0, 255, 0), (0, 0, 255)),
    "painted grey, with alpha": lambda mask: grey_layer(mask, 90),
    "painted black, with alpha": lambda mask: grey_layer(mask, 0, 255),
    "white with its own alpha": lambda mask: np.dstack([rgb(mask), mask]),
}
HARD_ONLY: dict[str, Callable[[Array], Any]] = {
    "1 bit": lambda mask: Image.fromarray(mask).convert("1", dither=Image.Dither.NONE),
    "palette": lambda mask: palette(mask, (0, 1)),
    "palette, other order": lambda mask: palette(mask, (7, 3)),
}


def saved(folder: Path, content: Any, ending: str = "") -> Path:
    image = content if isinstance(content, Image.Image) else Image.fromarray(content)
    path = folder / f"mask{ending or ('.tif' if image.mode == 'F' else '.png')}"
    image.save(path)
    return path


@pytest.mark.parametrize("encoding", [*SOFT_TOO, *HARD_ONLY])
@pytest.mark.parametrize("mask", [HARD, SOFT], ids=["hard", "soft"])
def test_one_mask_in_every_encoding(tmp_path: Path, mask: Array, encoding: str) -> None:
    if mask is SOFT and encoding in HARD_ONLY:
        pytest.skip("holds black and white only")
    found = read_mask(saved(tmp_path, (SOFT_TOO | HARD_ONLY)[encoding](mask)))
    assert found.values.shape == (1, 40, 60) and found.values.dtype == torch.float32
    assert torch.allclose(found.values[0], torch.from_numpy(mask / 255).float(), atol=1e-6)
    assert f"hides {100 * mask.mean() / 255:.3g} % of the picture" in " ".join(found.notes)


@pytest.mark.parametrize("ending", [".png", ".tif", ".bmp", ".gif", ".webp", ".jpg", ".jp2", ".pgm"])
def test_one_mask_in_every_format(tmp_path: Path, ending: str) -> None:
    found = read_mask(saved(tmp_path, HARD, ending))
    assert torch.equal(found.values[0], torch.from_numpy(HARD / 255).float()), (
        (found.values[0] * 255 - torch.from_numpy(HARD)).abs().max()
    )


def test_16_bits_with_alpha(tmp_path: Path) -> None:
    layer = np.dstack([np.full((40, 60, 3), 999), SOFT.astype(int) * 257]).astype(np.uint16)
    found = read_mask(deep_png(tmp_path / "a.png", layer))
    assert torch.allclose(found.values[0], torch.from_numpy(SOFT / 255).float(), atol=1e-6)


RAMP = np.broadcast_to(np.arange(60, dtype=np.uint8)[None, :, None] * 4, (40, 60, 3))
REFUSED: dict[str, tuple[Any, str]] = {
    "red on black": (np.dstack([HARD, 0 * HARD, 0 * HARD]), "is coloured"),
    "red on white": (np.dstack([0 * HARD + 255, 255 - HARD, 255 - HARD]), "is coloured"),
    "a photograph": (np.dstack([RAMP[..., 0], RAMP[::-1, ::-1, 0], SOFT]), "is coloured"),
    "labels in colours": (np.where(rgb(HARD) > 0, (128, 0, 0), 0).astype(np.uint8), "is coloured"),
    "one coloured dot": (
        np.where((np.indices(HARD.shape).sum(0) == 0)[..., None], (255, 0, 0), rgb(HARD)).astype(np.uint8),
        "is coloured",
    ),
    "nothing": (0 * HARD, "hides nothing"),
    "nothing, 16 bits": (HARD.astype(np.uint16) * 0, "hides nothing"),
    "nothing painted": (painted(0 * HARD, 255), "hides nothing"),
    "zeros and ones": (HARD // 255, "nearly black: its brightest value is 1 of 255"),
    "8 bits in 16": (HARD.astype(np.uint16), "nearly black"),
    "a picture with a hole": (np.dstack([RAMP, 255 - HARD]), "several colours"),
    "black and white, part of it transparent": (np.dstack([rgb(HARD), np.roll(255 - HARD, 15)]), "several colours"),
    "half transparent brush": (painted(HARD // 2, 255), "at most 50 % opaque"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_clear_mask_is_refused(tmp_path: Path, kind: str) -> None:
    content, reason = REFUSED[kind]
    with pytest.raises(RethawError, match=reason) as caught:
        read_mask(saved(tmp_path, content))
    assert "mask.png" in caught.value.message and "white where the picture is hidden" in caught.value.hint


def test_what_is_odd_is_said(tmp_path: Path) -> None:
    inverted = read_mask(saved(tmp_path, 255 - HARD))
    assert "if it should hide the rest instead, invert it" in inverted.notes[-1]
    assert "hides all of the picture" in " ".join(read_mask(saved(tmp_path, 0 * HARD + 255)).notes)
    assert "rounded to black and white" in " ".join(read_mask(saved(tmp_path, HARD, ".jpg")).notes)
    assert "transparent layer" in " ".join(read_mask(saved(tmp_path, painted(HARD, 0))).notes)
    assert len(read_mask(saved(tmp_path, HARD)).notes) == 1


def test_other_states_are_read_as_they_are(tmp_path: Path) -> None:
    path = saved(tmp_path, SOFT // 20)
    assert torch.allclose(read_state(path, "depth").values[0], torch.from_numpy(SOFT // 20 / 255).float(), atol=1e-6)
    for key in ("mask", "hole.mask"):
        with pytest.raises(RethawError, match="nearly black"):
            read_state(saved(tmp_path, SOFT // 20), key)


def test_a_missing_mask_is_named(tmp_path: Path) -> None:
    with pytest.raises(RethawError, match=r"gone\.png does not exist"):
        read_mask(tmp_path / "gone.png")
