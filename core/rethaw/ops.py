"""Tensor helpers for operators: severities, draws that depend only on the generator passed in, linear operators.

Everything here takes its device and dtype from its arguments, has no loop over pixels or severities, and never
waits for the device.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from typing import Protocol, TypeVar

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from rethaw.api import Dataset, Degradation, RethawError, Rng
from rethaw.correlation import border, correlate, fast, fast_sides, pad, unpad
from rethaw.images import find_images, from_pil, read_image
from rethaw.inverse import gains, linear_part, pseudo_inverse
from rethaw.linear import (
    Constant,
    band_blur,
    channel_svd,
    dense_blur,
    diagonal_svd,
    mix_channels,
    separable,
    separable_blur,
    separable_svd,
)  # fmt: skip
from rethaw.sde import FlowSolver, Rates, adaptive_solver, rates

__all__ = [
    "Constant", "FlowSolver", "Rates",
    "adaptive_solver", "band_blur", "border", "channel_svd", "check_severity", "combine", "correlate", "dense_blur", "detail",
    "diagonal_svd", "expand", "fast", "fast_sides", "find_images", "from_pil", "gains", "generators", "inverse",
    "level", "linear_part", "mix_channels", "mix_seed", "needs_coefficients", "noise_of", "pad", "per_image",
    "poisson_quantile", "posterior", "pseudo_inverse", "rand", "randn", "rates", "read_image", "schedule", "seeded",
    "separable", "separable_blur", "separable_svd", "severity_at", "severity_pairs", "severity_rows", "sinusoids", "unpad",
    "with_classes",
]  # fmt: skip


# --- severities and shapes -----------------------------------------------------------------------------------


def per_image(u: Tensor, like: Tensor) -> Tensor:
    """(B,) to (B, 1, 1, 1), in the dtype of `like`, so that it multiplies a batch of images."""
    return u.to(like.dtype).view(-1, *(1,) * (like.dim() - 1))


def expand(t: Tensor | float, like: Tensor) -> Tensor:
    """A severity, or one for each image, as a tensor (B,) on the device of `like`, at least float32.

    Raises RethawError for one outside [0, 1], where that can be seen without waiting for a device.
    """
    check_severity(t)
    dtype = torch.promote_types(like.dtype, torch.float32)
    return torch.as_tensor(t, dtype=dtype, device=like.device).expand(like.shape[0])


def check_severity(t: Tensor | float) -> None:
    """Raises RethawError for a severity outside [0, 1]; what is on another device than the CPU is not looked at."""
    if isinstance(t, Tensor):
        if t.device.type != "cpu" or ((t >= 0) & (t <= 1)).all():
            return
        t = next(float(v) for v in t.flatten() if not 0 <= v <= 1)
    if not 0 <= t <= 1:
        raise RethawError(f"severity {t:g} is outside [0, 1]", "0 is the clean image, 1 the full degradation.")


def sinusoids(t: Tensor, features: int = 64) -> Tensor:
    """Severities (B,) as sines and cosines of 2 to 200 radians over [0, 1] (1706.03762, section 3.5): (B, features)."""
    octaves = torch.linspace(math.log(2.0), math.log(200.0), features // 2, device=t.device, dtype=t.dtype)
    angles = t[:, None] * octaves.exp()
    return torch.cat([angles.sin(), angles.cos()], dim=1)


BAND_WINDOW = 5  # px, of the mean that a band is the difference from
BAND_GAIN = 4.0


def detail(x: Tensor, bands: int) -> list[Tensor]:
    """x (B, C, H, W), then ever finer bands of it, each the one before less its local mean, amplified.

    A strong blur leaves the fine detail in the picture, but hundreds of times fainter than the rest, and a network finds
    it slowly. The bands hold nothing that is not in x; they make it visible to the first gradient steps.
    """
    seen, margin = [x], BAND_WINDOW // 2
    for _ in range(bands):
        mean = F.avg_pool2d(seen[-1], BAND_WINDOW, stride=1, padding=margin, count_include_pad=False)
        seen.append(BAND_GAIN * (seen[-1] - mean))
    return seen


def severity_rows(severities: Tensor, x: Tensor) -> Tensor:
    """Severities (N+1,) or (N+1, B) as (N+1, B), on the device of x and at least float32."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    return severities.to(x.device, dtype).view(len(severities), -1).expand(-1, x.shape[0]).contiguous()


