"""Unfolded training: a share of each batch walks to its severity with the network as it is."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

import rethaw
from rethaw.api import RethawError
from rethaw.cli.main import app
from rethaw.config import load_text
from rethaw.config.model import RestorerConfig, Train, Unfold
from rethaw.engine.parts import assemble
from rethaw.engine.restorer.parameterization import READINGS, Parameterization
from rethaw.engine.run import Run
from rethaw.engine.training.checkpoint import load_checkpoint
from rethaw.engine.training.objective import Objective
from rethaw.engine.training.train import RestorerTask
from rethaw.engine.training.unfolding import Unfolding
from rethaw.ops import generators
from tests.helpers import photos, recipe
from tests.worlds import hosted, images

BLUR, MASK, NOISE = "{use: kornia.gaussian_blur}", "{use: core.mask, shape: strokes}", "{use: core.gaussian_noise}"
DEGRADATIONS = (BLUR, MASK, NOISE, "{use: imagenet_c.snow}", f"[{MASK}, {NOISE}]", f"[{NOISE}, {BLUR}]")
T = torch.tensor([0.0, 0.02, 0.3, 0.7, 0.98, 1.0], dtype=torch.float64)


def unfolding(degradation: str, hops: int = 3, share: float = 0.5, **restorer: Any) -> Unfolding:
    """Of a pipeline that predicts x0."""
    given = "".join(f", {key}: {value}" for key, value in restorer.items())
    text = f"degradation: {degradation}\nrestorer: {{prediction: x0{given}}}"
    parts = assemble(*load_text(text), "cpu")
    return Unfolding(parts, Unfold(share, hops), nn.Identity(), (3, 32, 32))


def batch(walks: Unfolding, count: int = 6) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Clean images, severities and states."""
    x0 = images(count, height=32, width=32) / 2
    return x0, T[:count], dict(walks.parts.degradation.draw(x0, generators(0, count)))


@pytest.mark.parametrize("degradation", DEGRADATIONS)
def test_a_perfect_network_walks_to_what_degrading_gives(degradation: str) -> None:
    """So that the walk is in the state, and at the severities, of the example, known or inferred."""
    walks = unfolding(degradation)
    x0, t, state = batch(walks)
    walked = walks.walk(lambda network, x, at, cond: x0, x0, t, state, {}, range(6))
    told = t > 0 if "noise" in degradation else t >= 0  # z cannot be told where there is none
    assert (walked - walks.parts.degradation.degrade(x0, t, state))[told].abs().max() <= 1e-6


@pytest.mark.parametrize("degradation", [BLUR, MASK])
@pytest.mark.parametrize("hops", [1, 4])
def test_the_walk_is_that_of_cold_sampling_by_the_network(degradation: str, hops: int) -> None:
    walks, met = unfolding(degradation, hops), []
    x0, t, state = batch(walks)
    degrade = walks.parts.degradation.degrade

    def wrong(network: nn.Module, x: Tensor, at: Tensor, cond: Any) -> Tensor:
        met.append((x, at, torch.tanh(1.5 * x)))
        return met[-1][2]

    walked = walks.walk(wrong, x0, t, state, {}, range(6))
    assert len(met) == hops
    x, start, _ = met[0]
    assert ((start >= t) & (start <= 1)).all() and (start > t)[:-1].all() and len(set(start.tolist())) > 4
    assert torch.equal(x, degrade(x0, start, state))
    for (seen, at, x0_hat), s in zip(met, [*(at for _, at, _ in met[1:]), t], strict=True):
        assert (seen - x).abs().max() <= 1e-12 and (at >= s).all()
        x = x - degrade(x0_hat, at, state) + degrade(x0_hat, s, state)
    assert (walked - x).abs().max() <= 1e-12
    gaps = torch.stack([start - (start - t) * k / hops for k in range(hops + 1)])
    assert all((a - b).abs().max() <= 1e-12 for a, b in zip(gaps, [*(at for _, at, _ in met), t], strict=True))


def test_the_share_of_each_batch_walks_on_average_and_not_always_the_same() -> None:
    walks = unfolding(BLUR, share=0.3)
    for size, counts in ((32, {9, 10}), (2, {0, 1})):
        chosen = [walks.chosen(range(n, n + size)) for n in range(0, 400 * size, size)]
        assert {len(which) for which in chosen} == counts
        assert sum(map(len, chosen)) / (400 * size) == pytest.approx(0.3, abs=0.03)
        assert all(len(set(which.tolist())) == len(which) for which in chosen)
        assert torch.cat(chosen).bincount(minlength=size).float().std() / (400 * 0.3) < 0.2
    assert all(len(unfolding(BLUR, share=1.0).chosen(range(n, n + 4))) == 4 for n in range(20))


