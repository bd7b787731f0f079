"""The engine's own cost of a sampling step, against a bare torch loop of the same algorithm and a trivial network."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

import rethaw
from rethaw.config import load_text
from rethaw.engine.pipeline import last
from rethaw.engine.restorer import Restorer
from tests.bench.timing import medians

STEPS = 50
CASES: dict[str, tuple[str, tuple[int, ...]]] = {
    "DDIM (noise, inferred), 1×3×32×32": ("core.gaussian_noise", (1, 3, 32, 32)),
    "DDIM (noise, inferred), 16×3×64×64": ("core.gaussian_noise", (16, 3, 64, 64)),
    "cold (desaturate), 1×3×32×32": ("core.desaturate", (1, 3, 32, 32)),
    "cold (blur), 16×3×64×64": ("kornia.gaussian_blur", (16, 3, 64, 64)),
}


class Trivial(nn.Module):
    """A network that costs one multiplication."""

    def forward(self, x: Tensor, t: Tensor, cond: Any) -> Tensor:
        return x * 0.9


def engine(use: str, x: Tensor) -> Callable[[], Tensor]:
    """The whole of rethaw: pipeline, host, sampler, restorer with clipping."""
    config, registry = load_text(f"degradation: {{use: {use}}}\nsampler: {{use: core.cold, steps: {STEPS}}}")
    pipeline = rethaw.Pipeline(config, registry, device="cpu")
    pipeline.restorer = Restorer(Trivial(), "x0")
    rng = torch.Generator().manual_seed(0)
    return lambda: last(pipeline.trajectory(x, generator=rng)).x


def bare(use: str, x: Tensor) -> Callable[[], Tensor]:
    """What one would write by hand: the raw operator with per-image severities, no host, no contracts."""
    operator, network = rethaw.build("degradation", use).operator, Trivial()
    severities = torch.linspace(1, 0, STEPS + 1)[:, None].expand(-1, x.shape[0]).unbind(0)

    def loop() -> Tensor:
        y, state = x, {}
        for t, s in pairwise(severities):
            x0 = network(y, t, {}).clamp(-1, 1)
            if use == "core.gaussian_noise":
                state = operator.infer(y, x0, t, {})
            y = y - operator.degrade(x0, t, state) + operator.degrade(x0, s, state)
        return y

    return loop


def run() -> list[str]:
    """Markdown lines: µs a step, and the ratio that the issue bounds by two."""
    lines = ["| engine overhead of a sampling step | bare loop, µs | rethaw, µs | ratio |", "|---|---:|---:|---:|"]
    for name, (use, shape) in CASES.items():
        x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        both = {"bare": bare(use, x), "rethaw": engine(use, x)}
        assert torch.allclose(both["bare"](), both["rethaw"](), atol=1e-4)
        found = medians(both)
        us = {key: value / STEPS * 1e6 for key, value in found.items()}
        lines.append(f"| {name} | {us['bare']:.0f} | {us['rethaw']:.0f} | {us['rethaw'] / us['bare']:.2f} |")
    return lines
