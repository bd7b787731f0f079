"""Batches of people's files: what fails does not stop the rest, and Python gives what the command gives."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import rethaw
from rethaw.api import RethawError
from tests.helpers import photos, recipe
from tests.helpers import rethaw as command


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("batch")
    path = recipe(folder, photos(folder / "photos"), "[{id: blur, use: kornia.gaussian_blur, sigma_max: 2.0}]")
    rethaw.Pipeline.from_yaml(path).train(folder / "run")
    return folder


def report_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return found


# --- one way in ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "I;16", "1"])
def test_python_writes_the_picture_that_the_command_writes(work: Path, tmp_path: Path, mode: str) -> None:
    source = Image.open(work / "photos" / "0.png")
    if mode == "I;16":
        Image.fromarray(np.asarray(source.convert("L")).astype(np.uint16) * 257).save(tmp_path / "a.png")
    else:
        source.convert(mode).save(tmp_path / "a.png")
    command("restore", work / "run", "a.png", "--out", "out", "--no-strip", cwd=tmp_path)
    rethaw.Pipeline.load(work / "run").restore(tmp_path / "a.png").save(tmp_path / "python.png")
    assert (tmp_path / "python.png").read_bytes() == (tmp_path / "out" / "a.png").read_bytes()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "report.json"]


def test_pictures_of_any_kind_come_in_and_go_out(work: Path, tmp_path: Path) -> None:
    pipeline, path = rethaw.Pipeline.load(work / "run"), work / "photos" / "0.png"
    image = Image.open(path)
    kinds = [str(path), path, image, np.asarray(image), np.asarray(image).astype(np.float32) / 255]
    restored = pipeline.restore(kinds)
    for each in restored[1:]:
        assert (each.pixels - restored[0].pixels).abs().max() < 1e-5
    tensor = restored[0].pixels
    assert torch.equal(pipeline.restore([pipeline.tensor(path)])[0], tensor)
    grey = pipeline.restore(np.asarray(image.convert("L")))
    grey.save(tmp_path / "grey.png")
    assert Image.open(tmp_path / "grey.png").mode == "L"
    for wrong in (np.zeros((4, 4, 5)), np.full((4, 4), 7.0), np.zeros((0, 3)), object()):
        with pytest.raises(RethawError, match="image"):
            pipeline.restore(wrong)
    assert "kornia.gaussian_blur" in repr(pipeline) and "trained" in repr(pipeline)
    assert repr(restored[0]).endswith(f"{image.width}×{image.height}, colour, 8 bits>")


# --- many files ----------------------------------------------------------------------------------------------------


def test_bad_files_of_every_kind_are_named_and_the_rest_goes_on(work: Path, tmp_path: Path) -> None:
    shutil.copytree(work / "photos", tmp_path / "in")
    (tmp_path / "in" / "empty.png").touch()
    (tmp_path / "in" / "text.png").write_text("no image")
    whole = (work / "photos" / "1.png").read_bytes()
    (tmp_path / "in" / "cut.png").write_bytes(whole[:300])
    (tmp_path / "in" / f"{'n' * 248}.png").write_bytes(whole)  # 252 bytes: too long with an ending added
    (tmp_path / "out" / "2-strip.png").mkdir(parents=True)  # cannot be written over
    done = command("restore", work / "run", "in", "--out", "out", cwd=tmp_path, check=False)
    report = report_of(tmp_path / "out")
    failed = {Path(row["file"]).name for row in report["failed"]}
    assert done.returncode == 2 and failed == {"empty.png", "text.png", "cut.png", "2.png"}
    assert all(name in done.stderr for name in failed)
    names = {Path(row["file"]).name for row in report["images"]}
    assert names == {"0.png", "1.png", "3.png", "4.png", "5.png", f"{'n' * 248}.png"}
    assert all((tmp_path / "out" / row["restored"]).is_file() for row in report["images"])


def test_a_mask_that_fits_one_of_two_files(work: Path, tmp_path: Path) -> None:
    rethaw.Pipeline.from_yaml(recipe(tmp_path, work / "photos", "core.mask")).train(tmp_path / "run")
    Image.new("L", (40, 32), 0).save(tmp_path / "mask.png")
    Image.open(tmp_path / "mask.png").point(lambda v: v).paste(255, (5, 5, 20, 20))
    mask = Image.new("L", (40, 32), 0)
    mask.paste(255, (5, 5, 20, 20))
    mask.save(tmp_path / "mask.png")
    shutil.copy(work / "photos" / "0.png", tmp_path / "fits.png")
    Image.new("RGB", (16, 16)).save(tmp_path / "small.png")
    words = ("fits.png", "small.png", "--state", "mask=mask.png", "--out", "out")
    done = command("restore", "run", *words, cwd=tmp_path, check=False)
    report = report_of(tmp_path / "out")
    assert done.returncode == 2 and [Path(row["file"]).name for row in report["images"]] == ["fits.png"]
    assert "40×32" in report["failed"][0]["error"] and report["state"] == {"mask": "mask.png"}


def test_folders_stay_batches_do_not_mix_and_what_is_done_can_be_skipped(work: Path, tmp_path: Path) -> None:
    for place in ("in/a", "in/b/c"):
        (tmp_path / place).mkdir(parents=True)
        shutil.copy(work / "photos" / "0.png", tmp_path / place / "same.png")
    command("restore", work / "run", "in", "--no-strip", cwd=tmp_path)
    restored = tmp_path / "restored"
    assert {row["restored"] for row in report_of(restored)["images"]} == {"a/same.png", "b/c/same.png"}
    command("restore", work / "run", work / "photos" / "1.png", "--no-strip", cwd=tmp_path)
    assert report_of(tmp_path / "restored-2")["images"][0]["restored"] == "1.png"
    (restored / "a" / "same.png").unlink()
    before = (restored / "b" / "c" / "same.png").stat().st_mtime_ns
    done = command("restore", work / "run", "in", "--no-strip", "--skip-done", cwd=tmp_path)
    assert "restored 1 image in restored, 1 were there already" in done.stdout
    assert (restored / "a" / "same.png").is_file()
    assert (restored / "b" / "c" / "same.png").stat().st_mtime_ns == before
    assert {row["restored"] for row in report_of(restored)["images"]} == {"a/same.png", "b/c/same.png"}
    (restored / "a" / "same.png").unlink()
    command("restore", work / "run", "in", "--no-strip", "--skip-done", "--steps", "2", cwd=tmp_path)
    by_name = {row["restored"]: row.get("settings") for row in report_of(restored)["images"]}
    assert by_name["a/same.png"] is None and by_name["b/c/same.png"]["sampler"]["steps"] == 3


def test_a_report_of_somebody_else_s_is_not_written_over(work: Path, tmp_path: Path) -> None:
    for text in ('{"mine": 1}', "[]", "not json"):
        (tmp_path / "report.json").write_text(text)
        done = command("restore", work / "run", work / "photos" / "0.png", "--out", tmp_path, cwd=tmp_path, check=False)
        assert done.returncode == 2 and "rethaw did not write it" in done.stderr
        assert (tmp_path / "report.json").read_text() == text and len(list(tmp_path.iterdir())) == 1


def test_a_report_says_all_that_made_the_picture(work: Path, tmp_path: Path) -> None:
    words = ("--sampler", "{use: core.cold, noise: 0.01}", "--steps", "2", "--seed", "5", "--severity", "0.5")
    command("restore", work / "run", work / "photos" / "0.png", *words, "--out", "out", cwd=tmp_path)
    report = report_of(tmp_path / "out")
    assert report["sampler"] == {
        "id": "cold",
        "use": "core.cold",
        "steps": 2,
        "state": "fixed",
        "noise": 0.01,
        "perception": 1.0,
    }
    assert (report["seed"], report["severity"]) == (5, 0.5) and report["rethaw"] == rethaw.__version__
    assert {"measurement", "consistency", "guidance", "conditions", "torch", "plugins"} <= report.keys()
    command("restore", work / "run", work / "photos" / "0.png", "sampler.noise=0.02", "--out", "over", cwd=tmp_path)
    assert report_of(tmp_path / "over")["sampler"]["noise"] == 0.02
    done = command("restore", work / "run", "a.png", "--sampler", "{eta: 1}", cwd=tmp_path, check=False)
    assert done.returncode == 2


def test_names_with_control_characters_reach_the_terminal_escaped(work: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "\x1b[31mred.png").write_bytes(b"")
    shutil.copy(work / "photos" / "0.png", tmp_path / "in" / "a.png")
    done = command("restore", work / "run", "in", "--out", "out", cwd=tmp_path, check=False)
    assert "\x1b[31m" not in done.stderr + done.stdout and "\\x1b[31mred.png" in done.stderr