# --- in a training ----------------------------------------------------------------------------------------------------


class Spy(nn.Module):
    """A network with statistics and dropout that keeps what it is called with."""

    blind: Any = None

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.drop = nn.BatchNorm2d(3), nn.Dropout()
        self.calls: list[tuple[Tensor, Tensor, bool, bool]] = []

    def forward(self, x: Tensor, t: Tensor, cond: Any) -> Tensor:
        self.calls.append((x.detach().clone(), t.clone(), self.training, torch.is_grad_enabled()))
        out: Tensor = self.drop(self.norm(x))
        return out


def step(tmp_path: Path, *overrides: str) -> tuple[Spy, float]:
    """One batch through the loss: the network, and the loss."""
    path, spy = recipe(tmp_path, photos(tmp_path / "photos"), BLUR), Spy()
    pipeline = rethaw.Pipeline.from_yaml(path, ["observation.bits=8", *overrides], device="cpu")
    task: Any = RestorerTask(Run(tmp_path / "run"), pipeline.parts, pipeline.parts.data(), spy, {}, (3, 16, 16))  # type: ignore[arg-type]
    given = {"image": images(8, height=16, width=16, dtype=torch.float32), "position": list(range(40, 48))}
    return spy, float(task.loss(spy, given, torch.device("cpu"), nullcontext))


def test_the_rest_of_a_batch_is_what_it_was(tmp_path: Path) -> None:
    (off, loss), (on, unfolded) = step(tmp_path), step(tmp_path, "train.unfold={share: 0.5, hops: 3}")
    assert len(off.calls) == 1 and len(on.calls) == 4 and unfolded != loss
    (x, t, *_), (same, at, *_) = off.calls[0], on.calls[-1]
    assert torch.equal(t, at)
    walked = (x != same).flatten(1).any(1)
    assert 2 <= int(walked.sum()) <= 4  # of those that walk from an observation of 8 bits, some end where they began
    assert on.calls[0][0].shape[0] == 4
    assert step(tmp_path, "train.unfold={share: 0.5, hops: 3}")[1] == unfolded
    assert step(tmp_path, "train.unfold={share: 1.0e-9}")[1] == loss, "where none walks, nothing changes"


def test_hops_leave_no_trace_in_the_network(tmp_path: Path) -> None:
    """No gradient, no statistics of batches, no dropout; what follows is in training mode again."""
    spy, _ = step(tmp_path, "train.unfold={}")
    assert [(training, grad) for *_, training, grad in spy.calls] == [*[(False, False)] * 3, (True, True)]
    assert spy.norm.num_batches_tracked == 1 and spy.training and spy.drop.training


