"""What people and machines do to run folders: two trainings in one, copies, damaged and tampered files."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import rethaw
from rethaw.api import RethawError
from rethaw.engine.run import CHECKPOINT, CONFIG, LOG, MODEL, Run
from rethaw.engine.training.checkpoint import load_checkpoint, save_checkpoint
from rethaw.engine.training.progress import Progress
from tests.helpers import env, photos, recipe
from tests.helpers import rethaw as command


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a pipeline and its finished training."""
    folder = tmp_path_factory.mktemp("runs")
    rethaw.Pipeline.from_yaml(recipe(folder, photos(folder / "photos"))).train(folder / "done")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


# --- one folder, one training ------------------------------------------------------------------------------------


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("other", ["degradation.amount=0.5", "backbone.width=16"])
def test_a_refused_training_leaves_the_folder_as_it_was(work: Path, resume: bool, other: str) -> None:
    before = contents(work / "done")
    with pytest.raises(RethawError, match=r"already holds a training|belongs to another pipeline"):
        rethaw.Pipeline.from_yaml(work / "small.yaml", [other]).train(work / "done", resume=resume)
    assert contents(work / "done") == before


@pytest.mark.parametrize("resume", [False, True])
def test_a_second_training_in_a_running_one_s_folder_touches_nothing(work: Path, tmp_path: Path, resume: bool) -> None:
    """Neither its parts that are being written, nor its description: the lock is asked for first."""
    seen: list[Any] = []

    def intrude(progress: Progress) -> None:
        if progress.step == 3:
            part = tmp_path / "run" / ".abcdef.part"
            part.write_bytes(b"being written")
            before = contents(tmp_path / "run")
            with pytest.raises(RethawError, match="another training is writing"):
                rethaw.Pipeline.from_yaml(work / "small.yaml", ["seed=5"]).train(tmp_path / "run", resume=resume)
            seen.append(contents(tmp_path / "run") == before)

    outcome = rethaw.Pipeline.from_yaml(work / "small.yaml").train(tmp_path / "run", watch=intrude)
    assert outcome.finished and seen == [True]


@pytest.mark.long
def test_trainings_that_are_started_together_end_in_one(work: Path) -> None:
    """However they come: one trains, the others are refused, by the lock or by what it has left."""
    code = f"import rethaw; rethaw.Pipeline.from_yaml({str(work / 'small.yaml')!r}).train({str(work / 'race')!r})"
    started = [subprocess.Popen([sys.executable, "-c", code], env=env(), stderr=subprocess.PIPE) for _ in range(3)]
    errors = [process.communicate()[1].decode() for process in started]
    assert sorted(process.returncode for process in started) == [0, 1, 1], errors
    refused = [error for error in errors if error]
    assert all("another training is writing" in e or "already holds a training" in e for e in refused)


def test_a_copy_without_its_checkpoint_keeps_its_weights(work: Path, tmp_path: Path) -> None:
    shutil.copytree(work / "done", tmp_path / "copy", ignore=shutil.ignore_patterns(CHECKPOINT))
    before = contents(tmp_path / "copy")
    for words in (["--resume"], []):
        done = command("train", work / "small.yaml", "--out", "copy", *words, cwd=tmp_path, check=False)
        assert done.returncode == 2 and "trained weights without a checkpoint" in done.stderr
    assert contents(tmp_path / "copy") == before


def test_a_refused_start_leaves_no_folder(work: Path, tmp_path: Path) -> None:
    with pytest.raises(RethawError, match="has no checkpoint to resume from"):
        rethaw.Pipeline.from_yaml(work / "small.yaml").train(tmp_path / "new", resume=True)
    assert not (tmp_path / "new").exists()


