"""The mathematics of the samplers, against oracles, closed forms and diffusers."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch

import rethaw
from rethaw.api import Prediction, RethawError, Sampler
from rethaw.ops import StepSampler, expand, generators, randn
from tests.worlds import COMPOSITIONS, EVERY, Linear, degradation_id, hosted, images, liar, made, oracle

SAMPLERS: list[tuple[str, dict[str, Any]]] = [
    ("core.direct", {}),
    ("core.naive", {"steps": 7}),
    ("core.cold", {"steps": 7}),
    ("core.cold", {"steps": 7, "state": "inferred"}),
]


def walk(sampler: Any, restore: Any, x: Any, degradation: Any, state: Any, start: float = 1.0) -> list[Any]:
    return list(
        sampler.trajectory(
            restore, x, sampler.severities(degradation, start), degradation, state, generators(0, len(x))
        )
    )


@pytest.mark.parametrize("case", [*EVERY, *COMPOSITIONS], ids=degradation_id)
def test_an_oracle_restorer_gives_back_x0(case: Any) -> None:
    degradation = made(case)
    x0 = images(channels=degradation.channels or 3, height=33, width=40)
    state = degradation.draw(x0, generators(1, 3))
    x = degradation.degrade(x0, expand(1.0, x0), state)
    for name, params in SAMPLERS:
        sampler = rethaw.build("sampler", name, **params)
        if params.get("state") == "inferred" and not hasattr(degradation, "infer"):
            assert "infer" in sampler.check(degradation, state)
            continue
        found = walk(sampler, oracle(x0), x, degradation, state)[-1].x
        assert (found - x0).abs().max() <= 1e-10 * max(1.0, float(x.abs().max())), name


@pytest.mark.parametrize("case", [*EVERY, *COMPOSITIONS], ids=degradation_id)
def test_so_it_does_in_float32(case: Any) -> None:
    """The bound that is promised: 1e-5·max(1, |x_1|)."""
    degradation = made(case)
    x0 = images(channels=degradation.channels or 3, height=33, width=40, dtype=torch.float32)
    state = degradation.draw(x0, generators(1, 3))
    x = degradation.degrade(x0, expand(1.0, x0), state)
    found = walk(rethaw.build("sampler", "core.cold", steps=20), oracle(x0), x, degradation, state)[-1].x
    assert (found - x0).abs().max() <= 1e-5 * max(1.0, float(x.abs().max()))


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_perception_is_the_share_of_the_walks_end_beside_its_first_estimate(share: float) -> None:
    degradation, x0 = made(EVERY[0]), images()
    state = degradation.draw(x0, generators(1, 3))
    x = degradation.degrade(x0, expand(1.0, x0), state)
    ways = {"core.direct": {}, "core.cold": {"steps": 5}}
    first, end = (walk(rethaw.build("sampler", n, **p), liar, x, degradation, state)[-1].x for n, p in ways.items())
    assert not torch.allclose(first, end)
    mixed = walk(rethaw.build("sampler", "core.cold", steps=5, perception=share), liar, x, degradation, state)
    assert torch.allclose(mixed[-1].x, (1 - share) * first + share * end, rtol=0, atol=1e-12)
    assert torch.equal(mixed[-1].x, mixed[-1].x0_hat), "a trajectory ends with its result"


def test_cold_sampling_recovers_x0_under_any_restorer_where_the_degradation_is_linear_in_t() -> None:
    x0 = images()
    degradation = Linear(images(seed=5))
    x = degradation.degrade(x0, expand(1.0, x0), {})
    cold = walk(rethaw.build("sampler", "core.cold", steps=9), liar, x, degradation, {})
    naive = walk(rethaw.build("sampler", "core.naive", steps=9), liar, x, degradation, {})
    assert (cold[-1].x - x0).abs().max() <= 1e-12
    assert (naive[-1].x - x0).abs().max() > 0.1


def test_it_does_not_where_what_is_added_depends_on_the_image() -> None:
    """A fade is linear in t too, but e = c - x0: the mean of the estimates comes out."""
    x0, c = images(), torch.tensor([0.3, -0.2, 0.5], dtype=torch.float64).view(1, 3, 1, 1)
    fade = rethaw.build("degradation", "core.fade", colour=[0.3, -0.2, 0.5])
    found = walk(rethaw.build("sampler", "core.cold", steps=9), liar, fade.degrade(x0, expand(1.0, x0), {}), fade, {})
    x, estimates = c.expand_as(x0), []
    for i in range(9, 0, -1):
        guess = liar(x, expand(i / 9, x0)).x0
        estimates.append(guess)
        x = x - ((1 - i / 9) * guess + i / 9 * c) + ((1 - (i - 1) / 9) * guess + (i - 1) / 9 * c)
    assert (found[-1].x - x).abs().max() <= 1e-9
    assert (found[-1].x - torch.stack(estimates).mean(0)).abs().max() <= 1e-9
    assert (found[-1].x - x0).abs().max() > 0.1


@pytest.mark.parametrize("steps", [10, 50])
def test_cold_sampling_with_inferred_noise_is_ddim(steps: int) -> None:
    from diffusers import DDIMScheduler

    noise = rethaw.build("degradation", "core.gaussian_noise", alpha_bar="linear", levels=1000)
    scheduler = DDIMScheduler(
        beta_schedule="linear", clip_sample=False, set_alpha_to_one=True, timestep_spacing="trailing"
    )
    scheduler.set_timesteps(steps)
    x = expected = images(seed=3, dtype=torch.float64)
    for timestep in scheduler.timesteps:
        ᾱ = scheduler.alphas_cumprod[timestep].double()
        x0_hat = liar(expected, expand((timestep + 1) / 1000, x)).x0
        ε = (expected - ᾱ.sqrt() * x0_hat) / (1 - ᾱ).sqrt()
        expected = scheduler.step(ε, timestep, expected, eta=0.0).prev_sample
    cold = rethaw.build("sampler", "core.cold", steps=steps, state="inferred")
    result = walk(cold, liar, x, noise, {})
    assert (result[-1].x - expected).abs().max() <= 1e-5
    assert len(result) == steps + 1


@pytest.mark.parametrize("name, params", SAMPLERS, ids=lambda v: str(v))
def test_a_trajectory_has_n_plus_one_stations_and_ends_at_zero(name: str, params: dict[str, Any]) -> None:
    x0 = images()
    noise, sampler = rethaw.build("degradation", "core.gaussian_noise"), rethaw.build("sampler", name, **params)
    state = noise.draw(x0, generators(1, 3))
    severities = sampler.severities(noise, 0.5)
    stations = walk(sampler, liar, noise.degrade(x0, expand(0.5, x0), state), noise, state, start=0.5)
    assert len(stations) == len(severities)
    assert [float(s.t[0]) for s in stations] == pytest.approx(severities.tolist())
    assert all(s.t.shape == (3,) for s in stations)
    assert torch.equal(stations[-1].x, stations[-1].x0_hat) and not stations[-1].t.any()


def test_severities_may_differ_between_the_images_of_a_batch() -> None:
    x0 = images()
    blur = rethaw.build("degradation", "kornia.gaussian_blur")
    sampler = rethaw.build("sampler", "core.cold", steps=4)
    starts = torch.tensor([1.0, 0.6, 0.3], dtype=torch.float64)
    x = blur.degrade(x0, starts, {})
    severities = torch.linspace(1, 0, 5, dtype=torch.float64)[:, None] * starts
    together = list(sampler.trajectory(liar, x, severities, blur, {}, generators(0, 3)))[-1].x
    for i in range(3):
        alone = list(sampler.trajectory(liar, x[i : i + 1], severities[:, i], blur, {}, generators(0, 1)))[-1].x
        assert (together[i] - alone[0]).abs().max() <= 1e-12


def test_an_unknown_state_is_inferred_or_refused() -> None:
    x = images()
    noise, mask = rethaw.build("degradation", "core.gaussian_noise"), rethaw.build("degradation", "core.mask")
    for name in ("core.naive", "core.cold"):
        sampler = rethaw.build("sampler", name, steps=3)
        assert sampler.check(noise, None) is None
        assert "state is not known" in sampler.check(mask, None)
        assert sampler.check(mask, {"mask": x[:, :1]}) is None
        assert torch.isfinite(walk(sampler, liar, x, noise, None)[-1].x).all()
    inferred = walk(rethaw.build("sampler", "core.cold", steps=3, state="inferred"), liar, x, noise, {})
    assert torch.equal(inferred[-1].x, walk(rethaw.build("sampler", "core.cold", steps=3), liar, x, noise, None)[-1].x)


def test_a_drawn_state_stands_for_the_unknown_one() -> None:
    """Naive and cold sampling with a state of their own: as if the user had given it; cold keeps what it differs by."""
    x0, snow = images(height=32, width=32), rethaw.build("degradation", "imagenet_c.snow")
    t = expand(0.8, x0)
    y, plausible = snow.degrade(x0, t, snow.draw(x0, generators(5, 3))), snow.draw(x0, generators(0, 3))
    for name in ("core.naive", "core.cold"):
        given, drawn = (rethaw.build("sampler", name, steps=4, state=where) for where in ("fixed", "drawn"))
        assert "state is not known" in given.check(snow, None) and drawn.check(snow, None) is None
        expected = walk(given, liar, y, snow, plausible, 0.8)[-1].x
        for known in (None, plausible, {"layers": 0 * plausible["layers"]}):
            assert torch.equal(walk(drawn, liar, y, snow, known, 0.8)[-1].x, expected)
        assert torch.equal(walk(drawn, liar, y[:2], snow, None, 0.8)[-1].x, expected[:2])
    kept = walk(rethaw.build("sampler", "core.cold", steps=4, state="drawn"), oracle(x0), y, snow, None, 0.8)[-1].x
    assert (kept - x0 - y + snow.degrade(x0, t, plausible)).abs().max() <= 1e-9
    naive = walk(rethaw.build("sampler", "core.naive", steps=4, state="drawn"), oracle(x0), y, snow, None, 0.8)[-1].x
    assert torch.equal(naive, x0)


def test_sampling_streams() -> None:
    """Each station is computed when it is asked for, not before."""
    calls = []

    def restore(x: Any, t: Any) -> Prediction:
        calls.append(float(t[0]))
        return Prediction(x)

    x = images()
    cold = rethaw.build("sampler", "core.cold", steps=5)
    stations = cold.trajectory(restore, x, cold.severities(None), Linear(x), {}, generators(0, 3))
    next(stations)
    assert calls == [1.0]
    next(stations)
    assert len(calls) == 2


@pytest.mark.parametrize(
    "text", ["{use: core.gaussian_noise}", "[{use: core.gaussian_noise, levels: 40, span: [0, 0.9]}]"]
)
def test_a_walk_prepared_at_once_is_the_degradation_itself(text: str) -> None:
    from rethaw.ops import severity_pairs, severity_rows

    x = images()
    degradation = hosted(f"degradation: {text}")
    rows = severity_rows(torch.linspace(1, 0, 8), x)
    walk_ = degradation.along(rows)
    assert walk_.walk is not None and made(("core.mask", {})).along(rows).walk is None
    state = degradation.draw(x, generators(0, 3))
    seen = 0
    for t, s in severity_pairs(rows, x):
        seen += walk_.walk.at(t) is not None and walk_.walk.at(s) is not None
        assert (walk_.degrade(x, t, state) - degradation.degrade(x, t, state)).abs().max() <= 1e-12
        mine, theirs = walk_.infer(x, x / 2, t, state), degradation.infer(x, x / 2, t, state)
        assert mine.keys() == theirs.keys() and all((mine[k] - theirs[k]).abs().max() <= 1e-9 for k in mine)
    assert seen == 7
    other = rows[3].clone() * 0.9
    assert walk_.walk.at(other) is None and walk_.walk.at(rows[3][:1]) is None
    assert torch.equal(walk_.degrade(x, other, state), degradation.degrade(x, other, state))
    assert walk_.gaussian == degradation.gaussian and walk_.name == degradation.name


# --- samplers that are one step ----------------------------------------------------------------------------------


class Halfway(StepSampler[Any]):
    """Half of the way to naive sampling, with noise that counts how often the walk began."""

    def begin(self, x: Any, generator: Any) -> Any:
        return x + randn(x, generator)

    def step(self, x: Any, x0_hat: Any, t: Any, s: Any, degradation: Any, ξ: Any, generator: Any) -> Any:
        return torch.lerp(degradation.degrade(x0_hat, s, ξ), x, 0.5)


def test_a_sampler_of_one_step_is_a_sampler() -> None:
    """Against the same walk written out, with its severities, its state and its stations."""
    from types import SimpleNamespace

    chosen, x0 = Halfway(SimpleNamespace(steps=4)), images()
    assert isinstance(chosen, Sampler) and len(Halfway(None).severities(Linear(x0))) == 2
    noise = rethaw.build("degradation", "core.gaussian_noise")
    state = noise.draw(x0, generators(1, 3))
    found = walk(chosen, liar, x0, noise, state, start=0.8)
    x = x0 + randn(x0, generators(0, 3))
    for station, (t, s) in zip(found, pairwise([0.8, 0.6, 0.4, 0.2, 0.0]), strict=False):
        assert (station.x - x).abs().max() <= 1e-9 and float(station.t[0]) == pytest.approx(t)
        x0_hat = liar(x, expand(t, x)).x0
        assert (station.x0_hat - x0_hat).abs().max() <= 1e-9
        x = (noise.degrade(x0_hat, expand(s, x), state) + x) / 2
    assert len(found) == 5 and (found[-1].x - x).abs().max() <= 1e-9 and found[-1].x is found[-1].x0_hat


def test_a_sampler_of_one_step_says_where_its_state_is_from() -> None:
    x, noise, mask = images(), *(rethaw.build("degradation", f"core.{n}") for n in ("gaussian_noise", "mask"))
    given = mask.draw(x, generators(0, 3))
    seen: list[Any] = []

    class Seeing(StepSampler[None]):
        def step(self, x: Any, x0_hat: Any, t: Any, s: Any, degradation: Any, ξ: Any, generator: Any) -> Any:
            seen.append(ξ)
            return x0_hat

    chosen = Seeing(None)
    for where, degradation, state, refused in (
        ("fixed", mask, None, True),
        ("fixed", mask, given, False),
        ("fixed", noise, None, False),
        ("inferred", mask, given, True),
        ("inferred", noise, None, False),
        ("drawn", mask, None, False),
        ("drawn", mask, {"mask": x}, False),
        ("unused", mask, None, False),
        ("unused", mask, given, False),
    ):
        chosen.state = where
        assert bool(chosen.check(degradation, state)) is refused
        if refused:
            with pytest.raises(RethawError, match="state is not known"):
                walk(chosen, liar, x, degradation, state)
            continue
        found = walk(chosen, liar, x, degradation, state)
        if where == "drawn":  # one for all of the walk, whatever is given
            assert all(torch.equal(ξ["mask"], mask.draw(x, generators(0, 3))["mask"]) for ξ in seen[-len(found) + 1 :])
            continue
        assert set(seen[-1]) == ({"z"} if degradation is noise else set(state or {}))