def test_severities_are_learnt_from_what_is_observed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are estimated before a walk, of images that none has made."""
    seen: list[Tensor] = []

    def estimation(blind: Any, x: Tensor, t: Tensor) -> float:
        seen.append(x)
        return 0.0

    monkeypatch.setattr("rethaw.engine.training.train.estimation_loss", estimation)
    monkeypatch.setattr(Spy, "blind", True, raising=False)
    off, on = step(tmp_path)[0], step(tmp_path, "train.unfold={share: 1}")[0]
    assert torch.equal(*seen) and torch.equal(seen[0], off.calls[0][0])
    assert not torch.equal(on.calls[-1][0], seen[0])


@pytest.mark.parametrize("loss", ["l1", "l2", "huber"])
@pytest.mark.parametrize("kind", ["x0", "residual", *READINGS])
def test_what_is_learnt_of_a_walk_is_to_restore_the_clean_image(kind: str, loss: Any) -> None:
    """The loss is 0 for the output that is read as x0, grows with the error, and is bounded at every severity."""
    noise = hosted(f"degradation: {NOISE}")
    reading = Parameterization(RestorerConfig(prediction=kind), noise)  # type: ignore[arg-type]
    objective, x0 = Objective(Train(loss=loss), reading), images(len(T), height=8, width=8)
    state = noise.draw(x0, generators(3, len(T)))
    x_t, walked = noise.degrade(x0, T, state) + 0.1 * torch.sin(9 * x0), torch.ones(len(T), dtype=torch.bool)
    zero = reading.read(torch.zeros_like(x0), x_t, T).x0
    scale = reading.read(torch.ones_like(x0), x_t, T).x0 - zero
    right = torch.where(scale == 0, 0.0, (x0 - zero) / scale)
    able = scale.flatten(1).abs().amin(1) > 0  # clean images are given as they are by most

    def found(out: Tensor, which: Tensor) -> float:
        state_of = {key: value[which] for key, value in state.items()}
        return float(objective(out[which], x0[which], x_t[which], T[which], state_of, walked[which]))

    assert found(right, able) <= 1e-6 < found(right + 0.01, able) < found(right + 0.02, able)
    assert found(torch.zeros_like(x0), walked) < 3
    plain = objective(right, x0, x_t, T, state)
    assert torch.equal(objective(right, x0, x_t, T, state, ~walked), plain)


# --- whole trainings --------------------------------------------------------------------------------------------------


def small(folder: Path, degradation: str, *overrides: str) -> rethaw.Pipeline:
    path = recipe(folder, photos(folder / "photos"), degradation)
    return rethaw.Pipeline.from_yaml(path, ["train.unfold={share: 0.6, hops: 2}", *overrides], device="cpu")


@pytest.mark.parametrize(
    "degradation, overrides",
    [
        (BLUR, ["consistency={}", "observation.bits=8"]),
        (BLUR, ["restorer.input=inverse", "train.precision=bf16"]),
        (NOISE, ["restorer.prediction=v", "restorer.variance=learned", "train.weighting=min_snr"]),
        (f"[{MASK}, {NOISE}]", ["severity.estimate=true", "train.accumulate=2", "train.ema=0"]),
        pytest.param(
            "{use: imagenet_c.snow}", ["train.severities=stratified", "train.workers=1"], marks=pytest.mark.long
        ),
    ],
)
def test_a_training_that_crashes_and_resumes_ends_in_the_same_weights(
    tmp_path: Path, degradation: str, overrides: list[str]
) -> None:
    def crash(progress: Any) -> None:
        if progress.step == 5:
            raise KeyError("a crash between two checkpoints")

    words = ("train.steps=8", "train.checkpoint_every=3", *overrides)
    small(tmp_path, degradation, *words).train(tmp_path / "whole")
    with pytest.raises(KeyError):
        small(tmp_path, degradation, *words).train(tmp_path / "crashed", watch=crash)
    assert load_checkpoint(tmp_path / "crashed" / "checkpoint.pt")["step"] == 3
    small(tmp_path, degradation, *words).train(tmp_path / "crashed", resume=True)
    whole, resumed = (load_checkpoint(tmp_path / name / "checkpoint.pt") for name in ("whole", "crashed"))
    assert all(torch.equal(value, resumed["network"][key]) for key, value in whole["network"].items())
    assert (tmp_path / "whole/model.safetensors").read_bytes() == (tmp_path / "crashed/model.safetensors").read_bytes()


@pytest.mark.parametrize(
    "degradation, override, reason",
    [
        (MASK, "sampler.state=inferred", "core.mask: the degradation's random state is not known"),
        (f"[{BLUR}, {MASK}]", "sampler.state=inferred", "the degradation's random state is not known"),
        (NOISE, "consistency={}", "core.gaussian_noise: of Gaussian noise, any x0 explains"),
        ("{use: kornia.jpeg}", "consistency={}", "kornia.jpeg has neither svd nor adjoint"),
        ("{use: kornia.gaussian_blur, levels: 1}", "seed=1", "kornia.gaussian_blur: it has one level"),
    ],
)
def test_what_leaves_no_walk_is_refused_before_training(
    tmp_path: Path, degradation: str, override: str, reason: str
) -> None:
    with pytest.raises(RethawError, match=f"train.unfold cannot walk with .*{reason}"):
        small(tmp_path, degradation, override).train(tmp_path / "run")


@pytest.mark.parametrize(
    "word, message",
    [
        ("train.unfold.hop=3", "train.unfold.hop is an unknown key"),
        ("train.unfold.hops=0", "train.unfold.hops must be at least 1"),
        ("train.unfold.share=0", "train.unfold.share must be greater than 0"),
        ("train.unfold=true", "train.unfold must be a mapping"),
    ],
)
def test_mistakes_in_the_key_are_told(word: str, message: str) -> None:
    with pytest.raises(RethawError, match=message):
        load_text(f"degradation: {BLUR}", [word])


def test_the_cost_is_told_before_training(tmp_path: Path) -> None:
    path = recipe(tmp_path, photos(tmp_path / "photos"), BLUR)
    line = ["train", str(path), "--out", str(tmp_path / "run"), "train.steps=1", "--device", "cpu"]
    told = CliRunner().invoke(app, [*line, "train.unfold={share: 0.25, hops: 6}"])
    assert told.exit_code == 0 and "1.5 forward passes more for each image" in told.output
    assert told.output.index("forward passes") < told.output.index("trained 1 steps")
    again = CliRunner().invoke(app, [*line[:3], str(tmp_path / "plain"), *line[4:]])
    assert again.exit_code == 0 and "forward passes" not in again.output
