"""`core.pairs`: finds partners in the layouts that people have, cuts both alike, and lists what is no pair."""

from __future__ import annotations

import csv
import json
import shutil
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

import rethaw
from rethaw.api import RethawError
from rethaw.builtin.datasets.pairs import moved
from rethaw.builtin.datasets.photos import TRAINING, photo
from rethaw.ops import generators, read_image
from tests.helpers import photos, recipe


def data(path: Path, **params: Any) -> Any:
    return rethaw.build("dataset", "core.pairs", **{"path": str(path), "size": 16, **params})


def found(pairs: Any, root: Path) -> list[tuple[str, str]]:
    return [(str(Path(a).relative_to(root)), str(Path(b).relative_to(root))) for a, b in pairs.pairs]


def put(root: Path, *names: str) -> None:
    """Photographs under these names; the same one under those that differ only in what marks the degraded one."""
    photos(root / "_", 1)
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.open(root / "_" / "0.png").save(root / name)
    shutil.rmtree(root / "_")


def item(pairs: Any, index: int = 0, seed: int = 0) -> Any:
    return pairs.item(index, torch.Generator().manual_seed(seed))


# --- layouts ----------------------------------------------------------------------------------------------------

LAYOUTS: dict[str, tuple[dict[str, Any], list[tuple[str, str]]]] = {
    "two folders": ({}, [("clean/a.png", "degraded/a.png"), ("clean/b.png", "degraded/b.png")]),
    "of two formats": ({}, [("clean/a.png", "degraded/a.jpg"), ("clean/b.x.png", "degraded/b.x.BMP")]),
    "with folders in them": ({}, [("clean/1/a.png", "degraded/1/a.png"), ("clean/2/a.png", "degraded/2/a.png")]),
    "in a folder for each scene": (
        {"folders": ["sharp", "blur"]},
        [("train/1/sharp/a.png", "train/1/blur/a.png"), ("train/2/sharp/a.png", "train/2/blur/a.png")],
    ),
    "names within names": ({"folders": ["clean", "a"]}, [("clean/clean/x.png", "clean/a/x.png")]),
    "suffix": ({"suffixes": ["", "_blur"]}, [("a.png", "a_blur.png"), ("below/a.png", "below/a_blur.jpg")]),
    "two suffixes": ({"suffixes": ["_GT", "_NOISY"]}, [("1/x_GT.png", "1/x_NOISY.png"), ("2_GT.png", "2_NOISY.png")]),
    "marked clean ones": ({"suffixes": [" (clean)", ""]}, [("a (clean).png", "a.png"), ("b (clean).png", "b.png")]),
}


@pytest.mark.parametrize("what", LAYOUTS)
def test_partners_are_found(what: str, tmp_path: Path) -> None:
    params, wanted = LAYOUTS[what]
    put(tmp_path, *(name for pair in wanted for name in pair))
    pairs = data(tmp_path, **params)
    assert found(pairs, tmp_path) == wanted and not pairs.skipped
    one = item(pairs)
    assert one["path"] == str(tmp_path / wanted[0][0]) and one["image"].shape == one["degraded"].shape == (3, 16, 16)


@pytest.mark.parametrize("kind", ["pairs.csv", "below/metadata.jsonl", "t.CSV"])
def test_partners_of_a_table(kind: str, tmp_path: Path) -> None:
    table = tmp_path / kind
    names = [("x/1.png", "y/2.png"), ("x/1.png", "y/3.jpg"), ("ü;.png", "y/2.png")]
    put(table.parent, *{name for pair in names for name in pair})
    column = "file_name" if kind == "t.CSV" else "image"
    rows = [{column: a, "degraded": b, "text": "unread"} for a, b in names]
    with table.open("w", encoding="utf-16", newline="") as file:
        if kind.endswith("jsonl"):
            file.writelines(json.dumps(row, ensure_ascii=False) + "\r\n" for row in rows)
        else:
            writer = csv.DictWriter(file, list(rows[0]), delimiter=";")
            writer.writeheader()
            writer.writerows(rows)
    pairs = data(tmp_path, table=kind)
    assert found(pairs, table.parent) == names and not pairs.skipped
    assert item(pairs, 2)["path"] == str(table.parent / "ü;.png")


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_composed_and_decomposed_names_are_partners(forms: tuple[str, str], tmp_path: Path) -> None:
    clean, degraded = (
        unicodedata.normalize(form, f"{side}/é/ü.png") for form, side in zip(forms, ("été", "Winter"), strict=True)
    )
    put(tmp_path, clean, degraded)
    assert found(data(tmp_path, folders=["été", "Winter"]), tmp_path) == [(clean, degraded)]


