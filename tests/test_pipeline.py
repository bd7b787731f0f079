"""Pipelines end to end: training, restoring, generating, saving; any size, any batch, known and unknown states."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import rethaw
from rethaw.api import Prediction, RethawError
from rethaw.config import load_text
from rethaw.engine.restorer.network import Restorer
from rethaw.engine.restorer.tiles import tiled
from rethaw.engine.sampling.files import Job, restore_picture
from rethaw.engine.sampling.how import How
from rethaw.images import Picture
from rethaw.ops import generators
from tests.helpers import photos, recipe
from tests.worlds import hosted, images, with_network

EIGHT_BIT = 2 / 255


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A function that trains a small pipeline once for each degradation: (degradation, extra YAML) → run folder."""
    root, made = tmp_path_factory.mktemp("runs"), {}
    data = photos(root / "photos")

    def train(degradation: str, extra: str = "") -> Path:
        if (degradation, extra) not in made:
            folder = root / str(len(made))
            folder.mkdir()
            rethaw.Pipeline.from_yaml(recipe(folder, data, degradation, extra)).train(folder / "run")
            made[degradation, extra] = folder / "run"
        return made[degradation, extra]

    return train


NOISE, MASK = "{use: core.gaussian_noise}", "{use: core.mask}"
BLUR = "[{id: blur, use: kornia.gaussian_blur, sigma_max: 2.0}]"


def test_a_run_holds_all_that_loading_needs_and_pictures_to_look_at(trained: Any, tmp_path: Path) -> None:
    run = trained(BLUR)
    names = {path.name for path in run.iterdir()}
    assert {"resolved.yaml", "lock.json", "model.safetensors", "checkpoint.pt", "log.jsonl", "preview.png"} <= names
    lock = json.loads((run / "lock.json").read_text())
    assert lock["plugins"]["kornia"]["distribution"] == "rethaw-kornia" and lock["image_shape"] == [3, 16, 16]
    pipeline = rethaw.Pipeline.load(run)
    pipeline.save(tmp_path / "copy")
    again = rethaw.Pipeline.load(tmp_path / "copy")
    x = images(2, height=16, width=16, dtype=torch.float32)
    assert torch.equal(pipeline.restore(x), again.restore(x))
    assert again.config == pipeline.config


@pytest.mark.parametrize("degradation", [NOISE, MASK, BLUR])
@pytest.mark.parametrize("sampler", ["core.direct", "core.naive", "core.cold"])
def test_the_same_seed_gives_the_same_image_in_any_batch(trained: Any, degradation: str, sampler: str) -> None:
    pipeline = rethaw.Pipeline.load(trained(degradation))
    many = pipeline.generate(5, sampler=sampler, steps=None if sampler == "core.direct" else 4, seed=3)
    few = pipeline.generate(2, sampler=sampler, steps=None if sampler == "core.direct" else 4, seed=3)
    assert (many[:2] - few).abs().max() <= EIGHT_BIT
    assert not torch.allclose(many, pipeline.generate(5, sampler=sampler, seed=4), atol=EIGHT_BIT)


@pytest.mark.parametrize("size", [(16, 16), (33, 21), (5, 50), (1, 1)])
def test_images_of_any_size_come_back_in_their_size(trained: Any, size: tuple[int, int]) -> None:
    pipeline = rethaw.Pipeline.load(trained(BLUR))
    x = images(2, height=size[0], width=size[1], dtype=torch.float32)
    restored = pipeline.restore(x)
    assert restored.shape == x.shape and torch.isfinite(restored).all()
    tensor, picture = pipeline.restore([x[0], Image.new("L", (9, 7))])
    assert tensor.shape == (3, *size) and picture.pixels.shape == (3, 7, 9)


def test_restoring_in_a_list_is_restoring_in_a_batch(trained: Any) -> None:
    pipeline = rethaw.Pipeline.load(trained(NOISE))
    x = images(3, height=16, width=16, dtype=torch.float32)
    assert (torch.stack(pipeline.restore(list(x), 0.5)) - pipeline.restore(x, 0.5).cpu()).abs().max() <= EIGHT_BIT


def test_a_list_takes_the_state_of_each_image_and_one_severity_as_a_tensor(trained: Any) -> None:
    pipeline = rethaw.Pipeline.load(trained(MASK))
    x, hidden = images(2, height=16, width=16, dtype=torch.float32), torch.zeros(2, 1, 16, 16)
    hidden[0, ..., :8], hidden[1, ..., 8:] = 1, 1
    batch = pipeline.restore(x, torch.tensor(0.5), state={"mask": hidden}).cpu()
    for count, masks in ((2, hidden), (1, hidden[:1])):  # a mask each, one mask for all
        found = torch.stack(pipeline.restore([*x[:count], x[0]][:2], torch.tensor(0.5), state={"mask": masks}))
        assert (found - batch[[0, count - 1]]).abs().max() <= EIGHT_BIT


