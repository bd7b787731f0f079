"""The pictures that people look at: sizes, places of the pixels, and files that are whole or not there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageSequence
from torch import Tensor

from rethaw import pictures
from rethaw.api import RethawError
from rethaw.pictures import before_after, beside, curve, curves, grid, save, save_animation, sheet, strip, to_pil
from rethaw.pictures.canvas import text_width, wrapped


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
    assert to_pil(noise(3, 4, 6)).size == (6, 4) and to_pil(noise(3, 4, 6).bfloat16()).mode == "RGB"
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


def test_beside() -> None:
    a, b = to_pil(noise(3, 8, 6)), to_pil(noise(1, 5, 9))
    both = beside([a, b])
    assert both.size == (15, 8) and has(both, a) and has(both, b)


def test_the_test_card_has_every_hue_and_is_whole() -> None:
    card = pictures.testcard()
    assert card.shape == (3, 256, 256) and card.dtype == torch.float32
    assert torch.equal(((card + 1) * 127.5).round() / 127.5 - 1, card) and card.abs().max() <= 1
    hues = np.asarray(to_pil(card).convert("HSV"))[..., 0]
    assert all((hues // 43 == i).sum() > 100 for i in range(6))


# --- plots -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("log_y", [False, True])
@settings(deadline=None, max_examples=20)
@given(values=st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=9))
def test_any_curve_is_drawn_or_refused(log_y: bool, values: list[float]) -> None:
    try:
        picture = curve(list(enumerate(values)), "loss", "step", "l1", log_y)
    except RethawError:
        assert not any(abs(v) < 1e100 and (v > 1e-100 or not log_y) for v in values)
        return
    assert picture.size == (800, 460)


COLOURS = (217, 72, 15), (28, 126, 214), (47, 158, 68)


@pytest.mark.parametrize(("middle", "log_y"), [(50.5, False), (10.0, True)])
def test_a_curve_is_where_its_points_are(middle: float, log_y: bool) -> None:
    """A horizontal line midway between two others; on a logarithmic axis at their geometric mean."""
    lines = {str(y): [(0.0, y), (1.0, y)] for y in (1.0, middle, 100.0)}
    column = np.asarray(curves(lines, "", "x", "y", log_y))[:, 400]
    low, mid, high = (np.nonzero((column == colour).all(1))[0].mean() for colour in COLOURS)
    assert low > mid > high and abs(mid - (low + high) / 2) < 1


def test_points_that_are_not_finite_are_left_out() -> None:
    clean = [(0.0, 1.0), (1.0, 2.0), (3.0, 4.0)]
    dirty = [*clean[:2], (2.0, float("nan")), (float("inf"), 1.0), (2.5, float("-inf")), clean[2]]
    assert curve(dirty, "a", "b", "c") == curve(clean, "a", "b", "c")
    assert curve([*clean, (4.0, 0.0), (5.0, -1.0)], "a", "b", "c", True) == curve(clean, "a", "b", "c", True)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["$", "$x^", "_hidden", "猫", "a\x1b[31mb", "\udcff", "σ → ½", "", "%", "\\frac"])
def test_any_text_is_drawn_as_it_is(name: str) -> None:
    lines = {name: [(0.0, 1.0), (1.0, 2.0)], "other": [(0.0, 2.0), (1.0, 1.0)]}
    assert curves(lines, name, name, name).size == (800, 460)
    assert strip([noise(3, 8, 8)], [name], name).size[0] > 8
    assert curves({"_hidden": [(0.0, 1.0)]}, "", "", "") != curves({"": [(0.0, 1.0)]}, "", "", "")


def test_matplotlib_is_imported_when_it_draws_and_pyplot_never() -> None:
    code = (
        "import sys, rethaw.pictures as p; assert 'matplotlib' not in sys.modules;"
        "p.curve([(0, 1), (1, 2)], '', '', ''); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_long_words_are_cut_and_missing_characters_marked() -> None:
    assert wrapped("w" * 99, 15, 100).endswith("…") and text_width(wrapped("w" * 99, 15, 100), 15) <= 100
    assert wrapped("a b", 15, 500) == "a b" and wrapped("a b", 15, 12) == "a\nb"
    assert wrapped("σ → ½ é 猫 \x1b[0m", 15, 500) == "σ → ½ é ? ?[0m"


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