def severity_pairs(severities: Tensor, x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The (t, s) of each step of a walk, (B,) each, from (N+1,) or (N+1, B) severities; moved to the device once."""
    return pairwise(severity_rows(severities, x).unbind(0))


def level(u: Tensor, count: int) -> Tensor:
    """The number, 0 … count, of the level that a strength belongs to: i is for u above (i - 1)/count up to i/count."""
    return torch.ceil(u * count - 1e-4).clamp(0, count)


# --- degradations D = α x0 + σ z, as samplers and restorers use them -----------------------------------------------


def needs_coefficients(degradation: Degradation, *, gaussian: bool = False, smooth: bool = False) -> str | None:
    """What a degradation lacks of D = α x0 + σ z, in words; None where it has it all. For `check` of samplers.

    gaussian: z must be N(0, I). smooth: α and σ must have derivatives, which levels do not.
    """
    if not hasattr(degradation, "coefficients"):
        return "it has no coefficients: it is not of the form α x0 + σ z"
    if gaussian and not getattr(degradation, "gaussian", False):
        return "its z is not Gaussian noise"
    if smooth and not getattr(degradation, "continuous", True):
        return "its coefficients move in levels and have no derivative"
    return None


def schedule(degradation: Degradation, severities: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The t (N+1, B) of a walk and its α and σ (N+1, B, 1, 1, 1), these in float64 where the device has it.

    In one pass before the loop: a sampler derives the coefficients of all its steps from them and casts those to the
    dtype of x. Each t[i] (B,) is to be passed to `restore` as it is: the host knows it again.
    """
    t = severity_rows(severities, x)
    wide = t.dtype if t.device.type == "mps" else torch.float64
    α, σ = degradation.coefficients(t.flatten().to(wide))  # type: ignore[attr-defined]
    each = (*t.shape, *(1,) * (x.dim() - 1))
    return t, α.view(each), σ.view(each)


def inverse(x: Tensor) -> Tensor:
    """1/x of x ≥ 0, and 0 where x is 0."""
    return torch.where(x > 0, 1 / x.clamp_min(torch.finfo(x.dtype).tiny), 0.0)


def combine(a: Tensor, x: Tensor, b: Tensor, y: Tensor) -> Tensor:
    """a x + b y, in two passes over one new tensor: a step of most samplers. a, b: (B, 1, 1, 1)."""
    return (a * x).addcmul_(b, y)


def noise_of(x: Tensor, x0_hat: Tensor, α: Tensor, σ: Tensor) -> Tensor:
    """z = (x_t - α x̂0) / σ: the noise that explains x_t; 0 where σ is 0. α, σ: (B, 1, 1, 1)."""
    return torch.addcmul(x, α, x0_hat, value=-1) * inverse(σ)


def posterior(α_t: Tensor, σ_t: Tensor, α_s: Tensor, σ_s: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """q(x_s | x_t, x0) = N(a x_t + b x0, β̃) of the Markov chain with these coefficients, s < t: a, b, β̃ and β.

    β = σ_t² - (α_t/α_s)² σ_s² is the variance of q(x_t | x_s). DDPM, eq. 6 and 7, for any α and σ (2107.00630, eq. 25).
    """
    ratio = torch.where(α_s > 0, α_t * inverse(α_s), 1.0)
    β = (σ_t.square() - (ratio * σ_s).square()).clamp_min(0)
    per_σ2 = inverse(σ_t).square()
    return ratio * σ_s.square() * per_σ2, α_s * β * per_σ2, σ_s.square() * β * per_σ2, β


SPLITS, ROUNDS = 32, 9  # t to within 32⁻⁹, 3e-14


def severity_at(degradation: Degradation, σ: Tensor) -> Tensor:
    """The t in [0, 1] of x_t / α = x0 + σ z, for noise levels σ of any shape: the inverse of σ(t)/α(t), which must not fall.

    By sections into 32 parts, all at once. Above the highest noise level it is 1; a degradation with levels gives the
    first level that is not below σ.
    """
    low, width = torch.zeros_like(σ), 1.0
    parts = torch.arange(1, SPLITS, dtype=σ.dtype, device=σ.device) / SPLITS
    for _ in range(ROUNDS):
        t = low.unsqueeze(-1) + width * parts
        α, σ_t = degradation.coefficients(t.flatten())  # type: ignore[attr-defined]
        low = low + (σ_t.view_as(t) < σ.unsqueeze(-1) * α.view_as(t)).sum(-1) * (width / SPLITS)
        width /= SPLITS
    levels = getattr(degradation, "levels", None)
    t = torch.ceil((low + width) * levels - 1e-5) / levels if levels else low + width
    return t.clamp_max(1)


# --- random numbers: only from the generators given ------------------------------------------------------------


def mix_seed(*parts: int | str) -> int:
    """A 63-bit seed that is a function of its parts, and unrelated for parts that are close together."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


@contextmanager
def seeded(device: torch.device, seed: int) -> Iterator[None]:
    """Seeds torch's global generators for a block and restores them: for networks, whose layers draw from nothing else."""
    devices = [torch.cuda.current_device()] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def generators(seed: int, count: int, first: int = 0) -> list[Generator]:
    """One generator for each image, so that image i is the same in a batch of any size. On the CPU, on any device."""
    return [Generator().manual_seed(mix_seed(seed, first + i)) for i in range(count)]


def randn(like: Tensor, generator: Rng, shape: Sequence[int] | None = None) -> Tensor:
    """Standard normal values for each image of `like`: (B, *shape), by default the shape of `like`."""
    return _draw(torch.randn, like, generator, shape)


def rand(like: Tensor, generator: Rng, shape: Sequence[int] | None = None) -> Tensor:
    """Uniform values in [0, 1) for each image of `like`: (B, *shape), by default the shape of `like`."""
    return _draw(torch.rand, like, generator, shape)


def _draw(draw: Callable[..., Tensor], like: Tensor, generator: Rng, shape: Sequence[int] | None) -> Tensor:
    each = tuple(like.shape[1:] if shape is None else shape)
    kind = torch.float64 if like.dtype == torch.float64 else torch.float32
    if isinstance(generator, Generator):
        drawn = draw((like.shape[0], *each), generator=generator, device=generator.device, dtype=kind)
    else:
        if len(generator) != like.shape[0]:
            raise ValueError(f"{len(generator)} generators for {like.shape[0]} images")
        drawn = torch.stack([draw(each, generator=g, device=g.device, dtype=kind) for g in generator])
    return drawn.to(like.device, like.dtype, non_blocking=True)


# --- photons ------------------------------------------------------------------------------------------------------

FEW, TAPS = 6.0, 24  # up to FEW photons the quantile is summed over TAPS counts; P(N > TAPS) < 1e-8 there
CERTAIN = 2 - 2e-6  # float32 tells probabilities below one apart up to here


def poisson_quantile(λ: Tensor, z: Tensor) -> Tensor:
    """The quantile Φ(z) of the Poisson distribution of mean λ, as whole numbers."""
    few = (λ < FEW).to(λ.dtype)
    return torch.lerp(_quantile_by_expansion(λ.clamp_min(FEW), z), _quantile_by_sum(λ.clamp_max(FEW), z), few)


def _quantile_by_sum(λ: Tensor, z: Tensor) -> Tensor:
    """Counts how many k < TAPS have P(N ≤ k) < Φ(z), both multiplied by e^λ: Σ λ^j / j! for j ≤ k."""
    power, bound = λ.clone(), torch.erfc(z * -math.sqrt(0.5)).clamp_(max=CERTAIN).mul_(0.5).mul_(λ.exp())
    total = torch.ones_like(λ)
    count = (total < bound).byte()
    for k in range(1, TAPS):
        total.add_(power, alpha=1 / math.factorial(k))
        power.mul_(λ)
        count += total < bound
    return count.to(λ.dtype)


def _quantile_by_expansion(λ: Tensor, z: Tensor) -> Tensor:
    """Giles 2016 (Algorithm 955), the normal expansion of the quantile to order 1/λ, rounded down."""
    root, z2 = λ.sqrt(), z.square()
    near = torch.addcmul(λ, root, z).add_(z2 / 6 + 1 / 3)
    far = ((z2 / 270 + 7 / 810).mul_(z2).sub_(8 / 405)).div_(λ)
    return near.add_(far).addcdiv_((z2 + 2).mul_(z), root, value=-1 / 72).floor_().clamp_min_(0)


# --- classes -------------------------------------------------------------------------------------------------


class Classed(Protocol):
    """Parameters that name classes."""

    @property
    def classes(self) -> tuple[str, ...]: ...


P = TypeVar("P", bound=Classed)


def with_classes(params: P, dataset: Dataset) -> P:
    """Parameters whose classes are those of the training data, where they name none. Raises RethawError if it has none."""
    found = tuple(getattr(dataset, "classes", ()))
    if not params.classes and not found:
        raise RethawError("the training data has no labels", "core.folder takes them from the names of sub-folders.")
    unknown = set(found) - set(params.classes or found)
    if unknown:
        raise RethawError(f"the training data has labels that `classes` lacks: {', '.join(sorted(unknown))}")
    return replace(params, classes=params.classes or found)  # type: ignore[type-var]
