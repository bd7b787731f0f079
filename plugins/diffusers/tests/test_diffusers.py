"""Diffusion models that diffusers has made and saved: as runs they give what its own pipelines give."""

from __future__ import annotations

import itertools
import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMPipeline, DDIMScheduler, DDPMPipeline, DDPMScheduler, PNDMScheduler, UNet2DModel
from tests.helpers import photos
from tests.helpers import rethaw as command
from torch import Tensor

import rethaw
from rethaw.api import Context, RethawError
from rethaw.engine.importing import import_run
from rethaw.engine.sampling.how import How
from rethaw.engine.sampling.walking import Walker, last
from rethaw.testing import backbone_tests

T = 16
SMALL: dict[str, Any] = {
    "sample_size": 16,
    "block_out_channels": (8, 16),
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "attention_head_dim": 4,
}
PLAIN = {"down_block_types": ["DownBlock2D"] * 2, "up_block_types": ["UpBlock2D"] * 2, "add_attention": False}
TestUNet = backbone_tests("diffusers.unet", {"config": {**SMALL, **PLAIN}}, {"config": SMALL, "timesteps": 50})


def network(**other: Any) -> UNet2DModel:
    torch.manual_seed(0)
    return UNet2DModel(**{**SMALL, **other}).eval()


def saved(folder: Path, scheduler: Any, net: UNet2DModel | None = None, safe: bool = True) -> Any:
    """A pipeline of diffusers, in a folder too."""
    kind = DDIMPipeline if isinstance(scheduler, DDIMScheduler) else DDPMPipeline
    pipeline = kind(net or network(), scheduler)
    pipeline.save_pretrained(folder, safe_serialization=safe)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def theirs(pipeline: Any, steps: int, **how: Any) -> tuple[Tensor, Tensor]:
    """What a pipeline of diffusers gives, in [0, 1], and its last x, from seed 1."""
    seen, step = [], pipeline.scheduler.step

    def spy(*args: Any, **options: Any) -> Any:
        seen.append(step(*args, **options))
        return seen[-1]

    pipeline.scheduler.step = spy
    out = pipeline(2, torch.Generator().manual_seed(1), num_inference_steps=steps, output_type="np", **how).images
    return torch.from_numpy(out).permute(0, 3, 1, 2), seen[-1].prev_sample


def ours(walker: Walker, steps: int | None = None, size: int = 16) -> Tensor:
    """What the run gives from the same noise."""
    draws = torch.Generator().manual_seed(1)
    x = torch.randn((2, walker.parts.config.restorer.channels, size, size), generator=draws)
    return last(walker.trajectory(x, 1.0, How(steps=steps), generator=draws)).x


def near(a: Tensor, b: Tensor, within: float = 1e-4) -> bool:
    """To a part of what is largest, since without clipping a network that knows nothing goes far."""
    return float((a - b).abs().max()) <= within * max(1.0, float(b.abs().max()))


SCHEDULES: list[dict[str, Any]] = [
    {"beta_schedule": "linear"},
    {"beta_schedule": "scaled_linear", "beta_start": 0.001, "beta_end": 0.3},
    {"beta_schedule": "squaredcos_cap_v2"},
    {"beta_schedule": "sigmoid", "beta_end": 0.2},
    {"beta_schedule": "linear", "trained_betas": [0.002 * (i + 1) for i in range(T)]},
]
CLIPS: list[dict[str, Any]] = [{"clip_sample": True}, {"clip_sample": False}, {"clip_sample_range": 0.6}]
SPACINGS = ("leading", "trailing", "linspace")
PREDICTIONS = ("epsilon", "sample", "v_prediction")
GRID = list(itertools.product(SCHEDULES, PREDICTIONS, CLIPS))
QUICK = [GRID[i] for i in (0, 13, 26, 19, 38)]
"""Each schedule, prediction type and clipping in one of them."""