def test_one_picture_is_edited_as_a_list_of_one(trained: Any) -> None:
    pipeline, image = rethaw.Pipeline.load(trained(NOISE)), Image.new("RGB", (16, 16), "red")
    assert torch.equal(pipeline.edit(image, 0.5), pipeline.edit([image], 0.5))


def test_samplers_do_not_draw_again_what_the_degradation_drew(trained: Any) -> None:
    """Under one seed, fresh noise must be unlike the noise that is in the image, in Python and of --degrade."""
    pipeline = rethaw.Pipeline.load(trained(NOISE))
    noise, x0 = pipeline.parts.degradation, images(1, height=16, width=16, dtype=torch.float32)
    x_t, state = pipeline.degrade(x0, 0.8, seed=3)
    how = How("core.renoise", steps=2, seed=3)
    walk = list(pipeline.trajectory(x_t, 0.8, sampler="core.renoise", steps=2, seed=3))
    job = Job(0.8, how, degrade=True, animate=True)
    frames = restore_picture(pipeline.walker, Picture(x0[0], Path("x.png")), job).frames
    fresh = [(walk[1].x, walk[0].x0_hat), (frames[1].x[None], frames[0].x0_hat[None])]
    for x, x0_hat in fresh:
        x, x0_hat = x.to(x_t), x0_hat.to(x_t)
        z = noise.infer(x, x0_hat, torch.full((1,), 0.4, device=x.device), {})["z"]
        assert z.std() > 0.8 and (z * state["z"]).mean().abs() < 0.3


def test_tiles_leave_no_seam() -> None:
    """A network that sees little context gives the same image in tiles and whole."""

    class Local(torch.nn.Module):
        multiple = 8

        def forward(self, x: Any, t: Any, cond: Any) -> Any:
            assert x.shape[-1] % 8 == 0 and x.shape[-2] % 8 == 0
            return torch.nn.functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False) * t.view(-1, 1, 1, 1)

    x, t = images(2, height=150, width=331), torch.tensor([0.5, 1.0], dtype=torch.float64)
    network = Restorer(Local())
    whole, parts = tiled(network, x, t, {}, None), tiled(network, x, t, {}, (96, 96))
    apart = (whole - parts)[..., 2:-2, 2:-2].abs()  # the outermost pixels also feel the padding
    assert apart.max() < 0.05 and apart.mean() < 1e-4


def test_an_unknown_state_asks_for_the_state_or_direct_sampling(trained: Any) -> None:
    pipeline = rethaw.Pipeline.load(trained(MASK))
    x = images(2, height=16, width=16, dtype=torch.float32)
    with pytest.raises(RethawError, match=r"cold sampling cannot undo core\.mask: .* state is not known"):
        pipeline.restore(x)
    assert pipeline.restore(x, sampler="core.direct").shape == x.shape
    hidden = torch.zeros(2, 1, 16, 16)
    hidden[..., :8] = 1
    restored = pipeline.restore(x, state={"mask": hidden})
    assert torch.isfinite(restored).all()


def test_cold_sampling_keeps_what_a_known_mask_shows(trained: Any) -> None:
    pipeline = rethaw.Pipeline.load(trained(MASK))
    clean = images(2, height=16, width=16, dtype=torch.float32).to(pipeline.parts.device)
    x_t, state = pipeline.degrade(clean)
    shown = (state["mask"] == 0).expand_as(clean)
    assert (pipeline.restore(x_t, state=state) - clean)[shown].abs().max() < 1e-5


def test_bad_severities_samplers_and_untrained_pipelines(trained: Any, tmp_path: Path) -> None:
    pipeline = rethaw.Pipeline.load(trained(BLUR))
    x = images(1, height=16, width=16, dtype=torch.float32)
    for severity in (0.0, 1.5, -1.0, float("nan")):
        with pytest.raises(RethawError, match="severity"):
            pipeline.restore(x, severity)
    with pytest.raises(RethawError, match=r"Did you mean core\.cold"):
        pipeline.restore(x, sampler="core.colt")
    untrained = rethaw.Pipeline.from_yaml(recipe(tmp_path, tmp_path / "none"))
    with pytest.raises(RethawError, match="not trained"):
        untrained.restore(x)


