"""The whole engine's cost of a sampling step, from the pipeline on, against a bare torch loop and a trivial network."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

import rethaw
from rethaw.config import load_text
from rethaw.engine.restorer.network import Restorer
from rethaw.engine.restorer.parameterization import LEAST_ALPHA
from rethaw.engine.sampling.walking import last
from tests.bench.timing import medians
from tests.worlds import with_network

STEPS = 50
CASES: dict[str, tuple[str, str, str, tuple[int, ...]]] = {
    "cold (noise, inferred), 1×3×32×32": ("core.gaussian_noise", "core.cold", "x0", (1, 3, 32, 32)),
    "cold (noise, inferred), 16×3×64×64": ("core.gaussian_noise", "core.cold", "x0", (16, 3, 64, 64)),
    "DDIM, x0, 1×3×32×32": ("core.gaussian_noise", "core.ddim", "x0", (1, 3, 32, 32)),
    "DDIM, eps, 1×3×32×32": ("core.gaussian_noise", "core.ddim", "eps", (1, 3, 32, 32)),
    "DDIM, eps, 16×3×64×64": ("core.gaussian_noise", "core.ddim", "eps", (16, 3, 64, 64)),
    "cold (desaturate), 1×3×32×32": ("core.desaturate", "core.cold", "x0", (1, 3, 32, 32)),
    "cold (blur), 16×3×64×64": ("kornia.gaussian_blur", "core.cold", "x0", (16, 3, 64, 64)),
}
"""Degradation, sampler, prediction type, shape. Of noise both samplers are DDIM, and so is the bare loop."""


class Trivial(nn.Module):
    """A network that costs one multiplication."""

    def forward(self, x: Tensor, t: Tensor, cond: Any) -> Tensor:
        return x * 0.9


def engine(use: str, sampler: str, prediction: str, x: Tensor) -> Callable[[], Tensor]:
    """The whole of rethaw: pipeline, host, sampler, restorer with clipping."""
    text = f"degradation: {use}\nrestorer: {{prediction: {prediction}}}\nsampler: {{use: {sampler}, steps: {STEPS}}}"
    pipeline = rethaw.Pipeline(*load_text(text), device="cpu")
    with_network(pipeline, Restorer(Trivial()))
    rng = torch.Generator().manual_seed(0)
    return lambda: last(pipeline.trajectory(x, generator=rng)).x


def bare(use: str, prediction: str, x: Tensor) -> Callable[[], Tensor]:
    """Algorithm 2 as one would write it by hand: no host, no contracts; noise by its coefficients as numbers."""
    operator, network = rethaw.build("degradation", use).operator, Trivial()
    severities = torch.linspace(1, 0, STEPS + 1)
    rows = severities[:, None].expand(-1, x.shape[0]).unbind(0)

    def noise() -> Tensor:
        y = x
        for (α, σ), (α_s, σ_s) in pairwise(coefficients):
            out = network(y, None, {})  # type: ignore[arg-type]
            x0 = ((y - σ * out) / max(α, LEAST_ALPHA) if prediction == "eps" else out).clamp(-1, 1)
            z = (y - α * x0) / σ
            y = y - (α * x0 + σ * z) + (α_s * x0 + σ_s * z)
        return y

    def loop() -> Tensor:
        y = x
        for t, s in pairwise(rows):
            x0 = network(y, t, {}).clamp(-1, 1)
            y = y - operator.degrade(x0, t, {}) + operator.degrade(x0, s, {})
        return y

    if use != "core.gaussian_noise":
        return loop
    coefficients = list(zip(*(c.tolist() for c in operator.coefficients(severities)), strict=True))
    return noise


def run() -> list[str]:
    """Markdown lines: µs a step, and the ratio that the issue bounds by two."""
    lines = ["| engine overhead of a sampling step | bare loop, µs | rethaw, µs | ratio |", "|---|---:|---:|---:|"]
    for name, (use, sampler, prediction, shape) in CASES.items():
        x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        both = {"bare": bare(use, prediction, x), "rethaw": engine(use, sampler, prediction, x)}
        assert torch.allclose(both["bare"](), both["rethaw"](), atol=1e-4)
        found = medians(both)
        us = {key: value / STEPS * 1e6 for key, value in found.items()}
        lines.append(f"| {name} | {us['bare']:.0f} | {us['rethaw']:.0f} | {us['rethaw'] / us['bare']:.2f} |")
    return lines
