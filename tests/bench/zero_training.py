"""Zero-training restoration where the answer is known: `python -m tests.bench.zero_training`.

Pictures of 3 × 12 × 12 pixels are Gaussian, as smooth and as grey as photographs are, and the restorer of noise is the
optimal one. Every sampler that restores from a measurement does so from a blur, pixelation, a mask and lost colour: how
far its results are from y, and from the posterior. docs/measurements.md holds the tables.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor

import rethaw
from rethaw.api import Observation, Prediction
from rethaw.ops import expand, generators
from tests.gaussian import Dense, World, flat

MEASUREMENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "blur": ("kornia.gaussian_blur", {"sigma_max": 1.0}),
    "pixelation": ("kornia.pixelate", {"block_max": 3}),
    "mask": ("core.mask", {"shape": "box"}),
    "grey": ("core.desaturate", {}),
}
CASES: list[tuple[str, dict[str, Any]]] = [
    ("core.ddrm", {}),
    ("core.ddnm", {}),
    ("core.dps", {}),
    ("core.diffpir", {}),
    ("core.pigdm", {}),
    ("core.pigdm", {"weight": "score", "spread": 0.5}),
]
NOISES = (0.0, 0.05)


class Pictures(World):
    """x0 ~ N(0, C), of deviation 0.5, C falling by e in four pixels and by a tenth between colours; and y of one x0."""

    shape = (3, 12, 12)

    def __init__(self, use: str, params: dict[str, Any], σ_y: float) -> None:
        n, self.σ_y, self.degradation = 3 * 12 * 12, σ_y, rethaw.build("degradation", use, **params)
        at = torch.cartesian_prod(*(torch.arange(12, dtype=torch.float64),) * 2)
        space, colour = torch.exp(-torch.cdist(at, at) / 4), 0.9 + 0.1 * torch.eye(3, dtype=torch.float64)
        self.μ, self.c = torch.zeros(n, dtype=torch.float64), 0.25 * torch.kron(colour, space)
        self.λ, self.q = torch.linalg.eigh(self.c)
        like = torch.zeros(1, *self.shape, dtype=torch.float64)
        self.state = self.degradation.draw(like, generators(0, 1))
        b = self.degrade(like)
        self.a = flat(self.degrade(torch.eye(n, dtype=torch.float64).view(n, *self.shape)) - b).T
        self.measured = Dense(self.a, flat(b)[0])
        rng = torch.Generator().manual_seed(1)
        x0, noise = (torch.randn(n, generator=rng, dtype=torch.float64) for _ in range(2))
        self.y = self.a @ (self.q @ (self.λ.sqrt() * x0)) + self.measured.b + σ_y * noise

    def degrade(self, x: Tensor) -> Tensor:
        found: Tensor = self.degradation.degrade(x, expand(1.0, x), self.repeated(len(x)))
        return found

    def repeated(self, count: int) -> dict[str, Tensor]:
        """The state, for so many images."""
        return {key: v.expand(count, *v.shape[1:]) for key, v in self.state.items()}

    def observation(self, count: int) -> Observation:
        y = self.y.expand(count, -1).view(count, *self.shape)
        return Observation(y, self.degradation, expand(1.0, y), self.repeated(count), self.σ_y)

    def restore(self, degradation: Any) -> Any:
        def call(x: Tensor, t: Tensor) -> Prediction:
            α, σ = (c[0].double() for c in degradation.coefficients(t[:1].double()))
            gain = α * self.λ / (α**2 * self.λ + σ**2)
            return Prediction(((flat(x) @ self.q * gain) @ self.q.T).view_as(x))

        return call

    def posterior(self) -> tuple[Tensor, Tensor]:
        seen = self.a @ self.c @ self.a.T + self.σ_y**2 * torch.eye(len(self.a), dtype=torch.float64)
        gain = self.c @ self.a.T @ torch.linalg.pinv(seen, rtol=1e-10, hermitian=True)
        return gain @ (self.y - self.measured.b), self.c - gain @ self.a @ self.c


def measured(world: Pictures, name: str, params: dict[str, Any], count: int) -> tuple[float, float, float]:
    """Of so many samples: how far D(x) is from y (root mean square), and `World.bias`."""
    noise, sampler = rethaw.build("degradation", "core.gaussian_noise"), rethaw.build("sampler", name, **params)
    rng, observation = torch.Generator().manual_seed(0), world.observation(count)
    x = torch.randn(count, *world.shape, generator=rng, dtype=torch.float64)
    severities = sampler.severities(noise)
    for step in sampler.trajectory(world.restore(noise), x, severities, noise, None, rng, observation):
        x = step.x
    off, variance = world.bias(x)
    return float((world.degrade(x) - observation.y).square().mean().sqrt()), off, variance


def table(σ_y: float, count: int) -> list[str]:
    """A row for each sampler, a column for each measurement.

    Without noise only the distance from y: of a blur that hides nothing the posterior is a point.
    """
    worlds = {title: Pictures(use, params, σ_y) for title, (use, params) in MEASUREMENTS.items()}
    lines = [f"| σ_y = {σ_y:g} | {' | '.join(worlds)} |", "|---|" + "---:|" * len(worlds)]
    for name, params in CASES:
        found = (measured(world, name, params, count) for world in worlds.values())
        cells = [
            f"{apart:.3f} · {off:.2f} · {variance:.2f}" if σ_y else f"{apart:.1g}" for apart, off, variance in found
        ]
        given = "".join(f", {key}={value}" for key, value in params.items())
        lines.append(f"| `{name}`{given} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    for σ_y in NOISES:
        print("\n".join(table(σ_y, int(sys.argv[1]) if len(sys.argv) > 1 else 500)), flush=True)
