"""Components that break at run time: each is named, with what it did, and its error is one that people can read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

import rethaw
from rethaw.api import Prediction, RethawError, Step
from rethaw.config import load_text
from rethaw.engine.evaluation.evaluate import figure_of, take_in
from rethaw.engine.restorer.network import Restorer
from rethaw.engine.sampling.checks import checked_severities, checked_steps
from tests.worlds import images, with_network

FAULTS: list[Callable[[], Any]] = [
    lambda: 1 / 0,
    lambda: {}["x"],
    lambda: (_ for _ in ()).throw(SystemExit(0)),
    lambda: [].pop(),
    lambda: None.x,
]


def raising(fault: Callable[[], Any]) -> Callable[..., Any]:
    return lambda *args, **kwargs: fault()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_sampler_that_raises_is_named(fault: Callable[[], Any]) -> None:
    class Bad:
        def severities(self, degradation: Any, start: float) -> Any:
            return fault()

    def walking() -> Iterator[Step]:
        x = images(1)
        yield Step(torch.ones(1), x, x)
        fault()

    with pytest.raises(RethawError, match=r"^their\.sampler raised .* choosing its severities"):
        checked_severities(Bad(), "their.sampler", None, 1.0)  # type: ignore[arg-type]
    with pytest.raises(RethawError, match=r"^their\.sampler raised .* sampling"):
        list(checked_steps(walking(), "their.sampler", images(1)))


@pytest.mark.parametrize(
    "severities",
    [
        [1.0, 0.5],
        [1.0, 0.5, 0.1],
        [0.5, -0.1, 0.0],
        [float("nan"), 0.0],
        [1.0],
        [],
        None,
        3,
        [[1.0, 0.0]],
        [1, 0],
        [2.0, 0.0],
    ],
)
def test_severities_that_do_not_fall_to_0_are_refused(severities: Any) -> None:
    class Bad:
        def severities(self, degradation: Any, start: float) -> Any:
            return torch.tensor(severities) if isinstance(severities, list) else severities

    with pytest.raises(RethawError, match=r"^their\.sampler does not keep its contract"):
        checked_severities(Bad(), "their.sampler", None, 1.0)  # type: ignore[arg-type]


def test_stations_of_another_form_are_refused() -> None:
    x = images(2, dtype=torch.float32)
    for wrong in (Step(torch.ones(2), x[:1], x), Step(torch.ones(2), x.double(), x), (1, 2), None, x):
        with pytest.raises(RethawError, match=r"^their\.sampler does not keep its contract: a station"):
            list(checked_steps(iter([wrong]), "their.sampler", x))  # type: ignore[list-item]
    with pytest.raises(RethawError, match="has no stations"):
        list(checked_steps(iter([]), "their.sampler", x))
    for end in (torch.tensor([0.0, 0.5]), torch.tensor([float("nan")] * 2), 0.0):
        with pytest.raises(RethawError, match=r"^their\.sampler does not.*ends before severity 0"):
            list(checked_steps(iter([Step(torch.ones(2), x, x), Step(end, x, x)]), "their.sampler", x))  # type: ignore[arg-type]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_backbone_that_raises_in_the_middle_of_a_walk_is_named(fault: Callable[[], Any]) -> None:
    class Bad(torch.nn.Module):
        calls = 0

        def forward(self, x: Tensor, t: Tensor, cond: Any) -> Tensor:
            self.calls += 1
            if self.calls == 3:
                fault()
            return x

    text = "degradation: core.gaussian_noise\nsampler: {use: core.ddim, steps: 5}\nbackbone: core.unet"
    pipeline = with_network(rethaw.Pipeline(*load_text(text), device="cpu"), Restorer(Bad()))
    with pytest.raises(RethawError, match=r"^core\.unet raised .* on images of shape \(2, 3, 8, 8\)"):
        pipeline.restore(images(2, height=8, width=8, dtype=torch.float32))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_degradation_that_raises_is_named(fault: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    blur = rethaw.build("degradation", "kornia.gaussian_blur")
    x = images(2)
    monkeypatch.setattr(blur.operator, "degrade", raising(fault))
    with pytest.raises(RethawError, match=r"^kornia\.gaussian_blur raised .* degrading images of shape"):
        blur.degrade(x, torch.ones(2), {})
    monkeypatch.setattr(blur.operator, "draw", raising(fault))
    with pytest.raises(RethawError, match=r"^kornia\.gaussian_blur raised .* drawing its state"):
        blur.draw(x, [torch.Generator()] * 2)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("method", ["infer", "prior", "coefficients", "adjoint", "svd"])
def test_what_a_degradation_may_have_is_named_too(
    fault: Callable[[], Any], method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise, x, t = rethaw.build("degradation", "core.gaussian_noise"), images(1), torch.ones(1)
    state, rng = {"z": x}, [torch.Generator()]
    monkeypatch.setattr(noise.operator, method, raising(fault))
    given = {"infer": (x, x, t, state), "prior": (x, rng), "coefficients": (t,)}
    with pytest.raises(RethawError, match=r"^core\.gaussian_noise raised "):
        getattr(noise, method)(*given.get(method, (x, t, state)))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_conditioner_that_raises_is_named(fault: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    text = "degradation: core.gaussian_noise\nconditioner: {use: core.label, classes: [cat]}"
    conditioners = rethaw.Pipeline(*load_text(text), device="cpu").parts.conditioners
    monkeypatch.setattr(conditioners.members[0].encoder, "encode", raising(fault))
    with pytest.raises(RethawError, match=r"^core\.label raised .* encoding conditions"):
        conditioners.encode({"label": ["cat"]}, images(1))


def test_a_metric_that_raises_or_changes_its_images_is_named() -> None:
    class Bad:
        higher_is_better = True

        def __init__(self, update: Any = None, compute: Any = None) -> None:
            self.update, self.compute = update, compute

    x, clean = images(1), images(1, seed=1)
    for fault in FAULTS:
        with pytest.raises(RethawError, match=r"^theirs.metric raised .* measuring"):
            take_in(Bad(update=raising(fault)), "theirs.metric", x, clean)
        with pytest.raises(RethawError, match=r"^theirs.metric raised .* computing"):
            figure_of(Bad(compute=raising(fault)), "its-id", "theirs.metric")
    with pytest.raises(RethawError, match="it changes the images that it measures"):
        take_in(Bad(update=lambda a, b: a.clamp_(-0.1, 0.1)), "theirs", x, clean)
    with pytest.raises(RethawError, match="computing its value"):
        figure_of(Bad(compute=lambda: "text"), "its-id", "theirs.metric")


def test_an_error_that_cannot_be_printed_is_told_too() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    class Bad:
        def severities(self, degradation: Any, start: float) -> Any:
            raise Mute

    with pytest.raises(RethawError, match=r"raised Mute choosing its severities: an exception that cannot be printed"):
        checked_severities(Bad(), "their.sampler", None, 1.0)  # type: ignore[arg-type]


def test_mistakes_of_people_stay_what_they_are() -> None:
    def walking() -> Iterator[Step]:
        raise RethawError("give it a mask")
        yield Step(*[images(1)] * 3)

    with pytest.raises(RethawError, match=r"^give it a mask"):
        list(checked_steps(walking(), "their.sampler", images(1)))
    assert Prediction(images(1)).log_var is None
