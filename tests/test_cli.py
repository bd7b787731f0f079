"""The commands as people run them: real processes, real files, what they print and what they leave."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.helpers import photos, recipe, rethaw

BLUR = "{id: blur, use: kornia.gaussian_blur, sigma_max: 2.0}"


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photographs, one of them broken, and two trained runs."""
    folder = tmp_path_factory.mktemp("cli")
    photos(folder / "photos")
    (folder / "photos" / "broken.png").write_bytes((folder / "photos" / "0.png").read_bytes()[:300])
    recipe(folder, folder / "photos", BLUR)
    done = rethaw("train", "small.yaml", "--out", "blur", cwd=folder)
    assert "look at blur/preview.png" in done.stdout and "broken.png" in done.stderr
    rethaw("train", "small.yaml", "degradation={use: core.mask}", "--out", "mask", cwd=folder)
    return folder


def size_and_mode(path: Path) -> tuple[tuple[int, int], str]:
    with Image.open(path) as image:
        return image.size, image.mode


def test_train_picks_a_free_folder(work: Path) -> None:
    for name in ("small", "small-2"):
        rethaw("train", "small.yaml", "train.steps=1", cwd=work)
        assert (work / "runs" / name / "model.safetensors").is_file()
        assert size_and_mode(work / "runs" / name / "preview.png")[0][0] > 300


