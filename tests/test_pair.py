"""Degradations that ask for fields of the data's items, and `core.pair`, which does: pairs and no formula."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from torch import Tensor

import rethaw
from rethaw.api import Prediction, RethawError
from rethaw.config import load_text
from rethaw.engine.degradation.build import build_degradation
from rethaw.engine.parts import assemble
from rethaw.engine.sampling.checks import check_sampler
from rethaw.engine.training.examples import for_batch, training_order
from rethaw.ops import expand, generators
from tests.helpers import photos
from tests.helpers import rethaw as cli
from tests.worlds import images

SMALL = (
    "backbone: {use: core.unet, width: 8, multipliers: [1], blocks: 1}\nrestorer: {prediction: residual}\n"
    "sampler: {use: core.cold, steps: 3, state: inferred}\n"
    "train: {steps: 4, batch_size: 2, checkpoint_every: 2, warmup: 0}\n"
)


def text(data: str, degradation: str = "{use: core.pair}", extra: str = "") -> str:
    return f"version: 1\ndata: {data}\ndegradation: {degradation}\n{SMALL}{extra}"


def pair_folder(folder: Path, count: int = 4) -> Path:
    """clean/ and degraded/: photographs, and these blurred."""
    photos(folder / "clean", count)
    (folder / "degraded").mkdir()
    for file in (folder / "clean").iterdir():
        Image.open(file).filter(ImageFilter.GaussianBlur(2)).save(folder / "degraded" / file.name)
    return folder


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pairs, their pipeline and a run of it."""
    folder = tmp_path_factory.mktemp("pair")
    pair_folder(folder / "pairs")
    (folder / "pair.yaml").write_text(text(f"{{use: core.pairs, path: {folder}/pairs, size: 16}}"))
    cli("train", "pair.yaml", "--out", "run", cwd=folder)
    return folder


def pixels(path: Path) -> Any:
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


# --- the mathematics ---------------------------------------------------------------------------------------------


def given(noise: float = 0.0, **keys: Any) -> tuple[Any, Tensor, Tensor, Any]:
    """The degradation for three images, these, their partners, and a state."""
    x0, y = images(), images(seed=7)
    d: Any = rethaw.build("degradation", "core.pair", noise=noise, **keys)
    d = d.for_items({d.fields[0]: y})
    return d, x0, y, d.draw(x0, generators(3, 3))


def test_it_goes_from_the_image_to_its_partner() -> None:
    for noise in (0.0, 0.4):
        d, x0, y, state = given(noise)
        assert torch.equal(d.degrade(x0, expand(0.0, x0), state), x0)
        assert torch.equal(d.degrade(x0, expand(1.0, x0), state), y)
        t = torch.tensor([0.2, 0.5, 0.9], dtype=x0.dtype)
        u = t.view(-1, 1, 1, 1)
        wanted = (1 - u) * x0 + u * y
        if noise:
            wanted = wanted + noise * (u * (1 - u)) ** 0.5 * state["z"]
        assert (d.degrade(x0, t, state) - wanted).abs().max() < 1e-12


def test_the_bridge_has_its_deviation() -> None:
    x0 = torch.zeros(1, 3, 64, 64, dtype=torch.float64).expand(3, -1, -1, -1)
    d: Any = rethaw.build("degradation", "core.pair", noise=0.5)
    d = d.for_items({"degraded": x0})
    for t in (0.1, 0.5, 0.8):
        x = d.degrade(x0, expand(t, x0), d.draw(x0, generators(0, 3)))
        assert float(x.std()) == pytest.approx(0.5 * (t * (1 - t)) ** 0.5, rel=0.02)