@pytest.mark.parametrize(
    "schedule, prediction, clip",
    [pytest.param(*each, marks=[] if each in QUICK else pytest.mark.long) for each in GRID],
)
def test_ddpm_is_the_pipeline_of_diffusers(
    schedule: dict[str, Any], prediction: str, clip: dict[str, Any], tmp_path: Path
) -> None:
    scheduler = DDPMScheduler(num_train_timesteps=T, prediction_type=prediction, **schedule, **clip)
    images, x = theirs(saved(tmp_path / "model", scheduler), T)
    walker, notes = import_run(str(tmp_path / "model"), tmp_path / "run")
    found = ours(walker)
    assert near(found, x) and near((found / 2 + 0.5).clamp(0, 1), images) and not notes
    again = rethaw.Pipeline.load(tmp_path / "run").walker
    assert near(ours(again, 2), ours(walker, 2), 1e-7), "the run as it is loaded gives something else"


DDIM = [
    each
    for each in itertools.product(PREDICTIONS, SPACINGS, (True, False), ((T, 0.0), (8, 0.0), (8, 1.0)))
    if each[1] != "linspace" or each[3][0] == T  # diffusers steps by T // steps, beside the timesteps of linspace
]


@pytest.mark.parametrize(
    "prediction, spacing, clip, how",
    [pytest.param(*each, marks=[] if i in (1, 10, 17, 37) else pytest.mark.long) for i, each in enumerate(DDIM)],
)
def test_ddim_is_the_pipeline_of_diffusers(
    prediction: str, spacing: str, clip: bool, how: tuple[int, float], tmp_path: Path
) -> None:
    """With clipping, as its option use_clipped_model_output has it: ε̂ always goes with the x̂0 that is used."""
    steps, eta = how
    given = {"num_train_timesteps": T, "prediction_type": prediction, "timestep_spacing": spacing, "clip_sample": clip}
    pipeline = saved(tmp_path / "model", DDIMScheduler(**given))
    images, x = theirs(pipeline, steps, eta=eta, use_clipped_model_output=clip)
    walker, _ = import_run(str(tmp_path / "model"), tmp_path / "run", [f"sampler.eta={eta}"])
    found = ours(walker, steps)
    assert near(found, x) and near((found / 2 + 0.5).clamp(0, 1), images)


@pytest.mark.parametrize(
    "spacing, variance",  # of trailing and fixed_large, diffusers adds noise in the last step, too
    [("leading", "fixed_large"), ("trailing", "fixed_small_log"), ("linspace", "fixed_small")],
)
def test_ddpm_with_fewer_steps_is_that_of_diffusers(spacing: str, variance: str, tmp_path: Path) -> None:
    scheduler = DDPMScheduler(num_train_timesteps=T, timestep_spacing=spacing, variance_type=variance)
    x = theirs(saved(tmp_path / "model", scheduler), 8)[1]
    assert near(ours(import_run(str(tmp_path / "model"), tmp_path / "run")[0], 8), x)


@pytest.mark.long
@pytest.mark.parametrize("schedule", ["linear", "squaredcos_cap_v2"])
def test_a_thousand_steps_are_those_of_diffusers(schedule: str, tmp_path: Path) -> None:
    """Its coefficients in double precision: in single, 1 - α of the cosine's first levels is off by a thousandth."""
    pipeline = saved(tmp_path / "model", DDPMScheduler(beta_schedule=schedule))
    for name in ("alphas_cumprod", "one"):
        setattr(pipeline.scheduler, name, getattr(pipeline.scheduler, name).double())
    x = theirs(pipeline, 1000)[1]
    assert near(ours(import_run(str(tmp_path / "model"), tmp_path / "run")[0]), x, 1e-5)


def test_a_learned_variance_is_that_of_diffusers(tmp_path: Path) -> None:
    scheduler = DDPMScheduler(num_train_timesteps=T, variance_type="learned_range")
    net = network(out_channels=6)
    net.conv_out.weight.data *= 0.1  # the place of the variance stays between its ends, where core.ddpm keeps it
    net.save_pretrained(tmp_path / "model/unet")
    scheduler.save_pretrained(tmp_path / "model/scheduler")
    draws = torch.Generator().manual_seed(1)
    x = torch.randn((2, 3, 16, 16), generator=draws)
    with torch.no_grad():
        for t in scheduler.timesteps:
            x = scheduler.step(net(x, t).sample, t, x, generator=draws).prev_sample
    walker, _ = import_run(str(tmp_path / "model"), tmp_path / "run")
    assert walker.parts.config.sampler.params.variance == "learned" and near(ours(walker), x)
    mean = import_run(str(tmp_path / "model"), tmp_path / "mean", ["restorer.variance=fixed", "sampler.variance=small"])
    assert torch.isfinite(ours(mean[0])).all()


