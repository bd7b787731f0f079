"""What a sampling step costs beside a network of one multiplication: rethaw, a loop by hand, other libraries."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

import rethaw
from rethaw.api import Prediction
from rethaw.config import load_text
from rethaw.engine.sampling.walking import last
from rethaw.ops import generators
from rethaw.registry import Registry
from tests.bench.byhand import LOOPS
from tests.bench.peers import PEERS
from tests.bench.timing import medians
from tests.test_every_sampler import CASES, built, restore, setting

STEPS = 50
SHAPES = ((1, 3, 32, 32), (16, 3, 64, 64))
SAMPLERS: dict[str, str] = {
    "core.ddpm": "{use: core.ddpm}",
    "core.ddim": "{use: core.ddim}",
    "core.edm euler": "{use: core.edm, solver: euler}",
    "core.edm heun": "{use: core.edm}",
    "core.dpm_solver": "{use: core.dpm_solver}",
    "core.flow euler": "{use: core.flow, solver: euler}",
    "core.flow heun": "{use: core.flow}",
}
LIBRARIES = ("diffusers", "k-diffusion", "azula", "deepinv")


def alone(sampler: Any, degradation: Any, x: Tensor) -> Callable[[], Tensor]:
    """The sampler by itself: its severities and its trajectory."""
    rng = torch.Generator().manual_seed(0)

    def call() -> Tensor:
        severities = sampler.severities(degradation)
        return last(sampler.trajectory(lambda x, t: Prediction(x * 0.9), x, severities, degradation, {}, rng)).x

    return call


def contest(name: str, shape: tuple[int, ...]) -> dict[str, float]:
    """µs a step of everybody who has the sampler, in interleaved rounds."""
    x, noise = (
        torch.randn(shape, generator=torch.Generator().manual_seed(0)),
        rethaw.build("degradation", "core.gaussian_noise"),
    )
    config = load_text(f"degradation: core.gaussian_noise\nsampler: {SAMPLERS[name][:-1]}, steps: {STEPS}}}")[0]
    sampler = Registry().build("sampler", config.sampler.use, config.sampler.params)
    calls = {"by hand": LOOPS[name](x, noise, sampler), "rethaw": alone(sampler, noise, x)}
    if name != "core.ddpm":  # both draw nothing, so they must agree
        assert torch.allclose(calls["by hand"](), calls["rethaw"](), atol=1e-4), name
    calls |= {library: make(x, STEPS) for library, make in PEERS[name].items() if find_spec(library.replace("-", "_"))}
    return {who: seconds / STEPS * 1e6 for who, seconds in medians(calls).items()}


def others() -> list[str]:
    """The samplers of which no other library has the like: µs a step of a small image, with the network's calls."""
    lines = ["| sampler | µs a step |", "|---|---:|"]
    for name, params in CASES:
        if any(key.startswith(name) for key in SAMPLERS):
            continue
        x0 = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
        sampler = built(name, params, STEPS)
        degradation, x, state, observation = setting(sampler, x0)

        def call(sampler: Any = sampler, given: Any = (degradation, x, state, observation)) -> Tensor:
            degradation, x, state, observation = given
            severities, rng = sampler.severities(degradation), generators(0, 1)
            return last(sampler.trajectory(restore, x, severities, degradation, state, rng, observation)).x

        seconds = medians({name: call}, rounds=5)[name]
        given = ", ".join(f"{key}: {value}" for key, value in params.items())
        count = len(sampler.severities(degradation)) - 1
        lines.append(f"| {name}{f' ({given})' if given else ''} | {seconds / count * 1e6:.0f} |")
    return lines


def run() -> list[str]:
    """Markdown lines: µs a step of each contestant, and rethaw's ratio to the loop by hand, to be below two."""
    who = ("by hand", "rethaw", *LIBRARIES)
    lines = [f"| µs a step, trivial network | {' | '.join(who)} | ratio |", "|---|" + "---:|" * (len(who) + 1)]
    for shape in SHAPES:
        for name in SAMPLERS:
            us = contest(name, shape)
            cells = [f"{us[each]:.0f}" if each in us else "" for each in who]
            title = f"{name}, {'×'.join(map(str, shape))}"
            lines.append(f"| {title} | {' | '.join(cells)} | {us['rethaw'] / us['by hand']:.2f} |")
    return [*lines, "", *others()]
