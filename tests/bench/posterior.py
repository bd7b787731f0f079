"""How far samplers of a measurement are from the posterior where it is known: `python -m tests.bench.posterior`.

Data, measurement and so the posterior are Gaussian (tests/gaussian.py), and the restorer is the optimal one: all
that is left is the sampler's own bias. docs/measurements.md holds the table.
"""

from __future__ import annotations

import sys
from typing import Any

import torch

import rethaw
from tests.gaussian import World

CASES: list[tuple[str, dict[str, Any]]] = [
    ("core.ddrm", {"steps": 20}),
    ("core.ddrm", {"steps": 100}),
    ("core.ddrm", {"steps": 100, "eta": 1.0}),
    ("core.ddnm", {"steps": 50}),
    ("core.ddnm", {"steps": 200}),
    ("core.dps", {"steps": 200}),
    ("core.dps", {"steps": 1000}),
    ("core.dps", {"steps": 1000, "scale": 0.3}),
    ("core.diffpir", {"steps": 100}),
    ("core.diffpir", {"steps": 500}),
    ("core.diffpir", {"steps": 100, "zeta": 1.0}),
    ("core.pigdm", {"steps": 100}),
    ("core.pigdm", {"steps": 100, "weight": "score"}),
    ("core.pigdm", {"steps": 100, "weight": "score", "spread": 0.5}),
    ("core.pigdm", {"steps": 500, "weight": "score", "spread": 0.5}),
]
NOISES = (0.0, 0.1, 0.5)


def biases(name: str, params: dict[str, Any], σ_y: float, count: int) -> tuple[float, float]:
    """The bias of a sampler's samples in the world of measurement noise σ_y (see `World.bias`)."""
    world, noise = World(σ_y), rethaw.build("degradation", "core.gaussian_noise")
    sampler, rng = rethaw.build("sampler", name, **params), torch.Generator().manual_seed(0)
    x = torch.randn(count, *world.shape, generator=rng, dtype=torch.float64)
    severities, observation = sampler.severities(noise), world.observation(count)
    for step in sampler.trajectory(world.restore(noise), x, severities, noise, None, rng, observation):
        x = step.x
    return world.bias(x)


def table(count: int) -> list[str]:
    """A row for each sampler: bias of the mean, and ratio of the variance, at each noise of the measurement."""
    heads = [f"{what}, σ_y = {σ:g}" for σ in NOISES for what in ("mean off by", "variance")]
    lines = [f"| sampler | {' | '.join(heads)} |", "|---|" + "---:|" * len(heads)]
    for name, params in CASES:
        cells = [f"{v:.2f}" for σ in NOISES for v in biases(name, params, σ, count)]
        lines.append(f"| `{name}`, {', '.join(f'{k}={v}' for k, v in params.items())} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    print("\n".join(table(int(sys.argv[1]) if len(sys.argv) > 1 else 5000)))
