"""What the checks are run on: three images of one size and dtype."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rethaw.api import Rng, State
from rethaw.ops import rand

COUNT = 3
SIZES = ((3, 40, 33, "float64"), (1, 33, 48, "float64"), (3, 32, 32, "float32"), (1, 36, 32, "float32"))


@dataclass(frozen=True)
class Case:
    """Three images of one shape and dtype."""

    channels: int
    height: int
    width: int
    dtype: str = "float64"
    device: str = "cpu"

    def __str__(self) -> str:
        return f"{self.channels}x{self.height}x{self.width}-{self.dtype}-{self.device}"

    @property
    def tolerance(self) -> float:
        """Of results that should be equal, on the scale of images in [-1, 1]."""
        return 1e-10 if self.dtype == "float64" else 2e-5

    def images(self, seed: int = 0, count: int = COUNT) -> Tensor:
        """Random images in [-1, 1]."""
        rng = torch.Generator().manual_seed(seed)
        drawn = torch.rand(count, self.channels, self.height, self.width, generator=rng, dtype=torch.float64)
        return (drawn * 2 - 1).to(self.device, getattr(torch, self.dtype))

    def severities(self) -> Tensor:
        """Three that differ."""
        return torch.tensor([0.15, 0.6, 1.0], dtype=getattr(torch, self.dtype), device=self.device)


class MadeUp:
    """A degradation that asks for fields of the data's items, which are made up: random images in the shape of each."""

    def __init__(self, degradation: Any) -> None:
        self.degradation = degradation

    def __getattr__(self, name: str) -> Any:
        return getattr(self.degradation, name)

    def draw(self, like: Tensor, generator: Rng) -> State:
        """The state of each image, a function of its own generator."""
        items = {field: 2 * rand(like, generator) - 1 for field in self.degradation.fields}
        drawn: State = self.degradation.for_items(items).draw(like, generator)
        return drawn


def drawable(degradation: Any) -> Any:
    """The degradation, or what has the fields that it asks for."""
    return MadeUp(degradation) if getattr(degradation, "fields", ()) else degradation


def devices() -> list[str]:
    """Where tests can run: on the CPU, and on a GPU if there is one."""
    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


def cases(degradation: Any, device: str = "cpu") -> list[Case]:
    """The cases that fit a degradation: oblong and square images, grey and colour, in both precisions."""
    fitting = [size for size in SIZES if degradation.channels in (None, size[0])]
    channels = degradation.channels or 3
    return [Case(*size, device) for size in fitting or [(channels, *size[1:]) for size in SIZES[:2]]]