def test_cold_sampling_with_inferred_state_is_indi() -> None:
    """x_s = (s/t) x_t + (1 - s/t) R(x_t, t), 2303.11435: written out, beside the samplers."""
    d, _, y, _ = given()

    def restore(x: Tensor, t: Tensor) -> Prediction:
        return Prediction(torch.sin(3 * x) - 0.2 * t.view(-1, 1, 1, 1) * x)

    steps, wanted = 5, y
    for k in range(steps, 0, -1):
        t, s = k / steps, (k - 1) / steps
        wanted = s / t * wanted + (1 - s / t) * restore(wanted, expand(t, y)).x0
    for use, more in (("core.cold", {"state": "inferred"}), ("core.ddim", {})):
        sampler = rethaw.build("sampler", use, steps=steps, **more)
        *_, end = sampler.trajectory(restore, y, sampler.severities(d, 1.0), d, None, generators(0, 3))
        assert (end.x - wanted).abs().max() < 1e-9, use


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_a_file_is_its_own_state(noise: float) -> None:
    d, x0, y, state = given(noise)
    found = d.infer(y, torch.zeros_like(x0), expand(1.0, x0), {})
    assert torch.equal(found["degraded"], y) and found.keys() == state.keys()
    t = torch.tensor([0.2, 0.5, 0.9], dtype=x0.dtype)
    x_t = d.degrade(x0, t, state)
    if noise:
        assert (d.infer(x_t, x0, t, {"degraded": y})["z"] - state["z"]).abs().max() < 1e-9
    assert (d.degrade(x0, t, d.infer(x_t, x0, t, {})) - x_t).abs().max() < 1e-9


def test_what_takes_a_measurement_or_gaussian_noise_is_refused() -> None:
    d = given()[0]
    for use in ("core.ddpm", "core.ddrm", "core.probability_flow"):
        assert check_sampler(rethaw.build("sampler", use), d, None, None)
    noisy = given(0.3)[0]
    assert "no coefficients" in str(check_sampler(rethaw.build("sampler", "core.ddim"), noisy, None, None))


def test_a_partner_of_another_shape_is_told() -> None:
    d: Any = rethaw.build("degradation", "core.pair")
    d = d.for_items({"degraded": images(height=9)})
    with pytest.raises(RethawError, match=r"degraded is of shape \(3, 3, 9, 20\), and the images of shape"):
        d.degrade(images(), expand(0.5, images()), d.draw(images(), generators(0, 3)))


# --- asking for fields --------------------------------------------------------------------------------------------


def hosted(degradation: str) -> Any:
    config, registry = load_text(f"degradation: {degradation}")
    return build_degradation(config.degradation, config.composed, registry)


def test_members_of_a_list_and_of_a_mixture_get_what_they_ask_for() -> None:
    x0, y = images(), images(seed=7)
    one = expand(1.0, x0)
    for degradation in (
        "[{use: core.desaturate}, {use: core.pair}]",
        "[{id: last, use: core.mixture, of: [{use: core.pair}]}]",
    ):
        d = hosted(degradation)
        assert d.fields == ("degraded",)
        bound = d.for_items({"degraded": y})
        assert torch.equal(bound.degrade(x0, one, bound.draw(x0, generators(0, 3))), y)
        with pytest.raises(
            RethawError, match=r"core\.pair asks for 'degraded' of each image, which only data can give"
        ):
            d.draw(x0, generators(0, 3))  # what was bound is a copy
    assert hosted("core.fade").fields == ()


class Items:
    """Three images, whose items have more fields than the image."""

    def __init__(self, **fields: Any) -> None:
        self.fields = fields

    def __len__(self) -> int:
        return 3

    def item(self, index: int, generator: Any) -> Any:
        return {"image": torch.zeros(3, 8, 8), "path": "", **{k: v[index] for k, v in self.fields.items()}}


@pytest.mark.parametrize(
    "fields, message",
    [
        ({}, r"core\.folder gives no 'degraded' of its images, which core\.pair asks for\n.*core\.pairs has it"),
        ({"degraded": ["a", "b", "c"]}, r"'degraded', which is no tensor in the items of core\.folder"),
        ({"degraded": [torch.zeros(3, 8, 8 + i) for i in range(3)]}, r"'degraded' of several shapes in one batch"),
    ],
)
def test_data_without_the_field_are_told(fields: Any, message: str) -> None:
    config, registry = load_text(text("{use: core.folder, path: photos}"))
    degradation = assemble(config, registry, "cpu").degradation
    batch = training_order(Items(**fields), config, 3).batch(0, 3)
    with pytest.raises(RethawError, match=message):
        for_batch(degradation, batch, config)


