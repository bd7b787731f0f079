"""What a pipeline does with clean images: edits, mixtures, inversion and likelihood."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from rethaw.api import RethawError, Rng, State
from rethaw.config.model import Guidance
from rethaw.engine.degradation.walk import along
from rethaw.engine.restorer.conditioners import Values
from rethaw.engine.sampling.likelihood import Likelihood, likelihood
from rethaw.engine.sampling.reference import between, known, noised
from rethaw.engine.sampling.walking import Picture, Sampling, last
from rethaw.ops import check_severity, expand, generators, needs_coefficients, rand, severity_rows


class Editing(Sampling):
    """The part of `Pipeline` that starts from clean images; see there."""

    @torch.no_grad()
    def encode(
        self, x0: Tensor, severity: float = 1.0, *, steps: int | None = None, cond: Values | None = None
    ) -> Tensor:
        """The x_t that DDIM would walk from to images x0 (B, C, H, W): DDIM inversion (2010.02502, section 4.3).

        Restoring it with core.ddim gives x0 back, the closer the more steps. Raises RethawError where the degradation has
        no coefficients.
        """
        check_severity(severity)
        x0, ddim = x0.to(self.device), self.sampler("core.ddim", steps)
        problem = needs_coefficients(self.degradation)
        if problem:
            raise RethawError(f"DDIM inversion cannot encode for {self.degradation.name}: {problem}")
        severities = severity_rows(ddim.severities(self.degradation, severity).flip(0), x0)
        degradation = along(self.degradation, severities)
        return last(ddim.encode(self.bound(degradation, x0, None, cond), x0, severities, degradation)).x  # type: ignore[attr-defined]

    @torch.no_grad()
    def edit(
        self,
        images: Tensor | Sequence[Picture],
        strength: float = 0.6,
        *,
        sampler: str | None = None,
        steps: int | None = None,
        cond: Values | None = None,
        guidance: Guidance | float | None = None,
        seed: int | None = None,
    ) -> Tensor:
        """New images after references of one size (SDEdit, 2108.01073): degraded to severity `strength`, and restored.

        strength: 0 keeps the reference, 1 leaves nothing of it. Image i depends on (seed, i) alone.
        """
        x0 = images if isinstance(images, Tensor) else torch.stack([self.tensor(image) for image in images])
        x, state = self.reference(x0, strength, seed)
        rng = generators((self.config.seed if seed is None else seed) + 1, len(x))
        options: dict[str, Any] = {"sampler": sampler, "steps": steps, "cond": cond, "guidance": guidance}
        return last(self.trajectory(x, strength, state=state, generator=rng, **options)).x

    def reference(
        self, x0: Tensor, strength: float, seed: int | None = None, first: int = 0
    ) -> tuple[Tensor, State | None]:
        """Where `edit` starts: images (B, C, H, W), degraded; the state, or None if samplers are to infer it."""
        rng = generators(self.config.seed if seed is None else seed, len(x0), first)
        x, state = noised(self.degradation, x0.to(self.device), strength, rng)
        return x, known(self.degradation, state)

    @torch.no_grad()
    def interpolate(
        self,
        first: Picture,
        second: Picture,
        count: int = 8,
        strength: float = 0.6,
        *,
        own: bool = False,
        sampler: str | None = None,
        steps: int | None = None,
        cond: Mapping[str, Any] | None = None,
        guidance: Guidance | float | None = None,
        seed: int | None = None,
    ) -> Tensor:
        """`count` images from one picture to another of its size: both degraded, mixed, and restored.

        own: each picture has a state of its own (a noise), and they are mixed spherically; else they share one.
        cond: a value by field, the same for all.
        """
        seed = self.config.seed if seed is None else seed
        a, b = (self.tensor(image).to(self.device) for image in (first, second))
        x, state = between(self.degradation, a, b, count, strength, seed, own)
        rng = [generators(seed + 1, 1)[0] for _ in range(count)]  # the same draws for all: only the mixture differs
        told = {field: [value] * count for field, value in (cond or {}).items()}
        options: dict[str, Any] = {"sampler": sampler, "steps": steps, "cond": told, "guidance": guidance}
        return last(self.trajectory(x, strength, state=state, generator=rng, **options)).x

    def log_likelihood(
        self,
        images: Tensor,
        *,
        cond: Mapping[str, Sequence[Any]] | None = None,
        generator: Rng | None = None,
        **options: Any,
    ) -> Likelihood:
        """log p of clean images (B, C, H, W) in nats and in bits a dimension, for degradations α x0 + σ z with Gaussian z.

        See `rethaw.engine.likelihood.likelihood` for the options: steps, solver, probes, dequantise, tolerance, watch.
        """
        x = images.to(self.device)
        rng = generator or generators(self.config.seed, len(x))
        with torch.no_grad():
            return likelihood(self.bound(self.degradation, x, None, cond), self.degradation, x, rng, **options)

    def makes_colour(self, like: Tensor) -> bool:
        """Whether the degradation leaves no colour in images like (1, 3, H, W), so that a grey file becomes coloured."""
        if like.shape[1] != 3:
            return False
        colours = rand(like, generators(0, 1)) * 2 - 1
        x = self.degradation.degrade(colours, expand(1.0, colours), self.degradation.draw(colours, generators(0, 1)))
        return bool((x - x.mean(1, keepdim=True)).abs().max() < 1e-3)
