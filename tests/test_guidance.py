"""Guidance: the algebra against its definition, intervals, negatives, the batch, classifiers, and what is refused."""

from __future__ import annotations

import itertools
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import rethaw
from rethaw.api import RethawError
from rethaw.config import load_text
from rethaw.config.hosts import GuideHost
from rethaw.config.model import Guidance
from rethaw.engine.classifier.guiding import Classifier
from rethaw.engine.classifier.training import train_classifier
from rethaw.engine.evaluation.evaluate import Contestant, evaluate
from rethaw.engine.restorer.guides import Guiding, shift
from rethaw.engine.run import Run, load_tensors
from rethaw.engine.sampling.how import How
from rethaw.engine.sampling.walking import last
from tests.helpers import photos, recipe
from tests.helpers import rethaw as command
from tests.worlds import images, with_network

LABELS = "conditioner: {{use: core.label, classes: [cat, dog, fox], drop: {drop}}}\n"


def pipeline(degradation: str = "{use: core.gaussian_noise}", drop: float = 0.1, extra: str = "") -> rethaw.Pipeline:
    """An untrained pipeline whose network answers to its condition."""
    text = f"degradation: {degradation}\nbackbone: {{use: core.unet, width: 8, multipliers: [1], blocks: 1}}\n"
    made = rethaw.Pipeline(*load_text(text + LABELS.format(drop=drop) + extra), device="cpu")
    with_network(made).walker.restorer.double()
    for parameter in made.walker.restorer.parameters():
        nn.init.normal_(parameter, std=0.2, generator=torch.Generator().manual_seed(parameter.numel()))
    return made


def guided(made: rethaw.Pipeline, x: Any, t: Any, guidance: Guidance, cond: Any) -> Any:
    with torch.no_grad():
        return made.walker.bound(made.parts.degradation, x, None, How(cond=cond, guidance=guidance))(x, t).x0


def test_scale_interval_and_negative_are_what_they_are_defined_as() -> None:
    made, x = pipeline(extra="restorer: {clip: false}"), images(3, height=16, width=16)
    t = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    cats, dogs = ({"label": [name] * 3} for name in ("cat", "dog"))
    cat, dog, null = (guided(made, x, t, Guidance(), c) for c in (cats, dogs, {}))
    found = guided(made, x, t, Guidance(3.0), cats)
    assert (found - (null + 3 * (cat - null))).abs().max() < 1e-10 < (cat - null).abs().max()
    assert (guided(made, x, t, Guidance(0.0), cats) - null).abs().max() < 1e-10
    found = guided(made, x, t, Guidance(3.0, (0.3, 0.6)), cats)
    assert (found[[0, 2]] - cat[[0, 2]]).abs().max() < 1e-10
    assert (found[1] - (null + 3 * (cat - null))[1]).abs().max() < 1e-10
    found = guided(made, x, t, Guidance(3.0, negative={"label": "dog"}), cats)
    assert (found - (dog + 3 * (cat - dog))).abs().max() < 1e-10
    found = guided(made, x, t, Guidance(3.0, negative={"label": "dog"}), {})
    assert (found - (dog + 3 * (null - dog))).abs().max() < 1e-10


def test_guidance_costs_one_call_of_twice_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    made, x, seen = pipeline(), images(2, height=16, width=16), []
    network = type(made.walker.restorer.backbone)
    forward = network.forward
    monkeypatch.setattr(network, "forward", lambda self, x, t, c: seen.append(len(x)) or forward(self, x, t, c))
    for scale, cond, batch in ((3.0, {"label": ["cat"] * 2}, 4), (1.0, {"label": ["cat"] * 2}, 2), (None, {}, 2)):
        seen.clear()
        guided(made, x, torch.ones(2, dtype=torch.float64), scale and Guidance(scale), cond)
        assert seen == [batch]
    with pytest.raises(RethawError, match="guidance has no condition to follow"):
        guided(made, x, torch.ones(2, dtype=torch.float64), Guidance(3.0), {})


