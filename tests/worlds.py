"""Restorers and degradations with known answers, for tests of the mathematics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import rethaw
from rethaw.api import Prediction
from rethaw.config import load_text
from rethaw.engine.degradation.build import build_degradation
from rethaw.engine.restorer.network import Restorer
from rethaw.engine.sampling.walking import Walker
from rethaw.registry import Registry
from rethaw.testing.cases import drawable

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("core.gaussian_noise", {"alpha_bar": "linear", "levels": 50}),
    ("core.gaussian_noise", {"alpha_bar": "sigmoid"}),
    ("core.gaussian_noise", {"process": "ve", "sigma_max": 5.0}),
    ("core.gaussian_noise", {"process": "flow"}),
    ("core.fade", {"spread": 1.0, "span": [0.1, 1.0]}),
    ("core.mask", {"shape": "strokes", "strokes": 3}),
    ("core.mask", {"shape": "bump", "size": 0.7}),
    ("core.mask", {"shape": "half"}),
    ("core.cumulative_mask", {"routine": "constant", "kernel_std": 6.0, "steps": 8}),
    ("core.cumulative_mask", {"routine": "random_incremental", "kernel_std": 0.1, "steps": 50}),
    ("core.cumulative_mask", {"reversed": True, "colour": "random", "kernel_std": 0.05, "steps": 300}),
    ("core.desaturate", {"weights": "luma"}),
    ("core.desaturate", {"keep": 0.9, "steps": 20}),
    ("core.desaturate", {"amount": 0.5, "schedule": "cosine"}),
    ("core.mixture", {"of": [{"use": "core.mask"}, {"use": "kornia.gaussian_blur"}]}),
    ("core.pair", {"noise": 0.3, "field": "seen"}),
    ("core.mixture", {"of": [{"use": "core.pair"}, {"use": "core.mask"}]}),
    ("core.chain", {"shuffle": True, "of": [{"use": "core.resize", "chance": 0.5}, {"use": "core.kernel_blur"}]}),
    ("core.poisson_noise", {"grey": 0.5, "chance": 0.5, "strengths": [0.2, 1.0]}),
    ("core.additive_noise", {"grey": 0.5}),
    ("core.kernel_blur", {"taps": [7, 25], "kernels": [0, 0, 0, 1, 0, 1]}),
    ("core.resize", {"scale": [0.2, 0.8], "modes": ["area"]}),
    ("kornia.gaussian_blur", {"sigma_max": 2.0}),
    ("kornia.gaussian_blur", {"sigma_max": 5.0, "schedule": "exponential", "span": [0.2, 0.9]}),
    ("kornia.cumulative_blur", {"routine": "special_6"}),
    ("kornia.downsample", {"steps": 4}),
    ("kornia.motion_blur", {"length": 7}),
    ("kornia.defocus", {"radius_max": 2.5}),
    ("kornia.pixelate", {"block_max": 5}),
    ("kornia.pixelate", {"levels": 4, "schedule": [[0, 0], [0.5, 0.2], [1, 1]]}),
]
"""Degradations with parameters and host keys that matter."""

TWO = {"of": [{"use": "core.mask"}, {"use": "core.gaussian_noise"}]}
NEEDED: dict[str, dict[str, Any]] = {"core.mixture": TWO, "core.chain": TWO}
"""Parameters of what cannot be built without any."""

EXCEPTIONS: dict[str, set[str]] = {
    "core.identity": {"grows"},  # it changes nothing
    "spandrel.unknown": {"grows"},  # nor does it
    "imagenet_c.saturate": {"grows"},  # levels 1 and 2 take colour out, 3 to 5 add it: it passes the identity between
}
"""Checks of the kit that do not hold, and why."""

EVERY = [(name, NEEDED.get(name, {})) for name in Registry().names("degradation")] + VARIANTS
"""Every installed degradation with its defaults, and the variants."""

COMPOSITIONS = [
    ("blur, snow and grey", "[kornia.gaussian_blur, {use: imagenet_c.snow, span: [0.2, 1]}, core.desaturate]"),
    ("mask of noise", "[{use: core.gaussian_noise, schedule: cosine}, {use: core.mask, shape: bump, span: [0, 0.5]}]"),
    ("an animal out of focus", "[animals.animorphosis, {use: imagenet_c.defocus_blur, levels: 5}]"),
    ("colours lost on the way to a partner", "[core.desaturate, {use: core.pair, schedule: cosine}]"),
    ("one of two, faded", "[{use: core.mixture, of: [core.mask, kornia.pixelate]}, {use: core.fade, span: [0.4, 1]}]"),
]
"""Lists of degradations, applied one after the other."""


def degradation_id(case: tuple[str, Any]) -> str:
    return case[0] if isinstance(case[1], str) else f"{case[0]}-{'-'.join(case[1])}"


def made(case: tuple[str, Any]) -> Any:
    """The hosted degradation of a case, by name and parameters, or composed as a YAML text says."""
    if isinstance(case[1], str):
        return drawable(hosted(f"degradation: {case[1]}"))
    return drawable(rethaw.build("degradation", case[0], **case[1]))


def hosted(text: str) -> Any:
    """The hosted degradation of a pipeline's YAML text."""
    config, registry = load_text(text)
    return build_degradation(config.degradation, config.composed, registry)


