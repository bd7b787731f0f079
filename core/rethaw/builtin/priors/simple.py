"""Priors that need no fit beyond a mean or a choice: Gaussian values, flat colours, the degraded images themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice

import torch
from torch import Tensor
from torch.nn import functional as F

from rethaw.api import RethawError, Rng
from rethaw.builtin.priors.params import FlatColour as FlatColourParams
from rethaw.builtin.priors.params import Gaussian as GaussianParams
from rethaw.builtin.priors.params import Images as ImagesParams
from rethaw.ops import rand, randn


def first(batches: Iterator[Tensor], count: int) -> Iterator[Tensor]:
    """The first `count` images, (C, H, W) each, on the CPU."""
    return islice((image.cpu() for batch in batches for image in batch), count)


def pick(kept: Tensor, like: Tensor, generator: Rng) -> Tensor:
    """One of the first axis of `kept` for each image of `like`, all alike often."""
    at = (rand(like, generator, ()).float() * len(kept)).long().clamp_max(len(kept) - 1)
    return kept.to(like.device, like.dtype)[at]


def enlarged(x: Tensor, like: Tensor) -> Tensor:
    """Maps (B, C, h, w) in the size of `like`."""
    if x.shape[-2:] == like.shape[-2:]:
        return x
    return F.interpolate(x, like.shape[-2:], mode="nearest" if x.shape[-2:] == (1, 1) else "bilinear")


class Gaussian:
    """x_1 = m + s z with z ~ N(0, I), m and s maps (C, size, size) that are enlarged."""

    def __init__(self, params: GaussianParams) -> None:
        self.params = params

    def fit(self, batches: Iterator[Tensor]) -> Mapping[str, Tensor]:
        """Mean and standard deviation of the values in each cell of a grid, over all images."""
        count, sums, squares = 0, torch.zeros(()).double(), torch.zeros(()).double()
        for x in batches:
            x = x.double().cpu()
            count += len(x)
            sums = sums + F.adaptive_avg_pool2d(x, self.params.size).sum(0)
            squares = squares + F.adaptive_avg_pool2d(x.square(), self.params.size).sum(0)
        mean = sums / count
        std = (squares / count - mean.square()).clamp_min(0).sqrt()
        return {"mean": mean.float(), "std": std.float()}

    def sample(self, fitted: Mapping[str, Tensor], like: Tensor, generator: Rng) -> Tensor:
        mean, std = (enlarged(fitted[key].to(like.device, like.dtype)[None], like) for key in ("mean", "std"))
        return torch.addcmul(mean, std, randn(like, generator))


class FlatColour:
    """x_1 = one colour everywhere + noise: where fades and heavy blurs end (2208.09392, section 5.2)."""

    def __init__(self, params: FlatColourParams) -> None:
        self.params = params

    def fit(self, batches: Iterator[Tensor]) -> Mapping[str, Tensor]:
        """Colours (N, C)."""
        seen = torch.stack([image.mean((1, 2)) for image in first(batches, self.params.count)]).float()
        if self.params.colour is None:
            return {"colours": seen}
        if len(self.params.colour) != seen.shape[1]:
            raise RethawError(
                f"prior core.flat_colour: colour has {len(self.params.colour)} values for {seen.shape[1]} channels",
                "Give one value for each channel.",
            )
        return {"colours": torch.tensor([self.params.colour])}

    def sample(self, fitted: Mapping[str, Tensor], like: Tensor, generator: Rng) -> Tensor:
        colours = pick(fitted["colours"], like, generator)[..., None, None]
        return colours + self.params.noise * randn(like, generator)


class Images:
    """x_1 = a degraded training image + noise."""

    def __init__(self, params: ImagesParams) -> None:
        self.params = params

    def fit(self, batches: Iterator[Tensor]) -> Mapping[str, Tensor]:
        """Images (N, C, h, w) in float16, enough for what is fully degraded."""
        kept = torch.stack(list(first(batches, self.params.count))).float()
        factor = self.params.size / max(kept.shape[-2:])
        if factor < 1:
            shape = [max(1, int(side * factor)) for side in kept.shape[-2:]]
            kept = F.interpolate(kept, shape, mode="bilinear", antialias=True)
        return {"images": kept.half()}

    def sample(self, fitted: Mapping[str, Tensor], like: Tensor, generator: Rng) -> Tensor:
        x = enlarged(pick(fitted["images"], like, generator), like)
        return x + self.params.noise * randn(like, generator)