def test_the_table_is_exact_and_timesteps_are_the_networks_own(tmp_path: Path) -> None:
    scheduler = DDPMScheduler(beta_schedule="squaredcos_cap_v2")
    saved(tmp_path / "model", scheduler)
    walker, _ = import_run(str(tmp_path / "model"), tmp_path / "run")
    t = (torch.arange(1000, dtype=torch.float64) + 1) / 1000
    α, σ = walker.parts.degradation.coefficients(t)
    assert (α.square() - scheduler.alphas_cumprod.double()).abs().max() < 1e-15
    assert (σ.square() + α.square() - 1).abs().max() < 1e-12
    seen: list[Tensor] = []
    net = walker.restorer.backbone.network
    net.register_forward_pre_hook(lambda module, args: seen.append(args[1]))
    walker.restorer.backbone(torch.zeros(1000, 3, 2, 2), t.float(), {})
    assert torch.equal(seen[0].long(), torch.arange(1000))


@pytest.mark.parametrize("layout", ["side by side", "bare", "unet of a pipeline", "pickled", "sharded"])
def test_layouts(layout: str, tmp_path: Path) -> None:
    model = tmp_path / "model"
    x = theirs(saved(model, DDPMScheduler(num_train_timesteps=T), safe=layout != "pickled"), T)[1]
    source = model
    if layout in ("side by side", "bare"):
        for file in [*model.glob("unet/*"), *model.glob("scheduler/*")]:
            file.rename(model / file.name)
        (model / "unet").rmdir(), (model / "scheduler").rmdir()
        if layout == "bare":
            (model / "model_index.json").unlink()
    elif layout == "unet of a pipeline":
        source = model / "unet"
    elif layout == "sharded":
        shutil.rmtree(model / "unet")
        network().save_pretrained(model / "unet", max_shard_size="20KB")
        assert (model / "unet/diffusion_pytorch_model.safetensors.index.json").is_file()
    assert near(ours(import_run(str(source), tmp_path / "run")[0]), x)


def test_other_schedulers_and_what_differs(tmp_path: Path) -> None:
    saved(tmp_path / "model", DDPMScheduler(num_train_timesteps=T, thresholding=True, steps_offset=1))
    assert len(import_run(str(tmp_path / "model"), tmp_path / "a")[1]) == 2
    PNDMScheduler(num_train_timesteps=T).save_pretrained(tmp_path / "model/scheduler")
    walker, notes = import_run(str(tmp_path / "model"), tmp_path / "b")
    assert walker.parts.config.sampler.use == "core.ddim" and not walker.parts.config.restorer.clip and len(notes) == 2


# --- the run is a run, and a pipeline needs none ----------------------------------------------------------------------


def test_an_imported_run_restores_generates_and_is_evaluated(tmp_path: Path) -> None:
    saved(tmp_path / "model", DDIMScheduler(num_train_timesteps=T))
    import_run(str(tmp_path / "model"), tmp_path / "run", ["sampler.steps=2"])
    run = rethaw.Pipeline.load(tmp_path / "run")
    assert run.generate(2).shape == (2, 3, 16, 16)
    picture = run.restore(photos(tmp_path / "photos", 1, (37, 21)) / "0.png", 0.3)
    assert picture.pixels.shape == (3, 21, 37) and torch.isfinite(picture.pixels).all()
    with pytest.raises(RethawError, match="Choose another --out"):
        import_run(str(tmp_path / "model"), tmp_path / "run")


@pytest.mark.long
def test_commands_on_an_imported_run(tmp_path: Path) -> None:
    saved(tmp_path / "model", DDIMScheduler(num_train_timesteps=T))
    photos(tmp_path / "photos", 2, (37, 21))
    done = command("import", "model", "--out", "run", "sampler.steps=2", cwd=tmp_path)
    assert "diffusers.unet against core.gaussian_noise, by core.ddim" in done.stdout
    command("generate", "run", "-n", "2", cwd=tmp_path)
    command("restore", "run", "photos", "--degrade", "--severity", "0.3", cwd=tmp_path)
    command("evaluate", "run", "--data", "photos", "--limit", "2", cwd=tmp_path)