def test_restore_keeps_size_alpha_grey_and_depth(work: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    Image.fromarray(rng.integers(0, 256, (21, 34, 4), dtype=np.uint8)).save(tmp_path / "alpha.png")
    Image.fromarray(rng.integers(0, 256, (21, 34), dtype=np.uint8)).save(tmp_path / "grey.png")
    Image.fromarray(rng.integers(0, 65536, (21, 34), dtype=np.uint16)).save(tmp_path / "deep.png")
    Image.fromarray(rng.integers(0, 256, (21, 34, 3), dtype=np.uint8)).save(tmp_path / "photo.jpg")
    done = rethaw("restore", "blur", tmp_path, "--severity", "0.5", "--animate", "--out", tmp_path / "out", cwd=work)
    assert "restored 4 images" in done.stdout
    found = {name: size_and_mode(tmp_path / "out" / f"{name}.png") for name in ("alpha", "grey", "deep", "photo")}
    assert found == {
        "alpha": ((34, 21), "RGBA"),
        "grey": ((34, 21), "L"),
        "deep": ((34, 21), "I;16"),
        "photo": ((34, 21), "RGB"),
    }
    assert Image.open(tmp_path / "out" / "photo.gif").n_frames > 1  # type: ignore[attr-defined]
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert len(report["images"]) == 4 and report["severity"] == 0.5


def test_one_unreadable_image_does_not_stop_the_others(work: Path, tmp_path: Path) -> None:
    done = rethaw("restore", "blur", work / "photos", "--out", tmp_path, "--steps", "2", cwd=work, check=False)
    assert done.returncode == 2 and "1 could not be restored" in done.stdout and "broken.png" in done.stderr
    assert len(json.loads((tmp_path / "report.json").read_text())["images"]) == 6


def test_restore_degrades_first_when_asked(work: Path, tmp_path: Path) -> None:
    rethaw("restore", "blur", work / "photos" / "1.png", "--degrade", "--sampler", "naive", "--out", tmp_path, cwd=work)
    clean, degraded = (
        np.asarray(Image.open(p), float) for p in (work / "photos" / "1.png", tmp_path / "1-degraded.png")
    )
    assert degraded.std() < clean.std()
    assert (tmp_path / "1.png").is_file() and (tmp_path / "1-strip.png").is_file()


def test_a_mask_may_be_given_and_must_fit(work: Path, tmp_path: Path) -> None:
    mask = np.zeros((32, 40), np.uint8)
    mask[8:20, 8:20] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    Image.fromarray(mask[:9]).save(tmp_path / "small.png")
    image = work / "photos" / "2.png"
    rethaw("restore", "mask", image, "--state", f"mask={tmp_path / 'mask.png'}", "--out", tmp_path, cwd=work)
    before, after = (np.asarray(Image.open(p), int) for p in (image, tmp_path / "2.png"))
    assert abs(before - after)[mask == 0].max() <= 1 < abs(before - after)[mask == 255].max()
    done = rethaw("restore", "mask", image, "--state", f"mask={tmp_path / 'small.png'}", cwd=work, check=False)
    assert done.returncode == 2 and "40×9 pixels, the image 40×32" in done.stderr
    done = rethaw("restore", "mask", image, cwd=work, check=False)
    assert done.returncode == 2 and "--sampler core.direct" in done.stderr and "--state drawn" in done.stderr
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        rethaw("restore", "mask", image, "--state", "drawn", "--seed", seed, "--out", tmp_path / folder, cwd=work)
    a, b, c = (np.asarray(Image.open(tmp_path / folder / "2.png")) for folder in "abc")
    assert (a == b).all() and (a != c).any()
    report = json.loads((tmp_path / "a" / "report.json").read_text())
    assert report["sampler"]["state"] == "drawn"
    done = rethaw("restore", "mask", image, "--state", "drawn", "--sampler", "direct", cwd=work, check=False)
    assert done.returncode == 2 and "core.direct asks for no state" in done.stderr
    rethaw("restore", "mask", image, "--sampler", "direct", "--out", tmp_path / "direct", cwd=work)


def test_generate(work: Path, tmp_path: Path) -> None:
    rethaw("generate", "blur", "-n", "3", "--steps", "2", "--animate", "--out", tmp_path / "three", cwd=work)
    rethaw("generate", "blur", "-n", "1", "--steps", "2", "--size", "16", "--out", tmp_path / "one", cwd=work)
    assert {p.name for p in (tmp_path / "three").iterdir()} == {
        "000.png",
        "001.png",
        "002.png",
        "grid.png",
        "animation.gif",
        "report.json",
    }
    many, one = (np.asarray(Image.open(tmp_path / name / "000.png"), int) for name in ("three", "one"))
    assert abs(many - one).max() <= 1
    done = rethaw("generate", "blur", "--size", "16by16", cwd=work, check=False)
    assert done.returncode == 2 and "--size" in done.stderr


def test_degrade_draws_a_strip(work: Path, tmp_path: Path) -> None:
    image = work / "photos" / "1.png"
    rethaw(
        "degrade",
        "small.yaml",
        image,
        "degradation.blur.sigma_max=5",
        "--animate",
        "-n",
        "4",
        "--out",
        tmp_path / "strip.png",
        cwd=work,
    )
    assert size_and_mode(tmp_path / "strip.png")[0][0] > 4 * 120 and (tmp_path / "strip.gif").is_file()


def test_evaluate_writes_tables_that_agree(work: Path) -> None:
    done = rethaw("evaluate", "blur", "--data", "photos", "--steps", "2", cwd=work)
    assert "broken.png" in done.stderr
    results = json.loads((work / "blur" / "evaluation" / "results.json").read_text())
    assert results["images"] == 6 and set(results["rows"]) == {"degraded", "core.direct", "core.naive", "core.cold"}
    for values in results["rows"].values():
        assert set(values) == {"psnr", "ssim", "rmse"}
    table = (work / "blur" / "evaluation" / "results.md").read_text()
    assert f"{results['rows']['degraded']['psnr']:.2f}" in table and table.splitlines()[0] in done.stdout
    assert size_and_mode(work / "blur" / "evaluation" / "sheet.png")[0][0] > 300


def test_evaluation_is_by_the_definition(work: Path) -> None:
    """PSNR and RMSE of the degraded images, computed by hand."""
    import rethaw as package

    results = json.loads((work / "blur" / "evaluation" / "results.json").read_text())["rows"]["degraded"]
    pipeline = package.Pipeline.load(work / "blur")
    errors = []
    for i in range(6):
        clean = pipeline.tensor(work / "photos" / f"{i}.png")[None].to(pipeline.parts.device)
        x_t, _ = pipeline.parts.degrade(clean, 1.0, 0, i)
        errors.append(float(((x_t.clamp(-1, 1) - clean) / 2).double().square().mean()))
    assert results["psnr"] == pytest.approx(float(np.mean(-10 * np.log10(errors))), abs=1e-3)
    assert results["rmse"] == pytest.approx(float(np.sqrt(np.mean(errors))), abs=1e-5)


@pytest.mark.parametrize(
    "words, told",
    [
        (["train", "small.yaml", "data.path=none"], "none"),
        (["train", "small.yaml", "data.path=empty"], "empty"),
        (["train", "small.yaml", "data.path=corrupt"], "can be read"),
        (["train", "small.yaml", "data={use: core.photos, size: 4}"], "data.size"),
        (["train", "small.yaml", "train.precision=fp16", "--device", "cpu"], "fp16"),
        (["train", "small.yaml", "--out", "photos/0.png/run"], "0.png"),
        (["restore", "blur", "none.png"], "none.png"),
        (["restore", "blur", "corrupt/a.png"], "a.png"),
        (["restore", "blur", "photos/0.png", "--severity", "1.5"], "severity"),
        (["restore", "blur", "photos/0.png", "--sampler", "core.colt"], "core.cold"),
        (["restore", "blur", "photos/0.png", "--device", "abacus"], "abacus"),
        (["restore", "photos", "photos/0.png"], "not a run folder"),
        (["evaluate", "blur", "--data", "empty"], "empty"),
        (["generate", "mask", "--cond", "label"], "KEY=VALUE"),
        (["degrade", "small.yaml", "none.png"], "none.png"),
    ],
)
def test_mistakes_are_one_message_and_exit_code_2(work: Path, words: list[str], told: str) -> None:
    (work / "empty").mkdir(exist_ok=True)
    (work / "corrupt").mkdir(exist_ok=True)
    for name in "ab":
        (work / "corrupt" / f"{name}.png").write_bytes(b"no image")
    done = rethaw(*words, cwd=work, check=False)
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert told in done.stderr and done.stderr.count("error:") <= 1
    assert not done.stdout


@pytest.mark.long
def test_a_full_disk_leaves_the_run_as_it_was(work: Path) -> None:
    """A file size limit stands in for a full disk: the checkpoint before it stays whole."""
    import resource
    import subprocess
    import sys

    from rethaw.engine.training.checkpoint import load_checkpoint
    from tests.helpers import env

    rethaw("train", "small.yaml", "--out", "full", cwd=work)
    before = (work / "full" / "checkpoint.pt").read_bytes()
    command = [sys.executable, "-m", "rethaw.cli.main", "train", "full", "--resume", "train.steps=8"]

    def limit() -> None:
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, len(before) // 2))

    done = subprocess.run(command, cwd=work, env=env(), preexec_fn=limit, capture_output=True, text=True)
    assert done.returncode == 2 and "could not be written" in done.stderr and "Traceback" not in done.stderr
    assert (work / "full" / "checkpoint.pt").read_bytes() == before
    assert load_checkpoint(work / "full" / "checkpoint.pt")["step"] == 4
    assert not list((work / "full").glob(".*"))
    assert torch.is_tensor(next(iter(load_checkpoint(work / "full" / "checkpoint.pt")["network"].values())))


def test_a_sheet_of_every_degradation(work: Path, tmp_path: Path) -> None:
    done = rethaw("degrade", "--all", work / "photos" / "1.png", "-n", "3", "--out", tmp_path / "sheet.png", cwd=work)
    assert "is left out" not in done.stderr
    assert size_and_mode(tmp_path / "sheet.png")[0][1] > 8 * 32
    done = rethaw("degrade", "small.yaml", cwd=work, check=False)
    assert done.returncode == 2 and "name a pipeline and an image" in done.stderr


def test_nothing_that_is_read_is_written_over(work: Path, tmp_path: Path) -> None:
    image = tmp_path / "degraded.png"
    image.write_bytes((work / "photos" / "1.png").read_bytes())
    for words in (
        ["restore", work / "blur", "degraded.png", "--out", "."],
        ["degrade", work / "small.yaml", "degraded.png"],
    ):
        done = rethaw(*words, cwd=tmp_path, check=False)
        assert done.returncode == 2 and "would be written over" in done.stderr
    done = rethaw("restore", work / "blur", work / "photos" / "0.png", "--out", image, cwd=tmp_path, check=False)
    assert done.returncode == 2 and "is a file, and the results need a folder" in done.stderr
    assert image.read_bytes() == (work / "photos" / "1.png").read_bytes()


def test_every_result_has_a_name_of_its_own() -> None:
    from rethaw.engine.sampling.batch import ENDINGS, result_names

    files = [Path(name) for name in ("a.png", "a.jpg", "a-2.png", "a-strip.png", "b/a.png", "a-2-degraded.png")]
    names = result_names(files, files)
    written = [name + ending for name in names for ending in ENDINGS]
    assert names[0] == "a" and len(set(written)) == len(written)


@pytest.mark.long
def test_a_demo_leaves_what_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("mine")
    rethaw("demo", "train.steps=1", "backbone.width=4", "--out", ".", cwd=tmp_path)
    assert (tmp_path / "run" / "thesis.txt").read_text() == "mine"
    assert (tmp_path / "before_after.png").is_file()


def test_a_folder_takes_one_training_at_a_time(work: Path) -> None:
    from filelock import FileLock

    (work / "busy").mkdir()
    with FileLock(work / "busy" / "training.lock"):
        done = rethaw("train", "small.yaml", "--out", "busy", cwd=work, check=False)
    assert done.returncode == 2 and "another training is writing" in done.stderr
    rethaw("train", "small.yaml", "--out", "busy", cwd=work)
    assert not (work / "busy" / "training.lock").exists()


def test_a_mask_file_restores_without_a_state(work: Path, tmp_path: Path) -> None:
    half = np.zeros((16, 16), np.uint8)
    half[:, :8] = 255
    Image.fromarray(half).save(tmp_path / "mask16.png")
    rethaw(
        "train",
        "small.yaml",
        f"degradation={{use: core.mask, shape: file, path: {tmp_path / 'mask16.png'}}}",
        "--out",
        tmp_path / "run",
        cwd=work,
    )
    Image.open(work / "photos" / "0.png").convert("L").crop((0, 0, 16, 16)).save(tmp_path / "grey.png")
    rethaw("restore", tmp_path / "run", tmp_path / "grey.png", "--out", tmp_path / "out", cwd=work)
    assert size_and_mode(tmp_path / "out" / "grey.png") == ((16, 16), "L")