@pytest.mark.parametrize(
    "params, message",
    [
        ({"folders": ["a", "a"]}, "folders are two names: 'a' cannot be both"),
        ({"suffixes": ["", ""]}, "suffixes are two names"),
        ({"suffixes": ["", "_b"], "table": "t.csv"}, "not by both"),
        ({"folders": ["clean"]}, "folders"),
        ({"table": "t.csv"}, r"t\.csv does not exist"),
        ({"folders": ["x", "y"]}, r"has no pair in it(.|\n)*2 images belong to neither 'x' nor 'y'"),
        ({"path": "nowhere"}, "nowhere does not exist"),
        ({"tolerance": -1}, "tolerance"),
    ],
)
def test_mistakes_are_told(params: dict[str, Any], message: str, tmp_path: Path) -> None:
    put(tmp_path, "clean/a.png", "degraded/a.png")
    with pytest.raises(RethawError, match=message):
        rethaw.build("dataset", "core.pairs", **{"path": str(tmp_path), **params})


# --- what is no pair --------------------------------------------------------------------------------------------


def test_missing_partners_are_listed(tmp_path: Path) -> None:
    put(tmp_path, "clean/a.png", "clean/b.png", "degraded/b.png", "degraded/c.png", "other/d.png", "clean/b.jpg")
    pairs = data(tmp_path)
    assert found(pairs, tmp_path) == [("clean/b.jpg", "degraded/b.png")]
    assert pairs.skipped == {
        f"{tmp_path}/clean/a.png": "it has no partner in 'degraded'",
        f"{tmp_path}/clean/b.png": f"it would have the partner of {tmp_path}/clean/b.jpg",
        f"{tmp_path}/degraded/c.png": "it has no partner in 'clean'",
        f"{tmp_path}/*": "1 image belongs to neither 'clean' nor 'degraded'",
    }


def test_rows_of_a_table_that_name_no_files(tmp_path: Path) -> None:
    put(tmp_path, "a.png", "b.png")
    (tmp_path / "t.csv").write_text("image,degraded\na.png,gone.png\na.png,b.png\n../a.png,b.png\n")
    pairs = data(tmp_path, table="t.csv")
    assert len(pairs) == 1 and list(pairs.skipped.values()) == [
        f"there is no such file, but {tmp_path}/t.csv:2 names it",
        f"there is no such file, but {tmp_path}/t.csv:4 names it",
    ]
    for text in ("image,blurred\na.png,b.png\n", "image,degraded\na.png\n", "image,degraded\na.png,\n"):
        (tmp_path / "t.csv").write_text(text)
        with pytest.raises(RethawError, match=r"t\.csv:2 does not name two files"):
            data(tmp_path, table="t.csv")


def test_pairs_of_two_sizes_or_with_a_broken_side_are_listed(tmp_path: Path) -> None:
    put(tmp_path, *(f"{side}/{name}.png" for side in ("clean", "degraded") for name in "abcd"))
    Image.open(tmp_path / "clean/a.png").resize((20, 16)).save(tmp_path / "degraded/a.png")
    (tmp_path / "degraded/b.png").write_bytes(b"no image")
    (tmp_path / "clean/d.png").write_bytes(b"")
    pairs = data(tmp_path)
    assert {Path(item(pairs, i)["path"]).name for i in range(4)} == {"c.png"}
    assert {Path(path).name: reason for path, reason in pairs.skipped.items()} == {
        "a.png": f"it is 40×32 pixels, and its partner {tmp_path}/degraded/a.png 20×16",
        "b.png": f"{tmp_path}/degraded/b.png is no image that can be read",
        "d.png": "it is empty",
    }


def crops(x: torch.Tensor, size: int, rows: int, columns: int) -> torch.Tensor:
    """The middle, moved."""
    top, left = (x.shape[-2] - size) // 2 - rows, (x.shape[-1] - size) // 2 - columns
    return x[:, top : top + size, left : left + size]


@pytest.mark.parametrize("move", [(0, 0), (5, 0), (0, -7), (-4, 3), (12, 12)])
@pytest.mark.parametrize(
    "degradation", ["core.desaturate", "kornia.defocus", "kornia.pixelate", "imagenet_c.contrast", "imagenet_c.snow"]
)
def test_a_move_is_measured_through_a_degradation(degradation: str, move: tuple[int, int]) -> None:
    """Photographs at strength 0.5: not one that lies as it should is called moved, most others by the right amount."""
    operator: Any = rethaw.build("degradation", degradation)
    right = 0
    for i, name in enumerate(TRAINING):
        x = read_image(photo(name)).pixels[None]
        y = operator.degrade(x, torch.tensor([0.5]), operator.draw(x, generators(i, 1)))
        measured = moved(crops(x[0], 160, 0, 0), crops(y[0], 160, *move))
        assert move != (0, 0) or measured == (0, 0)
        right += max(abs(a - b) for a, b in zip(measured, move, strict=True)) <= 1
    assert right >= 3