def test_a_training_meets_each_image_with_its_own_partner(tmp_path: Path) -> None:
    """The partner is the negative, so that both are cut and mirrored alike exactly where their sum is 0."""
    photos(tmp_path / "clean", 5)
    (tmp_path / "degraded").mkdir()
    for file in (tmp_path / "clean").iterdir():
        Image.fromarray(255 - np.asarray(Image.open(file))).save(tmp_path / "degraded" / file.name)
    config, registry = load_text(text(f"{{use: core.pairs, path: {tmp_path}, size: 16, crop: random}}"))
    parts = assemble(config, registry, "cpu")
    batch = training_order(parts.data(), config, 5).batch(0, 5)
    x0 = batch["image"]
    d = for_batch(parts.degradation, batch, config)
    x1 = d.degrade(x0, expand(1.0, x0), d.draw(x0, generators(0, 5)))
    assert (x1 + x0).abs().max() < 1e-5 and len({float(x.sum()) for x in x0}) == 5


LONG = pytest.mark.long


@pytest.mark.long
@pytest.mark.parametrize("more", ["", *(pytest.param(x, marks=LONG) for x in ("train.workers=2", "train.unfold={}"))])
def test_an_interrupted_training_ends_as_an_uninterrupted_one(more: str, work: Path, tmp_path: Path) -> None:
    def pipeline() -> rethaw.Pipeline:
        return rethaw.Pipeline.from_yaml(work / "pair.yaml", [*([more] if more else []), "degradation.noise=0.2"])

    def breaks(progress: Any) -> None:
        if progress.step == 3:
            raise KeyError("a fault")

    pipeline().train(tmp_path / "whole")
    with pytest.raises(KeyError, match="a fault"):
        pipeline().train(tmp_path / "parts", watch=breaks)
    pipeline().train(tmp_path / "parts", resume=True)
    first, second = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "parts"))
    assert first == second


# --- the commands ---------------------------------------------------------------------------------------------------


def layout(kind: str, folder: Path) -> str:
    """The same pairs as people have them, and the data of a YAML."""
    source = pair_folder(folder / "_")
    files = sorted((source / "clean").iterdir())
    if kind == "two folders":
        shutil.copytree(source / "clean", folder / "pairs" / "GT")
        shutil.copytree(source / "degraded", folder / "pairs" / "LQ")
        return f"{{use: core.pairs, path: {folder}/pairs, folders: [GT, LQ], size: 16}}"
    (folder / "pairs").mkdir()
    names = [(f"{f.stem}_gt.png", f"{f.stem}_lq.png") for f in files]
    for file, (clean, degraded) in zip(files, names, strict=True):
        shutil.copy(file, folder / "pairs" / clean)
        shutil.copy(source / "degraded" / file.name, folder / "pairs" / degraded)
    if kind == "suffixes":
        return f"{{use: core.pairs, path: {folder}/pairs, suffixes: [_gt, _lq], size: 16}}"
    table = folder / "pairs" / kind
    with table.open("w", newline="") as file:
        if kind.endswith("jsonl"):
            file.writelines(json.dumps({"image": a, "degraded": b}) + "\n" for a, b in names)
        else:
            csv.writer(file).writerows([("image", "degraded"), *names])
    return f"{{use: core.pairs, path: {folder}/pairs, table: {kind}, size: 16}}"


@pytest.mark.parametrize(
    "kind", ["two folders", "pairs.csv", *(pytest.param(kind, marks=LONG) for kind in ("suffixes", "metadata.jsonl"))]
)
def test_one_yaml_trains_restores_and_evaluates(kind: str, tmp_path: Path) -> None:
    (tmp_path / "pair.yaml").write_text(text(layout(kind, tmp_path)))
    lone = "LQ/lone.png" if kind == "two folders" else "lone_lq.png"
    photos(tmp_path / "more", 1)
    shutil.copy(tmp_path / "more" / "0.png", tmp_path / "pairs" / lone)
    trained = cli("train", "pair.yaml", "--out", "run", cwd=tmp_path)
    listed = kind in ("two folders", "suffixes")  # a table names what it wants
    assert ("lone" in trained.stdout + trained.stderr) == listed
    cli("restore", "run", tmp_path / "_" / "degraded" / "1.png", "--out", "restored", cwd=tmp_path)
    assert pixels(tmp_path / "restored" / "1.png").shape == pixels(tmp_path / "_" / "clean" / "1.png").shape
    done = cli("evaluate", "run", "--data", "pairs", "--sampler", "core.direct", cwd=tmp_path)
    assert ("has no partner" in done.stderr) == listed and "4 images" in done.stdout
    found = json.loads((tmp_path / "run" / "evaluation" / "results.json").read_text())["rows"]["degraded"]["rmse"]
    sides = [[pixels(tmp_path / "_" / side / f"{i}.png") / 255 for i in range(4)] for side in ("clean", "degraded")]
    rmse = np.sqrt(np.mean([np.mean((a - b) ** 2) for a, b in zip(*sides, strict=True)]))
    assert found == pytest.approx(rmse, rel=0.05)