def test_guidance_is_extrapolation_from_the_null_condition(tmp_path: Path) -> None:
    text = """
degradation: {use: core.gaussian_noise}
backbone: {use: core.unet, width: 8, multipliers: [1], blocks: 1}
conditioner: [{use: core.label, classes: [cat, dog]}]
guidance: {scale: 2.5}
restorer: {clip: false}
"""
    pipeline = with_network(rethaw.Pipeline(*load_text(text), device="cpu"))
    pipeline.walker.restorer.double()
    for parameter in pipeline.walker.restorer.parameters():
        torch.nn.init.normal_(parameter, std=0.2, generator=torch.Generator().manual_seed(parameter.numel()))
    x, t = images(2, height=16, width=16), torch.tensor([0.4, 0.8], dtype=torch.float64)
    cond = pipeline.parts.conditioners.encode({"label": ["cat", "dog"]}, x)
    null = pipeline.parts.conditioners.null(x)
    with torch.no_grad():
        how = How(cond={"label": ["cat", "dog"]})
        guided = pipeline.walker.bound(pipeline.parts.degradation, x, {}, how)(x, t).x0
        yes, no = pipeline.walker.restorer(x, t, cond), pipeline.walker.restorer(x, t, null)
    assert (yes - no).abs().max() > 1e-3
    assert (guided - (no + 2.5 * (yes - no))).abs().max() < 1e-10
    with pytest.raises(RethawError, match="unknown label fish"):
        pipeline.parts.conditioners.encode({"label": ["cat", "fish"]}, x)


