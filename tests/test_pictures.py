"""The pictures that people look at: sizes, places of the pixels, and files that are whole or not there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageSequence
from torch import Tensor

from rethaw.api import RethawError
from rethaw.pictures import layout as pictures
from rethaw.pictures import plot
from rethaw.pictures.layout import before_after, grid, save, save_animation, sheet, strip, to_pil
from rethaw.pictures.plot import curve


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def has(canvas: Image.Image, cell: Image.Image) -> bool:
    """Whether the cell is somewhere in the canvas, unchanged."""
    page, part = np.asarray(canvas.convert("RGB")), np.asarray(cell.convert("RGB"))
    high, wide = part.shape[:2]
    corners = np.argwhere((page == part[0, 0]).all(2))
    return any(np.array_equal(page[y : y + high, x : x + wide], part) for y, x in corners)


def times(cell: Image.Image, factor: int) -> Image.Image:
    return cell.resize((cell.width * factor, cell.height * factor), Image.Resampling.NEAREST)


def test_to_pil() -> None:
    values = np.asarray(to_pil(torch.tensor([[[-9.0, -1, 0.2 / 127.5, 1, 9, torch.nan]]])))
    assert values.tolist() == [[0, 0, 128, 255, 255, 0]]
    assert to_pil(noise(3, 4, 6)).size == (6, 4) and to_pil(noise(1, 3, 4, 6).bfloat16()).mode == "RGB"
    assert to_pil(noise(5, 1, 8, 8)).width > 8
    with pytest.raises(RethawError, match="not \\(2, 4, 4\\)"):
        to_pil(noise(2, 4, 4))


def test_strip_enlarges_small_images_and_wraps_many() -> None:
    few = strip([noise(3, 32, 32), noise(1, 32, 32)], ["clean", "grey"])
    assert has(few, times(to_pil(noise(3, 32, 32)), 4)) and has(few, times(to_pil(noise(1, 32, 32)), 4))
    assert strip([noise(3, 32, 32)], ["x"], zoom=2).width < few.width
    many = strip([noise(3, 16, 16, seed=i) for i in range(30)], [f"t = {i}" for i in range(30)], "title")
    assert many.width <= 1800 and many.height > 3 * 128
    assert all(has(many, times(to_pil(noise(3, 16, 16, seed=i)), 8)) for i in (0, 13, 29))


def test_strip_reduces_large_images_and_takes_several_sizes() -> None:
    assert strip([torch.zeros(1, 40, 2000), torch.zeros(1, 20, 100)], ["a", "b"]).width <= 1800
    with pytest.raises(RethawError, match="no image"):
        strip([], [])


def test_grid_and_sheet() -> None:
    rows = [[noise(3, 64, 48, seed=3 * i + j) for j in range(3 - i)] for i in range(2)]
    table = grid(rows, ["clean", "degraded, with a very long name of a row"], ["t = 0.5", "t = 1", ""])
    assert all(has(table, times(to_pil(image), 2)) for row in rows for image in row)
    batch = torch.stack([noise(1, 64, 64, seed=i) for i in range(7)])
    assert sheet(batch).size == (3 * 68 + 4, 3 * 68 + 4) and sheet(batch, columns=7).size == (7 * 68 + 4, 72)
    assert all(has(sheet(batch), to_pil(image)) for image in batch)


def test_before_after_shows_the_same_detail_of_each() -> None:
    a, b = noise(3, 40, 40), noise(1, 40, 40, seed=1)
    picture = before_after([("degraded", "20.0 dB", a), ("restored", "", b)], (10, 8, 20, 18))
    inner = (34, 34, 286, 286)  # without the frame
    for image in (a, b):
        detail = times(to_pil(image[:, 8:18, 10:20]), 32)
        assert has(picture, detail.crop(inner))
    assert before_after([("a", "b", noise(3, 2, 300))]).width > 300
    with pytest.raises(RethawError, match="not inside"):
        before_after([("", "", a)], (0, 0, 41, 10))
    with pytest.raises(RethawError, match="one size"):
        before_after([("", "", a), ("", "", noise(3, 8, 8))])


@pytest.mark.parametrize("log_y", [False, True])
@settings(deadline=None, max_examples=20)
@given(values=st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), min_size=1, max_size=9))
def test_any_curve_is_drawn_or_refused(log_y: bool, values: list[float]) -> None:
    try:
        picture = curve(list(enumerate(values)), "loss", "step", "l1", log_y)
    except RethawError:
        assert not any(np.isfinite(v) and (v > 0 or not log_y) for v in values)
        return
    assert picture.size == (800, 460)


@given(low=st.floats(-1e6, 1e6), span=st.floats(1e-3, 1e6))
def test_ticks_are_few_and_embrace_the_values(low: float, span: float) -> None:
    ticks = plot._ticks(low, low + span, 5)
    slack = 1e-6 * (span + abs(low))
    assert 2 <= len(ticks) <= 8 and ticks == sorted(ticks)
    assert ticks[0] <= low + slack and ticks[-1] >= low + span - slack


def test_ticks_are_round() -> None:
    assert plot._ticks(0.03, 0.43, 5) == [0, 0.1, 0.2, 0.3, 0.4, 0.5]
    assert [round(10**t, 6) for t in plot._decades(-1.2, -0.2)] == [0.05, 0.1, 0.2, 0.5, 1]


def test_letters_that_the_font_lacks_are_spelt() -> None:
    assert pictures.spelt("σ → ½ é 猫") == "sigma -> 1?2 e ?"
    assert "…" in pictures._wrapped("w" * 99, 15, 100) and pictures._wrapped("a b", 15, 500) == "a b"


# --- files -------------------------------------------------------------------------------------------------


def frames(count: int, channels: int = 3) -> Iterator[Tensor]:
    yield from (noise(channels, 32, 32, seed=i) * i / count for i in range(count))


@pytest.mark.parametrize(("ending", "first"), [(".gif", 300), (".webp", 0), (".png", 300), (".apng", 300)])
def test_animation(tmp_path: Path, ending: str, first: int) -> None:
    save_animation(frames(10), tmp_path / f"a{ending}", seconds=3, hold=2)
    movie = Image.open(tmp_path / f"a{ending}")
    assert (movie.n_frames, movie.size) == (10, (256, 256))  # type: ignore[attr-defined]
    assert movie.info.get("loop") == 0 and (not first or movie.info["duration"] == first)
    shown = [int(frame.info["duration"]) for frame in ImageSequence.Iterator(movie) if frame.load() is not None]
    assert shown == [300] * 9 + [2300]


def test_grey_animation_is_exact_and_colour_near(tmp_path: Path) -> None:
    for channels, tolerance in ((1, 0), (3, 12)):
        save_animation(frames(6, channels), tmp_path / "a.gif")
        movie = Image.open(tmp_path / "a.gif")
        for i, frame in enumerate(frames(6, channels)):
            movie.seek(i)
            expected = np.asarray(times(to_pil(frame).convert("RGB"), 8)).astype(int)
            assert np.abs(np.asarray(movie.convert("RGB")) - expected).mean() <= tolerance


def test_too_many_frames_are_thinned(tmp_path: Path) -> None:
    save_animation(frames(60), tmp_path / "a.gif", seconds=0.5, hold=0)
    movie = Image.open(tmp_path / "a.gif")
    assert movie.n_frames == 25 and movie.info["duration"] == 20  # type: ignore[attr-defined]


def test_what_cannot_be_saved(tmp_path: Path) -> None:
    (tmp_path / "a.gif").write_bytes(b"old")

    def broken() -> Iterator[Tensor]:
        yield noise(3, 8, 8)
        raise RuntimeError("the sampler failed")

    with pytest.raises(RuntimeError):
        save_animation(broken(), tmp_path / "a.gif")
    with pytest.raises(RethawError, match="no image"):
        save_animation([], tmp_path / "a.gif")
    with pytest.raises(RethawError, match="ending"):
        save_animation(frames(2), tmp_path / "a.mp4")
    with pytest.raises(RethawError, match="ending"):
        save(to_pil(noise(3, 8, 8)), tmp_path / "a.xyz")
    with pytest.raises(RethawError, match="could not be written"):
        save(to_pil(noise(3, 8, 8)), tmp_path / "a.gif" / "a.png")
    assert [p.name for p in tmp_path.iterdir()] == ["a.gif"] and (tmp_path / "a.gif").read_bytes() == b"old"


def test_save(tmp_path: Path) -> None:
    image = to_pil(noise(3, 8, 8))
    for ending in (".png", ".jpg", ".webp"):
        save(image, tmp_path / f"a{ending}")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), np.asarray(image))