def test_every_sampler_restores_a_file_or_says_why_not(work: Path) -> None:
    done = cli(
        *("evaluate", "run", "--data", "pairs", "--steps", "2"),
        *(word for s in SAMPLERS for word in ("-s", f"core.{s}")),
        *("--out", "every"),
        cwd=work,
    )
    assert all(f"| core.{sampler}" in done.stdout for sampler in SAMPLERS), done.stderr


SAMPLERS = ("direct", "naive", "cold", "renoise", "ddim", "flow", "edm", "dpm_solver")


@pytest.mark.long
def test_commands_without_a_partner_are_refused_in_words(work: Path) -> None:
    clean, degraded = work / "pairs/clean/0.png", work / "pairs/degraded/0.png"
    for words, message in (
        (("restore", "run", clean, "--degrade"), "core.pair asks for 'degraded' of each image"),
        (("interpolate", "run", clean, clean), "which only data can give"),
        (("generate", "run", "--from", clean, "--strength", "0.5"), "which only data can give"),
        (("degrade", "pair.yaml", degraded), "it is no clean image of the pipeline's data"),
        (("calibrate", "pair.yaml", "--images", clean), "which only data can give"),
        (("evaluate", "run", "--data", work / "pairs/clean"), "has no pair in it"),
        (("train", "pair.yaml", "data={use: core.photos, size: 16}"), "core.photos gives no 'degraded' of its images"),
    ):
        done = cli(*words, cwd=work, check=False)
        assert done.returncode == 2 and message in done.stderr, done.stderr


def test_degrade_draws_the_way_to_the_partner(work: Path) -> None:
    cli("degrade", "pair.yaml", "pairs/clean/1.png", "-n", "3", "--out", "way.png", cwd=work)
    assert (work / "way.png").is_file()
    found = cli("calibrate", "pair.yaml", "-n", "3", cwd=work)
    assert "use: core.pair" in found.stdout


def test_a_known_partner_is_a_state_like_a_mask(work: Path) -> None:
    """At a severity below 1 the file is not its own partner; one that is given is kept to."""
    cli(
        *("restore", "run", "pairs/clean/1.png", "--severity", "0.5", "--out", "known"),
        *("--state", "degraded=pairs/degraded/1.png", "--sampler", "core.naive"),
        cwd=work,
    )
    assert (work / "known" / "1.png").is_file()


def test_python_restores_degrades_and_generates(work: Path, tmp_path: Path) -> None:
    pipeline = rethaw.Pipeline.load(work / "run")
    y, x0 = images(2, height=16, width=16, dtype=torch.float32), images(2, height=16, width=16, seed=3).float()
    direct = pipeline.restore(y, sampler="core.direct")
    assert (
        direct.shape == y.shape and (pipeline.restore(y, sampler="core.renoise", steps=1) - direct).abs().max() < 1e-5
    )
    x, state = pipeline.degrade(x0, 0.25, degraded=y)
    assert (x - (0.75 * x0 + 0.25 * y)).abs().max() < 1e-6 and torch.equal(state["degraded"], y)
    with pytest.raises(RethawError, match="which only data can give"):
        pipeline.degrade(x0)
    with_prior = rethaw.Pipeline.from_yaml(work / "pair.yaml", ["prior={use: core.gaussian}", "train.steps=1"])
    with_prior.train(tmp_path / "run")
    assert with_prior.generate(2, steps=2).shape == (2, 3, 16, 16)


