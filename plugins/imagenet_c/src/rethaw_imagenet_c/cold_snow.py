"""Snow as Cold Diffusion has it (2208.09392): a layer that a falling threshold uncovers and a widening blur streaks."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from rethaw.api import Rng, State
from rethaw.ops import Constant, generators, rand, randn
from rethaw_imagenet_c.convolve import gaussian_taps
from rethaw_imagenet_c.levels import clip, whitened
from rethaw_imagenet_c.plugin import ColdSnow as Params
from rethaw_imagenet_c.zoom import cropped, enlarge

NOISE = ((0.1, 0.3, 3.0, 5), *((0.55, 0.3, 2.5, 11),) * 3)
"""Of each level: mean and σ of the noise, zoom, taps of the blur."""
RAMPS = (
    ((0.7, 0.3), (0.5, 5.0), (0.95, 0.7)),
    ((1.15, 0.7), (0.05, 12.0), (0.95, 0.55)),
    ((1.15, 0.7), (0.05, 16.0), (0.95, 0.4)),
    ((1.15, 0.55), (0.05, 20.0), (0.95, 0.3)),
)
"""Of each level, at the first and at the last step: threshold, σ of the blur, share of the image not whitened."""
SEED = 2022  # of the one layer that all images share unless it is random


class ColdSnow:
    """D = clip(b x0 + (1 - b) max(x0, 1.5 grey + 0.5) + s + rot180(s)), from the clean image; b = 1 if fixed.

    s is the layer above the threshold of its step, clipped to [0, 1] and blurred along rows or columns (zeros beyond
    the border). State: {"layer": (B, 1, H, W), "vertical": (B,)}, the enlarged noise and 1 where snow falls down.
    """

    def __init__(self, params: Params) -> None:
        self.params = params
        self.mean, self.σ, self.zoom, self.taps = NOISE[params.level - 1]
        self.ramps = Constant(torch.tensor(RAMPS[params.level - 1], dtype=torch.float64).T)

    def draw(self, like: Tensor, generator: Rng) -> State:
        if not self.params.random:
            generator = [generators(SEED, 1)[0] for _ in like]
        height, width = like.shape[-2:]
        noise = randn(like, generator, (1, cropped(height, self.zoom), cropped(width, self.zoom)))
        layer = enlarge(self.mean + self.σ * noise, height, width, self.zoom, centred=True)
        return {"layer": layer, "vertical": (rand(like, generator, ()) > 0.5).to(like.dtype)}

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        threshold, σ, b = self.step(u, x0)
        layer = state["layer"].to(σ.dtype)
        flakes = layer.clamp(0, 1).mul_(layer >= threshold)
        snow = streaks(flakes, σ, state["vertical"].to(σ.dtype).view(-1, 1, 1, 1), self.taps)
        snow = (snow + snow.flip(-1, -2)).mul_((u > 0).view(-1, 1, 1, 1)).to(x0.dtype)
        if self.params.brightness == "fixed":
            return clip(x0 + snow, x0)
        b = torch.where(u.view(-1, 1, 1, 1) > 0, b, 1.0).to(x0.dtype)
        return clip(whitened(x0, b).add_(snow), x0)

    def step(self, u: Tensor, like: Tensor) -> tuple[Tensor, ...]:
        """Threshold, σ and b, (B, 1, 1, 1): linear over the steps; without `levels` these are infinitely many."""
        u, levels = u.to(torch.promote_types(like.dtype, torch.float32)), self.params.levels
        part = u if levels is None else (u * levels - 1).clamp_min(0) / max(levels - 1, 1)
        first, last = self.ramps.like(u)
        return torch.lerp(first, last, part[:, None]).view(-1, 3, 1, 1, 1).unbind(1)


def streaks(x: Tensor, σ: Tensor, vertical: Tensor, taps: int) -> Tensor:
    """x (B, 1, H, W) blurred by a Gaussian of σ (B, 1, 1, 1), along columns where vertical is 1, else along rows."""
    reach, (height, width) = taps // 2, x.shape[-2:]
    weights = gaussian_taps(σ.flatten(), reach).view(-1, reach + 1, 1, 1, 1)
    padded = F.pad(x, (reach,) * 4)
    middle, across = padded.narrow(-2, reach, height), padded.narrow(-1, reach, width)
    result = x * weights[:, 0]
    for i in range(1, reach + 1):
        rows = middle.narrow(-1, reach - i, width) + middle.narrow(-1, reach + i, width)
        columns = across.narrow(-2, reach - i, height) + across.narrow(-2, reach + i, height)
        result.addcmul_(rows.lerp_(columns, vertical), weights[:, i])
    return result
