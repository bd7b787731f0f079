"""Every installed degradation against the floor `a·x + b·n` of the same tensor, and against its peer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

import rethaw
from rethaw.api import RethawError
from rethaw.ops import generators
from rethaw.registry import Registry
from rethaw.testing.machine import memory_of_a_call
from tests.bench.degradation_peers import BY_STEPS, peer_of
from tests.bench.timing import medians

SHAPES = ((16, 3, 128, 128), (32, 3, 32, 32))
SECONDS = 0.7  # for the rounds of one degradation
ABOUT = {"core.mixture": {"of": [{"use": "core.desaturate"}, {"use": "core.gaussian_noise"}]}}
"""Parameters of what has no defaults."""


def run() -> Iterator[str]:
    """Markdown lines: ms a call with random t per image, ratios, and memory in input batches."""
    for shape in SHAPES:
        size = "×".join(map(str, shape))
        yield f"Degradations, {size}, a random severity for each image; aim: 3 times the floor a·x + b·n"
        yield ""
        yield "| degradation | ms | to the floor | memory | peer | peer, ms | peer to ours |"
        yield "|---|---:|---:|---:|---|---:|---:|"
        for name in Registry().names("degradation"):
            try:
                yield row(name, shape)
            except RethawError as error:
                yield f"| {name} | | | | {error.message} | | |"
        yield ""
    yield from by_steps()


def inputs(shape: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Images, noise and severities."""
    rng = torch.Generator().manual_seed(0)
    return (
        torch.rand(shape, generator=rng) * 2 - 1,
        torch.randn(shape, generator=rng),
        torch.rand(shape[0], generator=rng),
    )


def row(name: str, shape: tuple[int, ...]) -> str:
    """One degradation in the table of a shape."""
    x, n, t = inputs(shape)
    a, b = t.view(-1, 1, 1, 1), (1 - t).view(-1, 1, 1, 1)
    d = rethaw.build("degradation", name, **ABOUT.get(name, {}))
    state = d.draw(x, generators(0, shape[0]))
    calls: dict[str, Any] = {"floor": lambda: a * x + b * n, "ours": lambda: d.degrade(x, t, state)}
    peer = peer_of(name, x, t)
    if peer:
        calls["peer"] = peer[1]
    s = medians(calls, seconds=SECONDS)
    memory = f"{memory_of_a_call(d, shape):.1f}" if d.compilable else ""
    against = f"{peer[0]} | {s['peer'] * 1e3:.2f} | {s['peer'] / s['ours']:.1f}" if peer else " | | "
    return f"| {name} | {s['ours'] * 1e3:.2f} | {s['ours'] / s['floor']:.1f} | {memory} | {against} |"


def by_steps(shape: tuple[int, ...] = (4, 3, 128, 128)) -> Iterator[str]:
    """Published routines of 200 steps against a loop over the steps."""
    yield f"Published routines of 200 steps, {'×'.join(map(str, shape))}, against their definition step by step"
    yield ""
    yield "| degradation | ms | by steps, ms | ratio |"
    yield "|---|---:|---:|---:|"
    x, _, t = inputs(shape)
    for name, (params, definition) in BY_STEPS.items():
        d = rethaw.build("degradation", name, **params)
        state = d.draw(x, generators(0, shape[0]))
        ours = medians({"ours": lambda d=d, state=state: d.degrade(x, t, state)}, rounds=20)["ours"]
        both = medians({"ours": lambda d=d, state=state: d.degrade(x, t, state), "steps": definition(x, t)}, rounds=3)
        ours = min(ours, both["ours"])
        yield f"| {name} | {ours * 1e3:.2f} | {both['steps'] * 1e3:.0f} | {both['steps'] / ours:.0f} |"