def test_labels_come_from_the_folders_and_steer_a_run(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        photos(tmp_path / "data" / label, 3)
    path = recipe(tmp_path, tmp_path / "data", NOISE, "conditioner: {use: core.label}\n")
    rethaw.Pipeline.from_yaml(path).train(tmp_path / "run")
    pipeline = rethaw.Pipeline.load(tmp_path / "run")
    assert pipeline.config.conditioner[0].params.classes == ("cat", "dog")
    assert pipeline.generate(2, cond={"label": ["cat", "dog"]}, steps=2).shape == (2, 3, 16, 16)


def test_a_prior_is_fitted_where_the_degradation_has_none(trained: Any) -> None:
    assert "means" in rethaw.Pipeline.load(trained(BLUR)).walker.fitted
    assert not rethaw.Pipeline.load(trained(NOISE)).walker.fitted
    x, _ = rethaw.Pipeline.load(trained(BLUR)).walker.start(64, None, 0)
    assert x.std((2, 3)).mean() < 0.01 and x.mean((2, 3)).std(0).min() > 0.001  # flat colours that differ


def test_training_learns(tmp_path: Path) -> None:
    data = photos(tmp_path / "photos", 12)
    path = recipe(tmp_path, data)
    overrides = ["train.steps=150", "train.lr=0.003", "train.batch_size=8", "train.checkpoint_every=1000", "seed=1"]
    pipeline = rethaw.Pipeline.from_yaml(path, overrides)
    outcome = pipeline.train(tmp_path / "run")
    rows = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert outcome.finished and rows[-1]["loss"] < 0.7 * rows[1]["loss"]


def test_training_leaves_the_global_random_state_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    rethaw.Pipeline.from_yaml(recipe(tmp_path, photos(tmp_path / "photos"), NOISE)).train(tmp_path / "run")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.long
def test_workers_and_accumulation_do_not_change_what_is_seen(tmp_path: Path) -> None:
    data = photos(tmp_path / "photos")
    path = recipe(tmp_path, data, "[{use: core.mask}, {use: core.gaussian_noise}]")
    weights = []
    for i, overrides in enumerate(
        (["train.workers=0"], ["train.workers=2"], ["train.batch_size=1", "train.accumulate=2"])
    ):
        pipeline = rethaw.Pipeline.from_yaml(path, [*overrides, "train.clip_grad=0"])
        pipeline.train(tmp_path / str(i))
        weights.append(torch.cat([p.detach().flatten() for p in pipeline.walker.restorer.parameters()]))  # type: ignore[union-attr]
    assert torch.equal(weights[0], weights[1])
    assert (weights[0] - weights[2]).abs().max() < 1e-4


def test_a_diverging_loss_is_told(tmp_path: Path) -> None:
    path = recipe(tmp_path, photos(tmp_path / "photos"))
    with pytest.raises(RethawError, match=r"the loss is|the weights are not finite"):
        rethaw.Pipeline.from_yaml(path, ["train.lr=1e30", "train.clip_grad=0", "train.steps=60"]).train(
            tmp_path / "run"
        )


def test_the_oracle_through_the_whole_pipeline(monkeypatch: pytest.MonkeyPatch, trained: Any) -> None:
    from rethaw.engine.sampling import walking as module

    pipeline = rethaw.Pipeline.load(trained(BLUR))
    clean = images(2, height=16, width=16).to(pipeline.parts.device)
    monkeypatch.setattr(module, "guided", lambda *_: lambda x, t: Prediction(clean))
    x_t = pipeline.parts.degradation.degrade(clean, torch.ones(2).to(clean), {})
    assert (pipeline.restore(x_t) - clean).abs().max() <= 1e-12


def test_a_list_of_one_has_prefixed_states_and_a_mapping_has_not() -> None:
    x = images(2)
    for text, key in (
        ("{use: core.mask}", "mask"),
        ("[{use: core.mask}]", "mask.mask"),
        ("[{id: a, use: core.mask}]", "a.mask"),
    ):
        degradation = hosted(f"degradation: {text}")
        assert set(degradation.draw(x, generators(0, 2))) == {key}


def test_dropout_draws_from_the_trainings_own_seed(tmp_path: Path) -> None:
    path = recipe(tmp_path, photos(tmp_path / "photos"))
    weights = []
    for i in range(2):
        torch.manual_seed(i)
        pipeline = rethaw.Pipeline.from_yaml(path, ["backbone.dropout=0.5", "train.steps=6"])
        pipeline.train(tmp_path / str(i))
        weights.append((tmp_path / str(i) / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]


def test_a_broken_training_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    from rethaw.engine.training.checkpoint import load_checkpoint

    path = recipe(tmp_path, photos(tmp_path / "photos"))
    overrides = ["train.lr=1e30", "train.clip_grad=0", "train.steps=15", "train.checkpoint_every=1"]
    with pytest.raises(RethawError, match=r"the loss is|the weights are not finite"):
        rethaw.Pipeline.from_yaml(path, overrides).train(tmp_path / "run")
    if (tmp_path / "run" / "checkpoint.pt").is_file():
        saved = load_checkpoint(tmp_path / "run" / "checkpoint.pt")
        assert all(torch.isfinite(value).all() for value in saved["network"].values())


@pytest.mark.parametrize("ema", ["0.9", "0"])
def test_a_trained_pipeline_is_the_one_that_is_loaded(tmp_path: Path, ema: str) -> None:
    pipeline = rethaw.Pipeline.from_yaml(
        recipe(tmp_path, photos(tmp_path / "photos")), ["train.precision=bf16", f"train.ema={ema}"]
    )
    pipeline.train(tmp_path / "run")
    x = images(2, height=16, width=16, dtype=torch.float32)
    assert torch.equal(pipeline.restore(x), rethaw.Pipeline.load(tmp_path / "run").restore(x))


def test_tiny_images_have_metrics(tmp_path: Path) -> None:
    for side in (1, 5, 10, 11, 40):
        x = images(2, height=side, width=side, dtype=torch.float32)
        for name in ("core.psnr", "core.ssim", "core.rmse"):
            meter = rethaw.build("metric", name)
            meter.update(x * 0.5, x)
            assert torch.isfinite(torch.tensor(meter.compute())), (name, side)


def test_a_backbone_of_the_wrong_shape_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rethaw.builtin.backbones.unet import UNet

    monkeypatch.setattr(UNet, "forward", lambda self, x, t, cond: x[:, :1])
    with pytest.raises(RethawError, match=r"core\.unet .*\(2, 1, 16, 16\)"):
        rethaw.Pipeline.from_yaml(recipe(tmp_path, photos(tmp_path / "photos")), ["restorer.prediction=x0"]).train(
            tmp_path / "run"
        )


def test_a_state_that_only_a_part_of_which_can_be_inferred_is_not_inferred(tmp_path: Path) -> None:
    text = (
        "degradation: [{use: core.mask}, {use: core.gaussian_noise}]\n"
        "backbone: {use: core.unet, width: 8, multipliers: [1]}"
    )
    pipeline = rethaw.Pipeline(*load_text(text), device="cpu")
    with_network(pipeline)
    x_t, state = pipeline.degrade(images(2, height=16, width=16).float())
    with pytest.raises(RethawError, match=r"cold sampling cannot undo core\.mask .*state is not known"):
        pipeline.restore(x_t, sampler="core.cold")
    assert pipeline.restore(x_t, sampler="core.direct").shape == x_t.shape
    assert pipeline.parts.known(state) is state
    for sampler in ("sampler.state=fixed", "sampler.state=inferred"):
        walked = rethaw.Pipeline(*load_text(text, [sampler, "sampler.steps=3"]), device="cpu")
        with_network(walked, pipeline.walker.restorer)
        assert torch.isfinite(walked.restore(x_t, state=state)).all()


def test_odd_tensors_and_severities_are_refused_in_words(trained: Any) -> None:
    pipeline = rethaw.Pipeline.load(trained(BLUR))
    x = images(2, height=16, width=16)
    for wrong in (x[0], x[:, :1], x[:0], (x * 255).byte()):
        with pytest.raises(RethawError, match=r"floating-point tensors \(B, 3, H, W\)"):
            pipeline.restore(wrong, 1.0)
    with pytest.raises(RethawError, match="3 severities for 2 images"):
        pipeline.restore(x, torch.ones(3))
    with pytest.raises(RethawError, match=r"severity 2 is not in \(0, 1\]"):
        pipeline.restore(x, torch.tensor([1.0, 2.0]))