def test_a_folder_that_is_deleted_in_mid_training_is_made_again_whole(work: Path, tmp_path: Path) -> None:
    def delete(progress: Progress) -> None:
        if progress.step == 2:
            shutil.rmtree(tmp_path / "run")

    outcome = rethaw.Pipeline.from_yaml(work / "small.yaml").train(tmp_path / "run", watch=delete)
    assert outcome.finished and json.loads((tmp_path / "run" / "log.jsonl").read_text())["step"] == outcome.step
    x = torch.zeros(1, 3, 16, 16)
    assert rethaw.Pipeline.load(tmp_path / "run").restore(x).shape == x.shape


# --- data that moved or changed ----------------------------------------------------------------------------------


def interrupted(folder: Path, data: Path) -> None:
    """A training that stops at its second step."""

    def stop(progress: Progress) -> None:
        if progress.step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    assert not rethaw.Pipeline.from_yaml(recipe(folder, data)).train(folder / "run", watch=stop).finished


def test_data_that_moved_is_resumed_and_data_that_changed_is_said(work: Path, tmp_path: Path) -> None:
    interrupted(tmp_path, photos(tmp_path / "photos"))
    shutil.move(tmp_path / "photos", tmp_path / "elsewhere")
    moved = ["data.path=elsewhere", "--resume"]
    done = command("train", "run", *moved, "train.steps=3", cwd=tmp_path)
    assert "not what they were" not in done.stderr
    photos(tmp_path / "elsewhere", 7)
    done = command("train", "run", *moved, "train.steps=4", cwd=tmp_path)
    assert "training data are not what they were" in done.stderr
    shutil.move(tmp_path / "elsewhere", tmp_path / "third")
    photos(tmp_path / "third", 8)
    done = command("train", "run", "data.path=third", "--resume", "train.steps=5", cwd=tmp_path, check=False)
    assert done.returncode == 2 and "belongs to another pipeline" in done.stderr  # moved and changed: is it the same?


# --- files that were cut, flipped or made up ---------------------------------------------------------------------