def with_network(
    pipeline: rethaw.Pipeline, network: Restorer | None = None, image_shape: tuple[int, ...] = ()
) -> rethaw.Pipeline:
    """A pipeline as if it were trained, with a fresh network or another."""
    restorer = network or pipeline.parts.restorer()
    pipeline.trained = Walker(pipeline.parts, restorer, {}, image_shape)
    return pipeline


def images(
    count: int = 3, channels: int = 3, height: int = 24, width: int = 20, seed: int = 0, dtype: Any = torch.float64
) -> Tensor:
    """Random images in [-1, 1]."""
    drawn = torch.rand(
        count, channels, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    return (drawn * 2 - 1).to(dtype)


def oracle(x0: Tensor) -> Callable[[Tensor, Tensor], Prediction]:
    """The restorer that is always right."""
    return lambda x, t: Prediction(x0)


def liar(x: Tensor, t: Tensor) -> Prediction:
    """A deterministic restorer that is always wrong."""
    return Prediction(torch.tanh(2.3 * x + t.view(-1, 1, 1, 1)) - 0.4 * x.flip(-1))


class Linear:
    """D(x, t) = x + t·e, for which cold sampling needs no good restorer (section 3.3 of the paper)."""

    linear = True

    def __init__(self, e: Tensor) -> None:
        self.e = e

    def draw(self, like: Tensor, generator: Any) -> dict[str, Tensor]:
        return {}

    def degrade(self, x0: Tensor, t: Tensor, state: Any) -> Tensor:
        return x0 + t.view(-1, 1, 1, 1) * self.e


class MixtureWorld:
    """Images whose values are independent draws of Σ w_k N(m_k, s_k²), degraded to α x0 + σ z with Gaussian z.

    The best restorer, the distribution at every severity and the probability flow (in one dimension the monotone map
    from quantile to quantile) are formulas.
    """

    def __init__(
        self,
        degradation: Any,
        means: tuple[float, ...] = (-0.6, 0.5),
        stds: tuple[float, ...] = (0.15, 0.25),
        weights: tuple[float, ...] = (0.4, 0.6),
    ) -> None:
        self.degradation = degradation
        self.m, self.s, self.w = (torch.tensor(v, dtype=torch.float64) for v in (means, stds, weights))

    def components(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor, torch.distributions.Normal]:
        """α, σ and the components at t, with a last axis for them."""
        α, σ = (c.double().view(-1, 1, 1, 1, 1) for c in self.degradation.coefficients(t.double()))
        return α, σ, torch.distributions.Normal(α * self.m, torch.hypot(α * self.s, σ))

    def restore(self, x: Tensor, t: Tensor) -> Prediction:
        """E[x0 | x_t]."""
        α, _, at = self.components(x, t)
        y = x.double()[..., None]
        of = (at.log_prob(y) + self.w.log()).softmax(-1)
        mean = self.m + α * self.s.square() / at.variance * (y - at.mean)
        return Prediction((of * mean).sum(-1).to(x.dtype))

    def cdf(self, x: Tensor, t: Tensor) -> Tensor:
        return (self.components(x, t)[2].cdf(x[..., None]) * self.w).sum(-1)

    def carry(self, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """The exact probability flow from severity t to s: the value at s with the quantile that x has at t."""
        p, low, high = self.cdf(x, t), torch.full_like(x, -500.0), torch.full_like(x, 500.0)
        for _ in range(80):
            middle = (low + high) / 2
            below = self.cdf(middle, s) < p
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (low + high) / 2

    def draw(self, count: int, side: int = 32, seed: int = 0) -> Tensor:
        """Clean images (count, 1, side, side)."""
        rng = torch.Generator().manual_seed(seed)
        k = torch.multinomial(self.w, count * side * side, replacement=True, generator=rng)
        z = torch.randn(len(k), generator=rng, dtype=torch.float64)
        return (self.m[k] + self.s[k] * z).view(count, 1, side, side)

    def moments(self) -> tuple[float, float]:
        """Mean and standard deviation of a clean value."""
        mean = (self.w * self.m).sum()
        return float(mean), float(((self.w * (self.s.square() + self.m.square())).sum() - mean.square()).sqrt())

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x0) of clean images, (B,)."""
        at = torch.distributions.Normal(self.m, self.s)
        return (at.log_prob(x[..., None]) + self.w.log()).logsumexp(-1).flatten(1).sum(1)


class PointsWorld:
    """Images (B, 2, H, W) whose pixels are independent points of a mixture of two correlated Gaussians in the plane."""

    def __init__(self, degradation: Any) -> None:
        self.degradation = degradation
        self.w = torch.tensor([0.3, 0.7], dtype=torch.float64)
        self.m = torch.tensor([[-0.6, 0.4], [0.5, -0.2]], dtype=torch.float64)
        self.c = torch.tensor([[[0.04, 0.02], [0.02, 0.03]], [[0.05, -0.03], [-0.03, 0.04]]], dtype=torch.float64)

    def restore(self, x: Tensor, t: Tensor) -> Prediction:
        """E[x0 | x_t], for one severity in the whole batch."""
        α, σ = (c[0].double() for c in self.degradation.coefficients(t[:1].double()))
        y, eye = x.movedim(1, -1)[..., None, :].double(), torch.eye(2, dtype=torch.float64)
        cov = α**2 * self.c + σ**2 * eye
        of = torch.distributions.MultivariateNormal(α * self.m, cov).log_prob(y) + self.w.log()
        gain = α * self.c @ torch.linalg.inv(cov)
        means = self.m + torch.einsum("kij,...kj->...ki", gain, y - α * self.m)
        return Prediction((of.softmax(-1)[..., None] * means).sum(-2).movedim(-1, 1).to(x.dtype))

    def measured(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Weights (2,), means (2, 2) and covariances (2, 2, 2) of the points, told apart by one step of EM."""
        y = x.movedim(1, -1).reshape(-1, 2).double()
        of = (torch.distributions.MultivariateNormal(self.m, self.c).log_prob(y[:, None]) + self.w.log()).softmax(-1)
        total = of.sum(0)
        means = of.T @ y / total[:, None]
        apart = y[None] - means[:, None]
        return total / len(y), means, (of.T[:, :, None] * apart).mT @ apart / total[:, None, None]
