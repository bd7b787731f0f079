"""Unfolded training: on images that the network's own walk has brought to their severity.

A walk meets images that no clean one was degraded to: they carry the errors of the estimates before. A restorer that is
trained on some of them takes those back (Cold Diffusion for Speech Enhancement, 2211.02527, section 3.2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn

from rethaw.api import Cond, Prediction, RethawError, State
from rethaw.config.model import Unfold
from rethaw.engine.degradation.composition import known
from rethaw.engine.degradation.observe import observe
from rethaw.engine.parts import Parts
from rethaw.engine.restorer.consistency import consistent, problem
from rethaw.ops import StepSampler, mix_seed, rand

Output = Callable[[nn.Module, Tensor, Tensor, Cond], Tensor]
"""A network's bare output for what it is shown, (B, C, H, W), at severities (B,), under conditions."""


class Unfolding:
    """Replaces a share of each batch's x_t by what a walk of `core.cold` makes of them.

    It walks as the pipeline does, with its consistency, and with the state that a walk knows, or infers. Raises
    RethawError where the degradation leaves no such walk.
    """

    def __init__(self, parts: Parts, how: Unfold, network: nn.Module, image_shape: Sequence[int]) -> None:
        self.parts, self.how, self.network, self.seed = parts, how, network, parts.config.seed
        self.sampler: StepSampler[Any] = parts.build(parts.sampler_item("core.cold"))
        degradation = parts.degradation
        given = known(degradation, degradation.stand_in(torch.zeros(1, *image_shape)))
        missing = self.sampler.check(degradation, given)
        if parts.config.consistency:
            missing = missing or problem(degradation, given, None)
        if degradation.levels == 1:
            missing = "it has one level, so there is no step to take"
        if missing:
            raise RethawError(f"train.unfold cannot walk with {degradation.name}: {missing}", "Leave train.unfold out.")

    def __call__(
        self, output: Output, x_t: Tensor, x0: Tensor, t: Tensor, state: State, cond: Cond, positions: Sequence[int]
    ) -> tuple[Tensor, Tensor | None]:
        """x_t (B, C, H, W), and in which of them (B,) a walk has ended; a function of weights and positions alone."""
        chosen = self.chosen(positions)
        if not len(chosen):
            return x_t, None
        places = [positions[i] for i in chosen.tolist()]
        at = chosen.to(x0.device)
        state, cond = ({key: value[at] for key, value in each.items()} for each in (state, cond))
        training = self.network.training
        self.network.eval()
        x = self.walk(output, x0[at], t[at], state, cond, places)
        self.network.train(training)
        return x_t.index_copy(0, at, x), torch.zeros_like(t, dtype=torch.bool).index_fill(0, at, True)

    def chosen(self, positions: Sequence[int]) -> Tensor:
        """Which images of a batch: the share of it, rounded up as often as the fraction says."""
        rng = Generator().manual_seed(mix_seed(self.seed, "unfold", positions[0]))
        count = int(self.how.share * len(positions) + float(torch.rand((), generator=rng)))
        return torch.randperm(len(positions), generator=rng)[:count]

    @torch.no_grad()
    def walk(self, output: Output, x0: Tensor, t: Tensor, state: State, cond: Cond, positions: Sequence[int]) -> Tensor:
        """Degrades clean images (B, C, H, W) to random severities in [t, 1], and walks from there to t (B,)."""
        config, degradation, reading = self.parts.config, self.parts.degradation, self.parts.parameterization
        bound = config.restorer.bound
        rngs = [Generator().manual_seed(mix_seed(self.seed, "walk", p)) for p in positions]
        start = t + (1 - t) * rand(x0, rngs, ())
        y = observe(degradation.degrade(x0, start, state), config.observation, rngs)

        def restore(x: Tensor, t: Tensor) -> Prediction:
            shown = reading.shown(x, t, state)
            found = reading.read(output(self.network, shown, t, cond), shown, t)
            return found._replace(x0=found.x0.clamp(-bound, bound))

        given = known(degradation, state)
        if config.consistency:
            restore = consistent(restore, degradation, y, start, given, None, config.consistency, config.observation)
        severities = torch.lerp(
            start, t, torch.linspace(0, 1, self.how.hops + 1, dtype=t.dtype, device=t.device)[:, None]
        )
        *_, end = self.sampler.trajectory(restore, y, severities, degradation, given, rngs)
        return end.x
