"""What all corruptions share: the level of a strength, constants between published levels, and the clip."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rethaw.api import RethawError, Rng, State
from rethaw.ops import LUMA, Constant
from rethaw_imagenet_c.plugin import Severity

TOP = 5
STEPS = Constant(range(TOP + 1))


class Corruption:
    """A corruption of ImageNet-C (Hendrycks & Dietterich 2019, 1903.12261); level u·severity_max, 0 is the identity."""

    def __init__(self, params: Severity) -> None:
        self.severity_max = params.severity_max
        self.reachable = math.ceil(params.severity_max)  # published levels that can be reached, beside 0

    def draw(self, like: Tensor, generator: Rng) -> State:
        return {}

    def level(self, u: Tensor, like: Tensor) -> Tensor:
        """(B,), 0 … 5, at least in float32 since half precision is too coarse for constants."""
        return u.to(torch.promote_types(like.dtype, torch.float32)) * self.severity_max


def table(rows: Sequence[Sequence[float]]) -> Constant:
    """Constants in rows; of a corruption, one for each level from 0, the identity, to 5."""
    return Constant(torch.tensor(rows, dtype=torch.float64))


def shares(level: Tensor) -> Tensor:
    """(B,) levels to the shares (B, 6) of the published levels 0 … 5 in each: at most two neighbours, sum one."""
    return (1 - (level[:, None] - STEPS.like(level)).abs()).clamp_min(0)


def constants(values: Constant, level: Tensor) -> tuple[Tensor, ...]:
    """The columns of a (6, K) table of constants, one row a level, interpolated linearly: K tensors (B, 1, 1, 1)."""
    return (shares(level) @ values.like(level)).view(len(level), -1, 1, 1, 1).unbind(1)


def each_channel(f: Callable[..., Tensor], *images: Tensor) -> Tensor:
    """f of each channel by itself: what it needs on the way is a channel's, which a cache holds longer, too."""
    return torch.cat([f(*channel) for channel in zip(*(x.split(1, 1) for x in images), strict=True)], 1)


def clip(x: Tensor, x0: Tensor) -> Tensor:
    """Clips x, in place, to [0, 1]. Where x0 itself leaves the range it may stay, for D(x0, 0) = x0. In x0's dtype."""
    return x.clamp_min_(x0.clamp_max(0)).clamp_max_(x0.clamp_min(1)).to(x0.dtype)


def check_colour(name: str, x: Tensor) -> None:
    """Refuses images that are not in colour."""
    if x.shape[1] != len(LUMA):
        raise RethawError(
            f"imagenet_c.{name} works on colour, 3 channels; these images have {x.shape[1]}",
            "Set restorer.channels=3: grey files are then read in colour.",
        )


def grey(x: Tensor) -> Tensor:
    """The luma of colour images, the mean of others, (B, 1, H, W)."""
    if x.shape[1] != len(LUMA):
        return x.mean(1, keepdim=True)
    r, g, b = LUMA
    return (r * x[:, 0:1]).add_(x[:, 1:2], alpha=g).add_(x[:, 2:3], alpha=b)


def whitened(x0: Tensor, b: Tensor) -> Tensor:
    """b x0 + (1 - b) max(x0, 1.5 grey + 0.5): the light of a snowy day."""
    return torch.maximum(x0, grey(x0).mul_(1.5).add_(0.5)).lerp_(x0, b)
