"""Iterated restoration: the samplers of Cold Diffusion (Bansal et al. 2022, arXiv 2208.09392) and their kin."""

from __future__ import annotations

import torch
from torch import Tensor

from rethaw.api import Degradation, Rng, State
from rethaw.builtin.samplers.cold.params import Cold as ColdParams
from rethaw.builtin.samplers.cold.params import Direct as DirectParams
from rethaw.builtin.samplers.cold.params import Naive as NaiveParams
from rethaw.builtin.samplers.cold.params import Renoise as RenoiseParams
from rethaw.ops import StepSampler, randn


class Direct(StepSampler[DirectParams]):
    """x̂0 = R(x_t, t)."""

    state = "unused"

    def step(
        self, x: Tensor, x0_hat: Tensor, t: Tensor, s: Tensor, degradation: Degradation, ξ: State, generator: Rng
    ) -> Tensor:
        return x0_hat


class Naive(StepSampler[NaiveParams]):
    """Algorithm 1: x_s = D(R(x_t, t), s, ξ)."""

    def step(
        self, x: Tensor, x0_hat: Tensor, t: Tensor, s: Tensor, degradation: Degradation, ξ: State, generator: Rng
    ) -> Tensor:
        return degradation.degrade(x0_hat, s, ξ)


class Cold(StepSampler[ColdParams]):
    """Algorithm 2: x_s = x_t - D(x̂0, t, ξ) + D(x̂0, s, ξ), ξ fixed, drawn, or inferred from x_t and x̂0 at each step.

    Where D(x0, t) = x0 + t e, with e the same for any x0, it recovers x0 under any restorer (section 3.3 of the paper).
    With a drawn ξ it keeps y - D(x̂0, t, ξ), what the two states differ by, for later steps to see and restore.
    With inferred ξ and Gaussian noise it is DDIM with η = 0 (2010.02502, eq. 12). White noise δ on x_1 breaks the
    symmetry of flat starts. What the walk ends with may be mixed with what it began with, its estimate at x_1.
    """

    def begin(self, x: Tensor, generator: Rng) -> Tensor:
        return x + self.params.noise * randn(x, generator) if self.params.noise else x

    def step(
        self, x: Tensor, x0_hat: Tensor, t: Tensor, s: Tensor, degradation: Degradation, ξ: State, generator: Rng
    ) -> Tensor:
        return (x - degradation.degrade(x0_hat, t, ξ)).add_(degradation.degrade(x0_hat, s, ξ))

    def end(self, x: Tensor, first: Tensor) -> Tensor:
        return x if self.params.perception == 1 else torch.lerp(first, x, self.params.perception)


class Renoise(StepSampler[RenoiseParams]):
    """x_s = D(R(x_t, t), s, ξ') with ξ' drawn anew at each step (2303.01469, Algorithm 1, for any degradation)."""

    state = "unused"

    def step(
        self, x: Tensor, x0_hat: Tensor, t: Tensor, s: Tensor, degradation: Degradation, ξ: State, generator: Rng
    ) -> Tensor:
        return degradation.degrade(x0_hat, s, degradation.draw(x, generator))