def test_a_pipeline_whose_network_brings_weights_needs_no_run(tmp_path: Path) -> None:
    saved(tmp_path / "model", DDIMScheduler(num_train_timesteps=T))
    text = "version: 1\ndegradation: {use: core.gaussian_noise, levels: 16}\nsampler: {use: core.ddim, steps: 2}\n"
    backbone = f"backbone: {{use: diffusers.unet, timesteps: 16, path: {tmp_path / 'model'}}}\n"
    (tmp_path / "my.yaml").write_text(text + backbone)
    (tmp_path / "none.yaml").write_text(text + f"backbone: {{use: diffusers.unet, config: {json.dumps(SMALL)}}}\n")
    import_run(str(tmp_path / "model"), tmp_path / "run", ["degradation={use: core.gaussian_noise, levels: 16}"])
    picture = photos(tmp_path / "photos", 1) / "0.png"
    made, run = (rethaw.Pipeline.load(tmp_path / name).restore(picture, 0.5, steps=2) for name in ("my.yaml", "run"))
    assert made.pixels.shape == run.pixels.shape == (3, 32, 40)
    with pytest.raises(RethawError, match="brings no weights"):
        rethaw.Pipeline.load(tmp_path / "none.yaml")


# --- hostile and broken sources ---------------------------------------------------------------------------------------


class Evil:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def change(path: Path, **what: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **what}))


def pickled(model: Path) -> None:
    (model / "unet/diffusion_pytorch_model.safetensors").unlink()
    torch.save({"conv_in.weight": Evil(model / "pwned")}, model / "unet/diffusion_pytorch_model.bin")


def bare_pickle(model: Path) -> None:
    (model / "unet/diffusion_pytorch_model.safetensors").unlink()
    (model / "unet/diffusion_pytorch_model.bin").write_bytes(pickle.dumps(Evil(model / "pwned")))


