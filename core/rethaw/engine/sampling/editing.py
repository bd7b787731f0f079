"""What a trained pipeline does with clean images: edits, mixtures, inversion, likelihood; and generation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from rethaw.api import HasCoefficients, Restore, RethawError, Rng, State, Step
from rethaw.engine.degradation.composition import known
from rethaw.engine.degradation.observe import degraded
from rethaw.engine.sampling.how import AS_PIPELINE, How
from rethaw.engine.sampling.likelihood import Likelihood, likelihood
from rethaw.engine.sampling.reference import between
from rethaw.engine.sampling.walking import Walker, last
from rethaw.ops import check_severity, generators, needs_coefficients, severity_rows


class Encoder(Protocol):
    """A sampler that can also go from images to x_t."""

    def severities(self, degradation: HasCoefficients, start: float) -> Tensor: ...

    def encode(
        self, restore: Restore, x: Tensor, severities: Tensor, degradation: HasCoefficients
    ) -> Iterator[Step]: ...


def generation(
    walker: Walker, n: int, how: How = AS_PIPELINE, size: tuple[int, int] | None = None, first: int = 0
) -> Iterator[Step]:
    """The trajectory of n images from samples of x_1, numbered from `first`; image i is the same whatever n is."""
    x, state = walker.start(n, size, walker.seed(how), first)
    return walker.trajectory(x, 1.0, how, state=state, generator=walker.draws(how, n, first))


def variation(walker: Walker, x0: Tensor, strength: float, how: How = AS_PIPELINE, first: int = 0) -> Iterator[Step]:
    """The trajectory of new images after references (SDEdit, 2108.01073): degraded to `strength`, and restored.

    strength: 1 leaves nothing of the reference; 0 keeps it, as a walk of no step. Image i depends on (seed, i) alone.
    """
    check_severity(strength)
    x, state = reference(walker, x0, strength, walker.seed(how), first)
    if strength == 0:
        return iter([Step(x.new_zeros(len(x)), x, x)])
    return walker.trajectory(x, strength, how, state=state, generator=walker.draws(how, len(x), first))


def reference(walker: Walker, x0: Tensor, strength: float, seed: int, first: int = 0) -> tuple[Tensor, State | None]:
    """Where a variation starts: images (B, C, H, W), degraded; the state, or None if samplers are to infer it."""
    degradation = walker.parts.degradation
    x, state = degraded(degradation, x0.to(walker.parts.device), strength, generators(seed, len(x0), first))
    return x, known(degradation, state)


@torch.no_grad()
def interpolate(
    walker: Walker, ends: tuple[Tensor, Tensor], count: int, strength: float, how: How = AS_PIPELINE, own: bool = False
) -> Tensor:
    """`count` images from one picture (C, H, W) to another of its size: both degraded, mixed, and restored.

    own: each picture has a state of its own (a noise), and they are mixed spherically; else they share one.
    """
    a, b = (image.to(walker.parts.device) for image in ends)
    x, state = between(walker.parts.degradation, a, b, count, strength, walker.seed(how), own)
    rng = [walker.draws(how, 1)[0] for _ in range(count)]  # the same draws for all: only the mixture differs
    return last(walker.trajectory(x, strength, how, state=state, generator=rng)).x


@torch.no_grad()
def encode(walker: Walker, x0: Tensor, severity: float, how: How = AS_PIPELINE) -> Tensor:
    """The x_t that DDIM would walk from to images x0 (B, C, H, W): DDIM inversion (2010.02502, section 4.3).

    Restoring it with core.ddim gives x0 back, the closer the more steps. Raises RethawError where the degradation has
    no coefficients.
    """
    check_severity(severity)
    parts = walker.parts
    if problem := needs_coefficients(parts.degradation):
        raise RethawError(f"DDIM inversion cannot encode for {parts.degradation.name}: {problem}")
    x0, ddim = x0.to(parts.device), cast("Encoder", parts.sampler("core.ddim", how.steps))
    severities = severity_rows(ddim.severities(parts.degradation, severity).flip(0), x0)
    walk = parts.degradation.along(severities)
    return last(ddim.encode(walker.bound(walk, x0, None, how), x0, severities, walk)).x


def log_likelihood(
    walker: Walker, images: Tensor, how: How = AS_PIPELINE, generator: Rng | None = None, **options: Any
) -> Likelihood:
    """log p of clean images (B, C, H, W) in nats and in bits a dimension, for degradations α x0 + σ z with Gaussian z.

    See `rethaw.engine.sampling.likelihood.likelihood` for the options: steps, solver, probes, dequantise, tolerance,
    watch.
    """
    x = images.to(walker.parts.device)
    rng = generator or generators(walker.seed(how), len(x))
    with torch.no_grad():
        own = walker.of(replace(walker.parts, guides=()))  # p(x), whatever else results are to fit
        restore = own.bound(walker.parts.degradation, x, None, how)
        return likelihood(restore, walker.parts.degradation, x, rng, **options)