@pytest.mark.parametrize(
    "degradation", ["{use: core.gaussian_noise}", "{use: core.desaturate}", "{use: kornia.pixelate}"]
)
@pytest.mark.parametrize("sampler", ["core.direct", "core.naive", "core.cold"])
def test_guidance_works_with_every_sampler_and_degradation(degradation: str, sampler: str) -> None:
    made, x = pipeline(degradation), images(2, height=16, width=16)
    cond = {"label": ["cat", "fox"]}
    plain, strong = (
        last(made.trajectory(x, 0.7, sampler=sampler, state=made.degrade(x)[1], steps=None, cond=cond, guidance=s)).x
        for s in (1.0, 4.0)
    )
    assert torch.isfinite(strong).all() and (plain - strong).abs().max() > 1e-3


def test_guidance_is_refused_where_it_cannot_be() -> None:
    x = images(1, height=16, width=16)
    for made, message in (
        (pipeline(drop=0), "guidance needs training with the null condition, but every conditioner has drop: 0"),
        (
            with_network(rethaw.Pipeline(*load_text("degradation: core.mask"), device="cpu")),
            "guidance needs a conditioner",
        ),
    ):
        with pytest.raises(RethawError, match=message):
            next(made.trajectory(x, state={}, sampler="core.direct", cond={}, guidance=2.0))
    with pytest.raises(RethawError, match=r"drop: 0\), so it needs a value"):
        next(pipeline(drop=0).trajectory(x, sampler="core.direct"))
    with pytest.raises(ValueError, match="negative needs a scale"):
        Guidance(negative={"label": "dog"})
    with pytest.raises(ValueError, match="interval is"):
        Guidance(2.0, (0.5, 0.5))
    for text, message in (
        ("guidance: {scale: 2, negative: {label: 3}}", "guidance.negative"),
        ("guidance: {scale: 2, intervall: [0, 1]}", "Did you mean interval"),
        ("guidance: {negative: {label: dog}}", "negative needs a scale other than 1"),
    ):
        with pytest.raises(RethawError, match=message):
            pipeline(extra=text)


# --- classifier guidance -----------------------------------------------------------------------------------------


class Blobs(nn.Module):
    """The exact classifier of two Gaussian classes N(±μ, I), seen through noise: logits ± α μ·x / (α² + σ²)."""

    def __init__(self, μ: Any) -> None:
        super().__init__()
        self.μ = nn.Parameter(μ)

    def forward(self, x: Any, t: Any) -> Any:
        α = torch.cos(t * torch.pi / 2)  # the host has scaled x to α² + σ² = 1, as it is for vp noise
        at = α * (x * self.μ).sum((1, 2, 3))
        return torch.stack([at, -at], 1)


def test_the_gradient_is_that_of_log_p_in_closed_form() -> None:
    """For two Gaussian classes ∇ log p(+|x) = 2 p(-|x) α μ, and guidance turns E[x0|x] into E[x0|x, +]."""
    noise = rethaw.build("degradation", "core.gaussian_noise", alpha_bar="cosine")
    μ = images(1)[0]
    x, t = images(4, seed=2), torch.tensor([0.2, 0.5, 0.7, 0.9], dtype=torch.float64)
    α, σ = (c.view(-1, 1, 1, 1) for c in noise.coefficients(t))
    network = Blobs(μ)
    network.forward = lambda x, t: torch.stack([(at := (α * x * network.μ).sum((1, 2, 3))), -at], 1)  # type: ignore[method-assign]
    params = type("Params", (), {"field": "label", "classes": ("plus", "minus")})
    classifier = Classifier(network, noise, params)
    with torch.no_grad():
        guide = Guiding("plus", classifier, GuideHost(), "label").toward({"label": ["plus"] * 4}, x.device)
        moved = shift(guide, x, x, t, noise)
    p_minus = torch.sigmoid(-2 * (α * x * μ).sum((1, 2, 3), keepdim=True))
    assert (moved - σ.square() / α * 2 * p_minus * α * μ).abs().max() < 1e-8
    mean = α * x + (1 - α.square()) * (1 - 2 * p_minus) * μ  # E[x0 | x], where α² + σ² = 1
    conditional = α * x + (1 - α.square()) * μ  # E[x0 | x, +]
    assert (mean + moved - conditional).abs().max() < 1e-8