def test_renoise_draws_the_bridge_anew_about_the_same_partner(work: Path) -> None:
    """With a network that gives 0, x_s = s y + noise √(s(1-s)) z: about y, and not twice the same."""
    d: Any = rethaw.build("degradation", "core.pair", noise=0.3)
    y = images(1, height=64, width=64)
    bound = d.for_items({"degraded": y})
    sampler: Any = rethaw.build("sampler", "core.renoise", steps=2)
    zero = lambda x, t: Prediction(torch.zeros_like(x))  # noqa: E731
    _, middle, _ = sampler.trajectory(zero, y, sampler.severities(bound, 1.0), bound, None, generators(0, 1))
    assert float((middle.x - 0.5 * y).std()) == pytest.approx(0.15, rel=0.05)


def test_misaligned_broken_and_other_sized_pairs_are_listed_by_every_command(tmp_path: Path) -> None:
    pairs = pair_folder(tmp_path / "pairs", 6)
    moved = np.roll(np.asarray(Image.open(pairs / "degraded/0.png")), (5, 4), (0, 1))
    Image.fromarray(moved).save(pairs / "degraded/0.png")
    Image.open(pairs / "degraded/1.png").resize((20, 16)).save(pairs / "degraded/1.png")
    (pairs / "clean/2.png").write_bytes(b"no image")
    (tmp_path / "pair.yaml").write_text(text(f"{{use: core.pairs, path: {pairs}, size: 16}}"))
    cli("train", "pair.yaml", "--out", "run", "train.steps=6", cwd=tmp_path)
    done = cli("evaluate", "run", "--data", "pairs", "--sampler", "core.direct", cwd=tmp_path)
    assert "3 images" in done.stdout
    for reason in (
        "pairs/clean/0.png: its partner pairs/degraded/0.png is moved against it by",
        "pairs/clean/1.png: it is 40×32 pixels, and its partner pairs/degraded/1.png 20×16",
        "pairs/clean/2.png: it is no image that can be read",
    ):
        assert reason in done.stderr, done.stderr


# --- blends into a dataset ------------------------------------------------------------------------------------------


def test_a_blend_goes_to_images_of_any_dataset(tmp_path: Path) -> None:
    photos(tmp_path / "faces", 3, (24, 20))
    folder = {"use": "core.folder", "path": str(tmp_path / "faces"), "size": 20, "crop": "random", "flip": False}
    d: Any = rethaw.build("degradation", "core.blend", of=folder)
    state = d.draw(images(30, height=20, width=20), generators(0, 30))
    data: Any = rethaw.build("dataset", "core.folder", **{k: v for k, v in folder.items() if k != "use"})
    whole = [data.read(i) for i in range(3)]
    cuts = {
        tuple(w[:, top : top + 20, left : left + 20].flatten().tolist())
        for w in whole
        for top in range(w.shape[1] - 19)
        for left in range(w.shape[2] - 19)
    }
    drawn = {tuple(z.float().flatten().tolist()) for z in state["z"]}
    assert drawn <= cuts and len(drawn) > 3
    assert d.draw(images(2, height=9, width=30), generators(0, 2))["z"].shape == (2, 3, 9, 30)
    with pytest.raises(RethawError, match="the dataset's images have 3 channels, those to degrade 1"):
        d.draw(images(1, channels=1), generators(0, 1))
    both: Any = rethaw.build("degradation", "core.blend", of=[folder, {"use": "core.photos", "size": 16}])
    assert both.draw(images(4), generators(0, 4))["z"].shape == images(4).shape
    with pytest.raises(RethawError, match="of `path` or of a dataset"):
        rethaw.build("degradation", "core.blend", of=folder, path=str(tmp_path / "faces"))
    with pytest.raises(RethawError, match=r"of.*core\.fade"):
        rethaw.build("degradation", "core.blend", of="core.fade")


def test_a_blend_into_a_dataset_is_written_into_the_run(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 3)
    blend = f"{{use: core.blend, of: {{use: core.folder, path: {tmp_path}/photos, size: 16}}}}"
    source = text(f"{{use: core.folder, path: {tmp_path}/photos, size: 16}}", blend).replace(", state: inferred", "")
    (tmp_path / "blend.yaml").write_text(source)
    rethaw.Pipeline.from_yaml(tmp_path / "blend.yaml").train(tmp_path / "run")
    loaded = rethaw.Pipeline.load(tmp_path / "run", ["degradation.process=vp"])
    assert loaded.generate(1, size=(16, 16)).shape == (1, 3, 16, 16)