def test_no_flipped_bit_of_a_checkpoint_is_taken_for_whole(work: Path, tmp_path: Path) -> None:
    good = (work / "done" / CHECKPOINT).read_bytes()
    rng = torch.Generator().manual_seed(0)
    for at in torch.randint(len(good) * 8, (60,), generator=rng).tolist():
        flipped = bytearray(good)
        flipped[at // 8] ^= 1 << at % 8
        (tmp_path / "checkpoint.pt").write_bytes(flipped)
        with pytest.raises(RethawError, match=r"damaged|not a checkpoint"):
            load_checkpoint(tmp_path / "checkpoint.pt")


MALFORMED: dict[str, Any] = {
    "a list": [1, 2],
    "no step": {"loss": 0.1},
    "step as text": {"step": "4"},
    "no network": {"step": 2, "loss": 0.1, "config": "x"},
    "network as text": {"step": 2, "network": "weights", "config": None},
    "config as number": {"step": 2, "network": {}, "config": 7},
    "tensor": torch.zeros(3),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_checkpoints_are_refused_in_words(work: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(work / "done", tmp_path / "run")
    torch.save(MALFORMED[name], tmp_path / "run" / CHECKPOINT)
    done = command("train", "run", "--resume", "train.steps=8", cwd=tmp_path, check=False)
    assert done.returncode == 2 and CHECKPOINT in done.stderr


@pytest.mark.parametrize("field", ["network", "optimizer", "ema", "loss"])
@pytest.mark.parametrize("value", [None, "text", {"a": torch.zeros(2)}, [3]])
def test_checkpoints_with_a_false_part_are_refused_in_words(work: Path, tmp_path: Path, field: str, value: Any) -> None:
    if field == "ema" and value is None:
        return  # a training without averaged weights
    shutil.copytree(work / "done", tmp_path / "run")
    saved = load_checkpoint(tmp_path / "run" / CHECKPOINT)
    save_checkpoint(tmp_path / "run" / CHECKPOINT, {**saved, field: value})
    with pytest.raises(RethawError, match=r"damaged|belongs to"):
        rethaw.Pipeline.from_yaml(work / "small.yaml", ["train.steps=8"]).train(tmp_path / "run", resume=True)


def test_checkpoints_of_before_the_digest_are_read(tmp_path: Path) -> None:
    torch.save({"step": 3, "loss": 0.5}, tmp_path / "old.pt")
    assert load_checkpoint(tmp_path / "old.pt") == {"step": 3, "loss": 0.5}


LOCKS = [
    "",
    "[]",
    "3",
    "{",
    '{"image_shape": "wide"}',
    '{"image_shape": [3, -4, 5]}',
    '{"image_shape": [3, 4]}',
    '{"image_shape": [true, 4, 4]}',
    '{"image_shape": {}}',
    "null",
    "[" * 5000,
    '{"plugins": 4}',
    "\x00",
]


@pytest.mark.parametrize("text", LOCKS, ids=range(len(LOCKS)))
def test_a_lock_that_was_tampered_with_is_as_none(work: Path, tmp_path: Path, text: str) -> None:
    shutil.copytree(work / "done", tmp_path / "run")
    (tmp_path / "run" / "lock.json").write_text(text)
    assert Run(tmp_path / "run").image_shape() == ()
    x = torch.zeros(1, 3, 16, 16)
    assert rethaw.Pipeline.load(tmp_path / "run").restore(x).shape == x.shape


@pytest.mark.parametrize("text", ['{"step": 1}\n', "[1]\n", '{"step": "1", "loss": 2}\n', "{", "\x80\n", "3\n" * 40])
def test_a_log_that_was_tampered_with_stops_no_training(work: Path, tmp_path: Path, text: str) -> None:
    shutil.copytree(work / "done", tmp_path / "run")
    with (tmp_path / "run" / LOG).open("a", encoding="latin-1") as file:
        file.write(text)
    outcome = rethaw.Pipeline.from_yaml(work / "small.yaml", ["train.steps=6"]).train(tmp_path / "run", resume=True)
    assert outcome.finished and all(
        json.loads(line)["step"] for line in (tmp_path / "run" / LOG).read_text().splitlines()
    )


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_cut_weights_are_refused_in_words(work: Path, tmp_path: Path, share: float) -> None:
    shutil.copytree(work / "done", tmp_path / "run")
    data = (tmp_path / "run" / MODEL).read_bytes()
    (tmp_path / "run" / MODEL).write_bytes(data[: int(len(data) * share)])
    with pytest.raises(RethawError, match="damaged"):
        rethaw.Pipeline.load(tmp_path / "run")


# --- at the same time --------------------------------------------------------------------------------------------


@pytest.mark.long
def test_a_signal_to_the_whole_process_group_saves(work: Path, tmp_path: Path) -> None:
    """As schedulers send it: the workers that load images get it too."""
    code = (
        "import rethaw, os, sys\n"
        f"p = rethaw.Pipeline.from_yaml({str(work / 'small.yaml')!r}, ['train.steps=100000', 'train.workers=2'])\n"
        f"p.train({str(tmp_path / 'run')!r}, watch=lambda s: print(s.step, flush=True))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    while int(process.stdout.readline()) < 5:
        pass
    os.killpg(process.pid, signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors.decode()[-2000:]
    assert load_checkpoint(tmp_path / "run" / CHECKPOINT)["step"] >= 5 and (tmp_path / "run" / CONFIG).is_file()


@pytest.mark.parametrize("name", ["FSDP", "DEEPSPEED", "MEGATRON_LM"])
def test_sharded_training_is_refused_in_words(
    name: str, monkeypatch: pytest.MonkeyPatch, work: Path, tmp_path: Path
) -> None:
    monkeypatch.setenv(f"ACCELERATE_USE_{name}", "true")  # as accelerate launch says it, without GPUs too
    with pytest.raises(RethawError, match=rf"under {name} is not supported.*\n.*without FSDP"):
        rethaw.Pipeline.from_yaml(work / "small.yaml").train(tmp_path / "run")
