"""A world where everything is Gaussian: data, measurement, and so the posterior that samplers should draw from."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rethaw.api import SVD, Observation, Prediction


def flat(x: Tensor) -> Tensor:
    return x.flatten(1)


class Dense:
    """D(x0) = A x0 + b at any severity above 0, A a matrix (N, N) on flattened images."""

    linear, name = True, "dense"

    def __init__(self, a: Tensor, b: Tensor) -> None:
        self.a, self.b = a, b

    def draw(self, like: Tensor, generator: Any) -> dict[str, Tensor]:
        return {}

    def degrade(self, x0: Tensor, t: Tensor, state: Any) -> Tensor:
        return (flat(x0) @ self.a.T + self.b).view_as(x0)

    def adjoint(self, y: Tensor, t: Tensor, state: Any) -> Tensor:
        return (flat(y) @ self.a).view_as(y)

    def svd(self, like: Tensor, t: Tensor, state: Any) -> SVD:
        u, s, vt = torch.linalg.svd(self.a)
        maps = [lambda x, m=m: (flat(x) @ m.T).view_as(x) for m in (u, u.T, vt.T, vt)]
        return SVD(*maps, s.view(1, *like.shape[1:]))


class Without:
    """A degradation that lacks some methods."""

    def __init__(self, degradation: Any, *methods: str) -> None:
        self.degradation, self.methods = degradation, methods

    def __getattr__(self, name: str) -> Any:
        if name in self.methods:
            raise AttributeError(name)
        return getattr(self.degradation, name)


class World:
    """x0 ~ N(μ, C) on images (1, 2, 3), with C = L Lᵀ + 0.05 I, and y = A x0 + b + σ_y n with A of rank 4."""

    shape = (1, 2, 3)

    def __init__(self, σ_y: float, seed: int = 0) -> None:
        rng = torch.Generator().manual_seed(seed)
        n = 6
        draw = lambda *size: torch.randn(*size, generator=rng, dtype=torch.float64)  # noqa: E731
        self.μ, root, self.σ_y = 0.3 * draw(n), 0.35 * draw(n, n), σ_y
        self.c = root @ root.T / 2 + 0.05 * torch.eye(n, dtype=torch.float64)
        u, v = (torch.linalg.qr(draw(n, n)).Q for _ in range(2))
        self.a = u @ torch.diag(torch.tensor([1.0, 0.8, 0.5, 0.2, 0, 0], dtype=torch.float64)) @ v.T
        self.measured = Dense(self.a, 0.2 * draw(n))
        x0 = self.μ + torch.linalg.cholesky(self.c) @ draw(n)
        self.y = self.a @ x0 + self.measured.b + σ_y * draw(n)

    def restore(self, degradation: Any) -> Any:
        """The optimal restorer, E[x0 | x_t] = μ + α C (α² C + σ² I)⁻¹ (x_t - α μ)."""

        def call(x: Tensor, t: Tensor) -> Prediction:
            α, σ = (c[0].double() for c in degradation.coefficients(t[:1].double()))
            eye = torch.eye(len(self.μ), dtype=torch.float64)
            gain = α * self.c @ torch.linalg.inv(α**2 * self.c + σ**2 * eye)
            return Prediction((self.μ + (flat(x) - α * self.μ) @ gain.T).view_as(x))

        return call

    def observation(self, count: int) -> Observation:
        t = torch.ones(count, dtype=torch.float64)
        return Observation(self.y.expand(count, -1).view(count, *self.shape), self.measured, t, {}, self.σ_y)

    def posterior(self) -> tuple[Tensor, Tensor]:
        """Mean and covariance of x0 given y."""
        eye = torch.eye(len(self.μ), dtype=torch.float64)
        noise = max(self.σ_y, 1e-6) ** 2
        gain = self.c @ self.a.T @ torch.linalg.inv(self.a @ self.c @ self.a.T + noise * eye)
        apart = self.y - self.measured.b - self.a @ self.μ
        return self.μ + gain @ apart, self.c - gain @ self.a @ self.c

    def bias(self, x: Tensor) -> tuple[float, float]:
        """How far samples (B, 1, 2, 3) are from it.

        Of the mean, in its own standard deviations (root mean square), and the ratio of total variance.
        """
        mean, cov = self.posterior()
        spread = cov.trace()
        return float(((flat(x).mean(0) - mean).square().sum() / spread).sqrt()), float(flat(x).var(0).sum() / spread)