def sharded(name: str) -> Any:
    def act(model: Path) -> None:
        (model / "unet/diffusion_pytorch_model.safetensors").rename(model / "elsewhere.safetensors")
        index = {"metadata": {}, "weight_map": {"conv_in.weight": name}}
        (model / "unet/diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))

    return act


def truncated(model: Path) -> None:
    path = model / "unet/diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def less(model: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = model / "unet/diffusion_pytorch_model.safetensors"
    save_file({k: v for k, v in load_file(path).items() if k != "conv_in.bias"}, path)


HOSTILE: list[tuple[Any, str]] = [
    (pickled, "run code"),
    (bare_pickle, "run code|cannot be loaded"),
    (sharded("../elsewhere.safetensors"), r"names '\.\./elsewhere.safetensors'"),
    (sharded("/etc/passwd"), "names '/etc/passwd'"),
    (sharded(""), "names ''"),
    (sharded("absent.safetensors"), "absent.safetensors is missing"),
    (truncated, "cannot be loaded"),
    (less, "conv_in.bias"),
    (lambda m: change(m / "unet/config.json", block_out_channels=[8, 32]), "cannot be loaded|not those of"),
    (lambda m: change(m / "unet/config.json", block_out_channels=[8]), "describes no UNet2DModel"),
    (lambda m: change(m / "unet/config.json", block_out_channels="x"), "describes no UNet2DModel"),
    (lambda m: change(m / "unet/config.json", _class_name="Evil"), "of 'Evil', not of a UNet2DModel"),
    (lambda m: change(m / "unet/config.json", auto_map={"AutoModel": "evil.py"}), "never run"),
    (lambda m: change(m / "unet/config.json", num_class_embeds=10), "class with each image"),
    (lambda m: change(m / "unet/config.json", time_embedding_type="fourier"), "noise levels"),
    (lambda m: (m / "unet/config.json").unlink(), "config.json is missing"),
    (lambda m: (m / "unet/config.json").write_text("{"), "no JSON"),
    (lambda m: (m / "unet/config.json").write_text("[" * 100000), "no JSON"),
    (lambda m: (m / "unet/config.json").write_text("[1]"), "holds a list"),
    (lambda m: (m / "unet/diffusion_pytorch_model.safetensors").unlink(), "safetensors is missing"),
    (lambda m: (m / "scheduler/scheduler_config.json").unlink(), "scheduler_config.json is missing"),
    (lambda m: change(m / "scheduler/scheduler_config.json", _class_name="EulerDiscreteScheduler"), "no scheduler"),
    (lambda m: change(m / "scheduler/scheduler_config.json", beta_schedule="magic"), "describes no scheduler"),
    (lambda m: change(m / "scheduler/scheduler_config.json", num_train_timesteps="x"), "describes no scheduler"),
    (lambda m: change(m / "scheduler/scheduler_config.json", prediction_type="flow"), "prediction_type|no scheduler"),
    (lambda m: change(m / "scheduler/scheduler_config.json", trained_betas=[-1.0, 0.1]), "alpha_bar"),
    (lambda m: change(m / "model_index.json", _class_name=["pipeline.py", "Evil"]), "never run"),
    (lambda m: change(m / "model_index.json", _class_name="StableDiffusionPipeline"), "no pipeline"),
    (lambda m: change(m / "model_index.json", vae=["diffusers", "AutoencoderKL"]), "vae"),
    (lambda m: change(m / "model_index.json", unet=["evil", "UNet2DModel"]), "no code"),
    (lambda m: change(m / "model_index.json", unet=["diffusers", "UNet2DConditionModel"]), "not a UNet2DModel"),
    (lambda m: change(m / "model_index.json", unet=["../evil", "UNet2DModel"]), "no code"),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile") / "model"
    saved(folder, DDPMScheduler(num_train_timesteps=T))
    return folder


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_hostile_and_broken_folders_are_refused_in_words(number: int, model: Path, tmp_path: Path) -> None:
    act, told = HOSTILE[number]
    shutil.copytree(model, tmp_path / "model")
    act(tmp_path / "model")
    with pytest.raises(RethawError, match=f"(?s){told}"):
        import_run(str(tmp_path / "model"), tmp_path / "run")
    assert not list(tmp_path.rglob("pwned")) and not (tmp_path / "run").exists()


def test_a_link_out_of_the_folder_is_refused(model: Path, tmp_path: Path) -> None:
    shutil.copytree(model, tmp_path / "a/b/model")
    shutil.move(tmp_path / "a/b/model/unet", tmp_path / "outside")
    (tmp_path / "a/b/model/unet").symlink_to(tmp_path / "outside")
    with pytest.raises(RethawError, match="leads out of"):
        import_run(str(tmp_path / "a/b/model"), tmp_path / "run")


def test_a_hub_id_that_is_not_here_says_which_files_to_put_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("it went online"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RethawError) as caught:
        import_run("google/ddpm-cifar10-32", tmp_path / "run")
    for word in ("https://huggingface.co/google/ddpm-cifar10-32", "scheduler_config.json", "--download"):
        assert word in str(caught.value)


def test_a_hub_id_in_the_cache_is_found(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached = tmp_path / "hub/models--someone--model"
    shutil.copytree(model, cached / "snapshots/abc")
    (cached / "refs").mkdir()
    (cached / "refs/main").write_text("abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    assert import_run("someone/model", tmp_path / "run")[0].image_shape == (3, 16, 16)


def test_what_no_importer_knows_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(RethawError, match=r"(?s)no importer .*diffusers.folder reads a folder with model_index.json"):
        import_run(str(tmp_path / "notes.txt"), tmp_path / "run")
    with pytest.raises(RethawError, match="there is no file or folder"):
        import_run(str(tmp_path / "absent/deep/model"), tmp_path / "run")


@pytest.mark.parametrize(
    "context, told", [(Context(1, 1), "restorer.channels=3"), (Context(3, 6), "twice as many out")], ids=str
)
def test_a_network_of_other_channels_is_refused(context: Context, told: str, model: Path) -> None:
    with pytest.raises(RethawError, match=told):
        rethaw.build("backbone", "diffusers.unet", context, path=model)
