"""`core.folder`: which files it reads, what it leaves out and says so; nothing in a folder stops or hangs it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from collections.abc import Iterator
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch.nn import functional as F
from typer.testing import CliRunner

import rethaw
from rethaw.api import RethawError
from rethaw.builtin.datasets import squares
from rethaw.builtin.datasets.listing import list_data as list_folder
from rethaw.cli.main import app
from rethaw.engine.training.examples import Order, loader
from rethaw.ops import SUFFIXES
from tests.helpers import photos, recipe
from tests.helpers import rethaw as command


@pytest.fixture(autouse=True)
def no_hanging() -> Iterator[None]:
    """Whatever waits for a pipe or goes round in links fails."""
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("it hangs"))
    signal.alarm(280)
    yield
    signal.alarm(0)


def data(path: Path | str, **params: Any) -> Any:
    return rethaw.build("dataset", "core.folder", path=str(path), size=8, **params)


def names(found: Any) -> list[str]:
    """The files that are read, from the root of the data."""
    return [found.listing.relative(path) for path in found.files]


def item(found: Any, index: int = 0) -> Any:
    return found.item(index, torch.Generator().manual_seed(index))


# --- links -----------------------------------------------------------------------------------------------------


def test_linked_class_folders_are_classes(tmp_path: Path) -> None:
    root = photos(tmp_path / "data" / "cat", 2).parent
    photos(tmp_path / "elsewhere", 3)
    (root / "dog").symlink_to(tmp_path / "elsewhere")
    (root / "relative").symlink_to("../elsewhere/deeper")
    photos(tmp_path / "elsewhere" / "deeper", 1)
    found = data(root)
    assert names(found) == [
        "cat/0.png",
        "cat/1.png",
        *(f"dog/{n}" for n in ("0.png", "1.png", "2.png", "deeper/0.png")),
    ]
    assert found.classes == ["cat", "dog"] and item(found, 2)["label"] == "dog"
    assert "already" in found.skipped[f"{root}/relative"], "one folder is read once"


@pytest.mark.parametrize(
    "links",
    [
        {"loop": "."},
        {"cat/up": ".."},
        {"cat/deep/up": "../.."},
        {"a": "b", "b": "a"},
        {"a/b": "../c", "c/d": "../a"},
        {"out": "../.."},
        {"out": "/"},
        {"again": "cat"},
        {"0again": "cat", "zagain": "0again"},
    ],
    ids=str,
)
def test_loops_of_links_end_and_the_real_name_wins(links: dict[str, str], tmp_path: Path) -> None:
    root = photos(tmp_path / "above" / "data" / "cat", 2).parent
    photos(tmp_path / "above" / "other", 2)
    for name, target in links.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(target)
    found = data(root)
    assert names(found) == ["cat/0.png", "cat/1.png"]
    assert {Path(path).relative_to(root).as_posix() for path in found.skipped} == set(links)


def test_linked_files_are_read(tmp_path: Path) -> None:
    photos(tmp_path / "store", 2)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "one.png").symlink_to("../store/0.png")
    assert names(data(tmp_path / "data")) == ["one.png"]


# --- what is no image ------------------------------------------------------------------------------------------


def test_what_is_passed_over_is_counted_by_ending(tmp_path: Path) -> None:
    photos(tmp_path, 2)
    shutil.copy(tmp_path / "0.png", tmp_path / "LOUD.PNG")
    (tmp_path / "below").mkdir()
    for name in ("a.heic", "b.HEIC", "below/c.heic", "d.tga", "none", "below/none", "e.x y", "f.é", ".hidden", "g."):
        shutil.copy(tmp_path / "0.png", tmp_path / name)
    found = data(tmp_path)
    assert names(found) == ["0.png", "1.png", "LOUD.PNG"]
    said = {Path(path).name: reason for path, reason in found.skipped.items()}
    assert said == {
        "*.heic": "3 files with this ending, not read",
        "*.tga": "1 file with this ending, not read",
        "*": "3 files without an ending, not read",
        "*.x y": "1 file with this ending, not read",
        "*.é": "1 file with this ending, not read",
    }


@pytest.mark.parametrize("suffix", [".jpe", ".heif", ".avif", ".tga", ".svg", ".psd", ".cr2", ".zip"])
def test_every_ending_is_read_or_said(suffix: str, tmp_path: Path) -> None:
    photos(tmp_path, 1)
    shutil.copy(tmp_path / "0.png", tmp_path / f"x{suffix}")
    found = data(tmp_path)
    assert (f"x{suffix}" in names(found)) == (suffix in SUFFIXES) != (f"{tmp_path}/*{suffix}" in found.skipped)


def test_many_endings_are_summed_up(tmp_path: Path) -> None:
    photos(tmp_path, 1)
    for i in range(50):
        (tmp_path / f"scan.{i:03d}").touch()
    skipped = data(tmp_path).skipped
    assert len(skipped) == 9 and skipped[f"{tmp_path}/*.*"] == "42 files with 42 other endings, not read"


def test_files_of_captions_are_not_passed_over(tmp_path: Path) -> None:
    photos(tmp_path, 1)
    (tmp_path / "0.txt").write_text("a caption")
    assert data(tmp_path, captions="sidecar").skipped == {} != data(tmp_path).skipped


# --- what rethaw has written -----------------------------------------------------------------------------------


def test_a_run_inside_the_data_changes_nothing(tmp_path: Path) -> None:
    """Trained in two parts, with the run among the photographs: the weights of one that lies elsewhere."""
    path = recipe(tmp_path, photos(tmp_path / "photos"))
    inside, elsewhere = tmp_path / "photos" / "runs" / "a", tmp_path / "elsewhere"
    for run in (elsewhere, inside):
        rethaw.Pipeline.from_yaml(path, ["train.steps=2"]).train(run)
        assert (run / "preview.png").is_file()
        rethaw.Pipeline.from_yaml(path).train(run, resume=True)
    one, two = (load_file(run / "model.safetensors") for run in (elsewhere, inside))
    assert all(torch.equal(one[key], two[key]) for key in one)
    found = data(tmp_path / "photos")
    assert len(found) == 6 and "run of rethaw" in found.skipped[str(inside)]


def test_a_run_that_is_the_data_folder_keeps_its_pictures_to_itself(tmp_path: Path) -> None:
    place = photos(tmp_path / "photos", 3)
    for name in ("preview.png", "loss.png", "floss.png"):
        shutil.copy(place / "0.png", place / name)
    assert len(data(place)) == 6
    (place / "resolved.yaml").touch()
    assert names(data(place)) == ["0.png", "1.png", "2.png", "floss.png"]


@pytest.mark.parametrize(
    "name, text, ours",
    [
        ("report.json", '{"run": "runs/a", "images": []}', True),
        ("results.json", '{"images": 3, "rows": {}}', True),
        ("resolved.yaml", "", True),
        ("report.json", '{"title": "of somebody else"}', False),
        ("report.json", '["run"]', False),
        ("report.json", "{broken", False),
        ("report.json", "[" * 100_000, False),
        ("report.json", "\udcff", False),
        ("results.json", '"rows"', False),
        ("notes.json", '{"run": 1}', False),
    ],
)
def test_results_of_rethaw_are_no_data(name: str, text: str, ours: bool, tmp_path: Path) -> None:
    photos(tmp_path, 1)
    photos(tmp_path / "restored" / "deep", 2)
    (tmp_path / "restored" / name).write_text(text, "utf-8", errors="surrogateescape")
    found = data(tmp_path)
    assert len(found) == (1 if ours else 3)
    assert (str(tmp_path / "restored") in found.skipped) == ours
    assert len(data(tmp_path / "restored")) == 2, "a folder that is named itself is read"


def test_what_restore_and_evaluate_write_is_no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = photos(tmp_path / "photos", 2)
    rethaw.Pipeline.from_yaml(recipe(tmp_path, place), ["train.steps=1"]).train(tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    for line in (
        "restore run photos/0.png --out photos/restored",
        "evaluate run --data photos --out photos/measured --steps 1",
        "generate run -n 1 --out photos/generated",
    ):
        assert CliRunner().invoke(app, line.split()).exit_code == 0
    found = data(place)
    assert len(found) == 2 and len(found.skipped) == 3
    said = command("train", "small.yaml", "train.steps=1", "--out", "again", cwd=tmp_path).stderr
    assert all(f"skipped {place / name}: it holds results" in said for name in ("restored", "measured", "generated"))


# --- what cannot be read -----------------------------------------------------------------------------------------


def deep_folder(place: Path) -> None:
    """Folders in folders until the path is longer than the system takes; the last one holds an image."""
    here = os.open(place, os.O_RDONLY)
    for _ in range(25):
        os.mkdir("d" * 200, dir_fd=here)
        here, last = os.open("d" * 200, os.O_RDONLY, dir_fd=here), here
        os.close(last)
    os.close(os.open("x.png", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)


def odd_files(place: Path) -> None:
    """One of everything that a folder may hold and no picture is."""
    os.mkfifo(place / "pipe.png")
    socket.socket(socket.AF_UNIX).bind(str(place / "s.png"))
    (place / "nowhere.png").symlink_to("gone.png")
    (place / "self.png").symlink_to("self.png")
    (place / "one.png").symlink_to("two.png")
    (place / "two.png").symlink_to("one.png")
    (place / "null.png").symlink_to("/dev/null")
    (place / "piped.png").symlink_to("pipe.png")
    (place / "folder.png").mkdir()
    (place / "unnamed").symlink_to("/dev/zero")
    os.mkfifo(place / "resolved.yaml")
    os.mkfifo(place / "report.json")
    os.mkfifo(place / "0.txt")


def test_odd_files_are_left_out_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos(tmp_path, 2)
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    odd_files(Path())
    deep_folder(tmp_path)
    found = data(tmp_path)
    assert names(found) == ["0.png", "1.png"]
    odd = {"pipe.png", "s.png", "nowhere.png", "self.png", "one.png", "two.png", "null.png", "piped.png", "unnamed"}
    assert {Path(path).name for path in found.skipped} >= odd | {"resolved.yaml", "report.json", "0.txt"}
    assert any(path.endswith("/" + "d" * 200) and "cannot be read" in why for path, why in found.skipped.items())
    with pytest.raises(RethawError, match=r"2 of 2 images have no caption: 0\.png"):
        data(tmp_path, captions="sidecar")


def test_names_that_are_not_unicode(tmp_path: Path) -> None:
    photos(tmp_path, 1)
    name = os.fsdecode(b"caf\xe9.png")
    shutil.copy(tmp_path / "0.png", tmp_path / name)
    shutil.copy(tmp_path / "0.png", tmp_path / "new\nline\x1b[1m.png")
    found = data(tmp_path)
    assert len(found) == 3 and len(found.fingerprint) == 32 and item(found, 1)["path"] == str(tmp_path / name)


def test_folders_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos(tmp_path, 1)
    photos(tmp_path / "locked", 1)
    scan = os.scandir

    def refuse(path: str) -> Any:
        if path == str(tmp_path / "locked"):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = data(tmp_path)
    assert len(found) == 1 and found.skipped == {
        str(tmp_path / "locked"): "folder that cannot be read: Permission denied"
    }
    with pytest.raises(RethawError, match=r"locked cannot be read: Permission denied"):
        data(tmp_path / "locked")


def test_roots_that_are_no_folders_of_images(tmp_path: Path) -> None:
    photos(tmp_path, 1)
    (tmp_path / "empty").mkdir()
    (tmp_path / "heic").mkdir()
    (tmp_path / "heic" / "a.heic").touch()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(RethawError, match="nowhere does not exist"):
        data(tmp_path / "nowhere")
    with pytest.raises(RethawError, match=r"0\.png is a file, not a folder of images"):
        data(tmp_path / "0.png")
    with pytest.raises(RethawError, match=r"empty has no image in it(.|\n)*\.png"):
        data(tmp_path / "empty")
    with pytest.raises(RethawError, match=r"heic has no image in it(.|\n)*\*\.heic: 1 file with this ending"):
        data(tmp_path / "heic")
    for path in ("loop", "n" * 300, "/".join(["d" * 200] * 30)):
        with pytest.raises(RethawError, match=r"cannot be read: "):
            data(tmp_path / path)
    with pytest.raises(RethawError, match=r"~nobody-of-that-name/x: there is no such user's folder"):
        data("~nobody-of-that-name/x")


@pytest.mark.parametrize(
    "error",
    [
        RethawError("bad.png is damaged"),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory"),
        OSError(5, "Input/output error"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_one_image_that_fails_is_left_out(error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos(tmp_path, 4)
    read = squares.read_image

    def fails(path: Path, channels: int) -> Any:
        if path.name == "1.png":
            raise error
        return read(path, channels)

    monkeypatch.setattr(squares, "read_image", fails)
    found = data(tmp_path)
    assert [Path(item(found, i)["path"]).name for i in range(4)] == ["0.png", "2.png", "2.png", "3.png"]
    ((path, reason),) = found.skipped.items()
    assert path == str(tmp_path / "1.png") and reason and "\n" not in reason
    monkeypatch.setattr(squares, "read_image", lambda *_: fails(Path("1.png"), 3))
    with pytest.raises(RethawError, match="none of the 4 images"):
        item(data(tmp_path))


@pytest.mark.parametrize("size", [(30_000, 2), (2, 30_000), (30_000, 1), (1, 1), (3, 2000)])
@pytest.mark.parametrize("crop", ["resize", "random"])
def test_images_of_any_proportion_need_little_memory(
    size: tuple[int, int], crop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(np.zeros((*size, 3), np.uint8)).save(tmp_path / "long.png")
    largest = []

    def record(x: torch.Tensor, shape: Any, **options: Any) -> torch.Tensor:
        largest.append(max(shape))
        return F.interpolate(x, shape, **options)

    monkeypatch.setattr(squares, "F", SimpleNamespace(interpolate=record))
    found = data(tmp_path, crop=crop)
    assert item(found)["image"].shape == (3, 8, 8) and not found.skipped
    assert max(largest, default=0) <= 8 * squares.LONGEST * 8


def test_a_square_lies_anywhere_in_a_long_image_alike() -> None:
    image = torch.arange(5000.0).view(1, 1, 5000).expand(1, 8, 5000)
    for left in (0.0, 0.123, 0.5, 0.77, 0.999999):
        square = squares.part(squares.part(image, 0.0, left, 128), 0.0, left, 8)
        assert abs(float(square[0, 0, 0]) - left * (5000 - 8)) <= 1.5


# --- every process tells of what it met ---------------------------------------------------------------------------


def broken(place: Path, count: int = 20) -> list[str]:
    """Photographs, and as many files that are none: empty, text, cut short."""
    photos(place, count)
    whole = (place / "0.png").read_bytes()
    for i in range(count):
        (place / f"bad{i}.png").write_bytes((b"", b"no image", whole[:-40])[i % 3])
    return sorted(str(place / f"bad{i}.png") for i in range(count))


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_all_broken_files_are_listed_whatever_the_number_of_workers(workers: int, tmp_path: Path) -> None:
    bad = broken(tmp_path)
    found, alone = data(tmp_path), data(tmp_path)
    for _ in loader(Order(found, 0, 3, len(found)), 0, 4, workers):
        pass
    for i in range(len(alone)):
        item(alone, i)
    assert list(found.skipped) == bad and found.skipped == alone.skipped
    assert all(reason and "at one time" not in reason for reason in found.skipped.values())


@pytest.mark.long
def test_the_command_lists_the_same_with_workers_and_without(tmp_path: Path) -> None:
    bad = broken(tmp_path / "photos", 6)
    recipe(tmp_path, tmp_path / "photos")
    train = ("train", "small.yaml", "train.steps=8", "train.checkpoint_every=8")
    alone, shared = (
        command(*train, f"train.workers={n}", "--out", f"run{n}", cwd=tmp_path).stderr.splitlines() for n in (0, 2)
    )
    said = [line for line in alone if "skipped" in line]
    assert len(said) == 6 and all(any(path in line for line in said) for path in bad)
    assert said == [line for line in shared if "skipped" in line]


def test_a_process_that_gets_the_dataset_sent_tells_too(tmp_path: Path) -> None:
    """As under the start methods spawn and forkserver."""
    bad = broken(tmp_path, 3)
    found = data(tmp_path)
    sent = ForkingPickler.loads(ForkingPickler.dumps(found))
    for i in range(len(sent)):
        item(sent, i)
    assert list(found.skipped) == bad and found.skipped == sent.skipped


# --- one look at the folder ---------------------------------------------------------------------------------------


def test_a_folder_is_listed_once_and_nothing_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for label in "abc":
        photos(tmp_path / label, 3)
    scan, scanned = os.scandir, []
    monkeypatch.setattr(os, "scandir", lambda path: scanned.append(path) or scan(path))
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("an image was opened"))
    found = data(tmp_path)
    assert len(found) == 9 and found.fingerprint and len(scanned) == 4


def test_the_order_is_that_of_the_names_part_by_part(tmp_path: Path) -> None:
    for name in ("b", "a-b", "a/x", "a", "a b/y", "B"):
        photos(tmp_path / name, 1)
    wanted = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.png"))
    assert names(data(tmp_path)) == list(map(str, wanted))


def test_paths_are_as_they_were_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos(tmp_path / "home" / "pictures" / "cat", 1)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "home" / "pictures")
    for given, seen in {
        ".": "cat/0.png",
        "./": "cat/0.png",
        "../pictures": "../pictures/cat/0.png",
        "cat": "cat/0.png",
        "~/pictures": str(tmp_path / "home/pictures/cat/0.png"),
    }.items():
        found = data(given)
        assert found.files == [seen] and found.labels == [None if given == "cat" else "cat"]
    assert len({data(given).fingerprint for given in (".", "~/pictures/", "../pictures")}) == 1
    assert list_folder(".").relative("cat/0.png") == list_folder("../pictures").relative("../pictures/cat/0.png")


# --- has it changed? ----------------------------------------------------------------------------------------------


def change_size(place: Path) -> None:
    photos(place / "new", 1, (12, 12))
    status = (place / "a" / "1.png").stat()
    shutil.copy(place / "new" / "0.png", place / "a" / "1.png")
    os.utime(place / "a" / "1.png", ns=(status.st_atime_ns, status.st_mtime_ns))
    shutil.rmtree(place / "new")


def change_content(place: Path) -> None:
    path = place / "a" / "1.png"
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, (path.stat().st_atime, path.stat().st_mtime + 5))


CHANGES: dict[str, Any] = {
    "nothing": lambda place: None,
    "a file that is no image": lambda place: (place / "notes.md").write_text("x"),
    "a run": lambda place: [photos(place / "run", 1), (place / "run" / "resolved.yaml").touch()],
    "read again": lambda place: (place / "a" / "1.png").read_bytes(),
    "added": lambda place: shutil.copy(place / "a" / "1.png", place / "a" / "9.png"),
    "removed": lambda place: (place / "a" / "1.png").unlink(),
    "renamed": lambda place: (place / "a" / "1.png").rename(place / "a" / "7.png"),
    "another class": lambda place: (place / "a" / "1.png").rename(place / "b" / "7.png"),
    "another size": change_size,
    "another content": change_content,
    "a caption": lambda place: (place / "a" / "1.txt").write_text("another"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_the_fingerprint_tells_a_change(what: str, tmp_path: Path) -> None:
    for label in "ab":
        photos(tmp_path / "data" / label, 3)
    for path in (tmp_path / "data").rglob("*.png"):
        path.with_suffix(".txt").write_text(path.stem)
    before = data(tmp_path / "data", captions="sidecar").fingerprint
    CHANGES[what](tmp_path / "data")
    if (tmp_path / "data/a/7.png").exists():
        (tmp_path / "data/a/1.txt").rename(tmp_path / "data/a/7.txt")
    elif (tmp_path / "data/b/7.png").exists():
        (tmp_path / "data/a/1.txt").rename(tmp_path / "data/b/7.txt")
    elif (tmp_path / "data/a/9.png").exists():
        (tmp_path / "data/a/9.txt").write_text("9")
    same = data(tmp_path / "data", captions="sidecar").fingerprint == before
    assert same == (what in ("nothing", "a file that is no image", "a run", "read again"))


def test_the_fingerprint_moves_with_the_folder(tmp_path: Path) -> None:
    photos(tmp_path / "here" / "café", 2)
    before = data(tmp_path / "here").fingerprint
    shutil.copytree(tmp_path / "here", tmp_path / "copy")
    (tmp_path / "there").mkdir()
    (tmp_path / "here").rename(tmp_path / "there" / "x")
    (tmp_path / "linked").symlink_to(tmp_path / "copy")
    assert data(tmp_path / "there" / "x").fingerprint == before
    assert data(tmp_path / "copy").fingerprint == before == data(tmp_path / "linked").fingerprint
    (tmp_path / "copy" / "café").rename(tmp_path / "copy" / "cafe\N{COMBINING ACUTE ACCENT}")
    assert data(tmp_path / "copy").fingerprint == before, "another system's way to write é"