def test_a_classifier_too_is_shown_the_severity_of_the_level() -> None:
    noise = rethaw.build("degradation", "core.gaussian_noise", alpha_bar="cosine", levels=4)
    seen: list[torch.Tensor] = []
    network = Blobs(images(1)[0])
    network.forward = lambda x, t: (seen.append(t), x.flatten(1)[:, :2])[1]  # type: ignore[method-assign,func-returns-value]
    params = type("Params", (), {"field": "label", "classes": ("plus", "minus")})
    Classifier(network, noise, params)(images(3), torch.tensor([0.1, 0.5, 0.51], dtype=torch.float64))
    assert seen[0].tolist() == [0.25, 0.5, 0.75]


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of light and dark pictures by class, with a run on noise (no conditioner) and one on a mask."""
    root = tmp_path_factory.mktemp("classifier")
    for label in ("cat", "dog"):
        photos(root / "data" / label, 3)
    path = recipe(root, root / "data", "{use: core.gaussian_noise}")
    rethaw.Pipeline.from_yaml(path).train(root / "noise")
    rethaw.Pipeline.from_yaml(path, ["degradation={use: core.mask}", "train.steps=1"]).train(root / "mask")
    return root


def test_a_classifier_is_trained_into_the_run_and_leads_generation(labelled: Path) -> None:
    root = labelled
    with pytest.raises(RethawError, match="rethaw train-classifier RUN"):
        rethaw.Pipeline.load(root / "noise").generate(
            1, cond={"label": ["cat"]}, guidance=Guidance(classifier_scale=2.0)
        )
    done = command("train-classifier", "noise", "classifier.width=8", "train.lr=0.002", "--steps", "12", cwd=root)
    assert "trained 12 steps, accuracy" in done.stdout
    words = "generate noise -n 2 --steps 2 --cond label=cat --classifier-scale 5 --out cat"
    command(*words.split(), cwd=root)
    made = rethaw.Pipeline.load(root / "noise")
    assert made.config.classifier and made.config.classifier.params.classes == ("cat", "dog")
    cat, dog, plain = (
        made.generate(2, steps=3, cond={"label": [label] * 2}, guidance=Guidance(classifier_scale=5.0))
        if label
        else made.generate(2, steps=3)
        for label in ("cat", "dog", None)
    )
    assert (cat - dog).abs().max() > 1e-4 < (cat - plain).abs().max()
    with pytest.raises(RethawError, match="the classifier knows no label fish"):
        made.generate(1, steps=2, cond={"label": ["fish"]}, guidance=Guidance(classifier_scale=5.0))
    with pytest.raises(RethawError, match="needs a label to guide to"):
        made.generate(1, steps=2, guidance=Guidance(classifier_scale=5.0))
    again = rethaw.Pipeline.from_yaml(root / "noise" / "resolved.yaml", ["train.steps=6"])
    again.train(root / "noise", resume=True)  # the training goes on as if nothing had been added
    assert rethaw.Pipeline.load(root / "noise").config.classifier


@pytest.mark.long
def test_an_interrupted_classifier_training_ends_as_if_it_had_not_been(labelled: Path) -> None:
    runs = [labelled / name for name in ("through", "halted")]
    for run in runs:
        rethaw.Pipeline.from_yaml(labelled / "small.yaml", ["train.steps=1"]).train(run)
    network = "classifier={use: core.convnet, width: 8}"

    def train(run: Path, watch: Any = None) -> Any:
        parts = rethaw.Pipeline.load(run, [network, "train.steps=8"]).parts
        return train_classifier(Run(run), parts, watch)

    through = train(runs[0])

    def interrupt(progress: Any) -> None:
        if progress.step == 3:
            os.kill(os.getpid(), signal.SIGINT)

    halted = train(runs[1], interrupt)
    assert (halted.outcome.step, halted.steps) == (3, 8) and not (runs[1] / "classifier.safetensors").exists()
    done = command("train-classifier", "halted", cwd=labelled, check=False)
    assert done.returncode == 2 and "holds an interrupted training" in done.stderr
    done = command("train-classifier", "halted", "--resume", OMP_NUM_THREADS="1", cwd=labelled)
    assert "trained 8 steps" in done.stdout and f"{through.accuracy:.1%}" in done.stdout
    first, second = (load_tensors(run / "classifier.safetensors") for run in runs)
    assert first.keys() == second.keys() and all(torch.allclose(first[k], second[k], atol=1e-6) for k in first)
    assert not (runs[1] / "classifier-checkpoint.pt").exists()
    done = command("train-classifier", "halted", "--resume", cwd=labelled, check=False)
    assert done.returncode == 2 and "there is no checkpoint" in done.stderr


def test_edits_mixtures_and_evaluation_take_conditions_and_guidance(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        photos(tmp_path / "data" / label, 2)
    extra = "conditioner: {use: core.label}\nmetrics: [core.rmse]\n"
    rethaw.Pipeline.from_yaml(recipe(tmp_path, tmp_path / "data", "{use: core.gaussian_noise}", extra)).train(
        tmp_path / "run"
    )
    pipeline = rethaw.Pipeline.load(tmp_path / "run")
    with torch.no_grad():  # so that conditions matter before anything is learnt
        for weight in pipeline.walker.restorer.parameters():  # type: ignore[union-attr]
            weight.add_(0.05 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)).to(weight))
    pipeline.save(tmp_path / "run")
    files = sorted((tmp_path / "data" / "cat").iterdir())[:2]
    one, two = (pipeline.tensor(file)[:, :16, :16].to(pipeline.parts.device) for file in files)

    def all_different(*found: torch.Tensor) -> bool:
        return all((a - b).abs().max() > 1e-5 for a, b in itertools.combinations(found, 2))

    told = [{}, {"cond": {"label": "cat"}}, {"cond": {"label": "dog"}}, {"cond": {"label": "cat"}, "guidance": 3.0}]
    assert all_different(*(pipeline.interpolate(one, two, 3, steps=2, **options) for options in told))
    edits = ({**options, "cond": {"label": [options["cond"]["label"]]}} if options else {} for options in told)
    assert all_different(*(pipeline.edit(one[None], steps=2, **options) for options in edits))
    hows = {str(i): Contestant(pipeline.walker, How("core.ddim", 2, **options)) for i, options in enumerate(told)}
    found = evaluate(pipeline.walker, files, hows).rows
    rmse = [found[name]["rmse"] for name in hows]
    assert len(set(rmse)) == 4
    words = ("--cond", "label=cat", "--guidance", "3", "--steps", "2")
    done = command("evaluate", "run", "--data", files[0], "--data", files[1], "-s", "core.ddim", *words, cwd=tmp_path)
    assert f"{rmse[3]:.4f}" in done.stdout
    command("interpolate", "run", *files, "-n", "3", *words, cwd=tmp_path)
    report = json.loads((tmp_path / "interpolated" / "report.json").read_text())
    assert report["conditions"] == {"label": ["cat"] * 3} and report["guidance"]["scale"] == 3
    assert [report["from"], report["to"]] == [*map(str, files)] and report["sampler"]["steps"] == 2
    done = command("evaluate", "run", "--data", files[0], "--cond", "label=fish", cwd=tmp_path, check=False)
    assert done.returncode == 2 and "fish" in done.stderr


def test_classifier_guidance_is_refused_by_name_where_the_degradation_is_not_gaussian(labelled: Path) -> None:
    done = command("train-classifier", "mask", cwd=labelled, check=False)
    assert done.returncode == 2 and "which core.mask is not" in done.stderr
    with pytest.raises(RethawError, match=r"which core\.mask is not"):
        rethaw.Pipeline.load(labelled / "mask").generate(
            1, cond={"label": ["cat"]}, guidance=Guidance(classifier_scale=1.0)
        )


@pytest.mark.long
def test_any_timm_classifier_can_lead(labelled: Path) -> None:
    run = labelled / "timm"
    rethaw.Pipeline.from_yaml(labelled / "small.yaml", ["train.steps=1"]).train(run)
    network = "classifier={use: timm.classifier, model: mobilenetv3_small_050}"
    found = train_classifier(Run(run), rethaw.Pipeline.load(run, [network, "train.steps=2"]).parts)
    assert found.outcome.loss > 0
    cat, dog = (
        rethaw.Pipeline.load(run).generate(1, steps=2, cond={"label": [name]}, guidance=Guidance(classifier_scale=5.0))
        for name in ("cat", "dog")
    )
    assert not torch.equal(cat, dog)
    with pytest.raises(RethawError, match="Did you mean resnet18"):
        overrides = ["classifier={use: timm.classifier, model: resnet18b}"]
        train_classifier(Run(run), rethaw.Pipeline.load(run, overrides).parts)