@pytest.mark.parametrize("degradation", ["core.gaussian_noise", "core.mask", "core.fade", "kornia.gaussian_blur"])
def test_what_hides_the_image_is_not_called_moved(degradation: str) -> None:
    operator: Any = rethaw.build("degradation", degradation)
    for i, name in enumerate(TRAINING):
        x = read_image(photo(name)).pixels[None]
        y = operator.degrade(x, torch.ones(1), operator.draw(x, generators(i, 1)))
        for size in (300, 64, 20, 3, 1):
            assert moved(crops(x[0], size, 0, 0), crops(y[0], size, 0, 0)) == (0, 0)


def test_misaligned_pairs_are_listed_unless_that_is_allowed(tmp_path: Path) -> None:
    put(tmp_path, "clean/a.png", "clean/b.png", "degraded/b.png")
    values = np.asarray(Image.open(tmp_path / "clean/a.png"))
    Image.fromarray(np.roll(values, (4, -3), (0, 1))).save(tmp_path / "degraded/a.png")
    pairs = data(tmp_path)
    item(pairs)
    assert list(pairs.skipped.values()) == [
        f"its partner {tmp_path}/degraded/a.png is moved against it by 4 rows and -3 columns"
    ]
    for tolerance in (4, None):
        pairs = data(tmp_path, tolerance=tolerance)
        assert item(pairs)["path"].endswith("a.png") and not pairs.skipped


# --- items ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [12, 32, 50])
@pytest.mark.parametrize("crop", ["resize", "random"])
@pytest.mark.parametrize("channels", [1, 3])
def test_both_are_cut_alike(channels: int, crop: str, size: int, tmp_path: Path) -> None:
    """The degraded one is the negative, so the two are opposite in whatever square of either they are."""
    put(tmp_path, "clean/a.png")
    (tmp_path / "degraded").mkdir()
    Image.fromarray(255 - np.asarray(Image.open(tmp_path / "clean/a.png"))).save(tmp_path / "degraded/a.png")
    pairs = data(tmp_path, size=size, crop=crop, channels=channels)
    squares = [item(pairs, seed=seed) for seed in range(8)]
    for one in squares:
        assert one["image"].shape == (channels, size, size) and one["image"].is_contiguous()
        # grey values are rounded to whole ones of 255
        assert torch.allclose(one["image"], -one["degraded"], atol=0.01 if channels == 1 else 1e-5)
    assert len({one["image"].sum().item() for one in squares}) > 2 and len(pairs.held) == 1
    folder: Any = rethaw.build(
        "dataset", "core.folder", path=str(tmp_path / "clean"), size=size, crop=crop, channels=channels
    )
    assert torch.equal(item(folder, seed=5)["image"], squares[5]["image"])


def test_the_fingerprint_sees_both_sides(tmp_path: Path) -> None:
    put(tmp_path / "a", "clean/a.png", "degraded/a.png", "clean/b.png", "degraded/b.png")
    before = data(tmp_path / "a").fingerprint
    (tmp_path / "a").rename(tmp_path / "b")
    assert data(tmp_path / "b").fingerprint == before
    Image.open(tmp_path / "b/degraded/b.png").filter(ImageFilter.BLUR).save(tmp_path / "b/degraded/b.png")
    after = data(tmp_path / "b").fingerprint
    (tmp_path / "b/clean/a.png").unlink()
    assert len({before, after, data(tmp_path / "b").fingerprint}) == 3


def test_a_restorer_conditioned_on_the_observed_image_trains(tmp_path: Path) -> None:
    """Generation beside the degraded file, as in Palette: pairs and no formula."""
    put(tmp_path / "pairs", *(f"{side}/{i}.png" for side in ("clean", "degraded") for i in range(3)))
    path = recipe(
        tmp_path, tmp_path, "{use: core.gaussian_noise}", "conditioner: {use: core.image, field: degraded, drop: 0}\n"
    )
    pairs = f"data={{use: core.pairs, path: '{tmp_path}/pairs', size: 16}}"
    pipeline = rethaw.Pipeline.from_yaml(path, [pairs, "train.steps=2"])
    assert pipeline.train(tmp_path / "run").finished
    made = pipeline.generate(1, cond={"degraded": [str(tmp_path / "pairs/degraded/0.png")]}, steps=2)
    assert made.shape[1] == 3 and torch.isfinite(made).all()
