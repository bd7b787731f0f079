"""Restorers and degradations with known answers, for tests of the mathematics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import rethaw
from rethaw.api import Prediction

FIRST_PARTY: list[tuple[str, dict[str, Any]]] = [
    ("core.gaussian_noise", {}),
    ("core.gaussian_noise", {"alpha_bar": "linear", "levels": 50}),
    ("core.gaussian_noise", {"alpha_bar": "sigmoid"}),
    ("core.gaussian_noise", {"process": "ve", "sigma_max": 5.0}),
    ("core.gaussian_noise", {"process": "flow"}),
    ("core.fade", {}),
    ("core.fade", {"spread": 1.0, "span": [0.1, 1.0]}),
    ("core.mask", {"shape": "strokes", "strokes": 3}),
    ("core.mask", {"shape": "box"}),
    ("core.mask", {"shape": "bump", "size": 0.7}),
    ("core.mask", {"shape": "half"}),
    ("core.desaturate", {"weights": "luma"}),
    ("core.desaturate", {"amount": 0.5, "schedule": "cosine"}),
    ("core.mixture", {"of": [{"use": "core.mask"}, {"use": "core.gaussian_noise"}]}),
    ("kornia.gaussian_blur", {"sigma_max": 2.0}),
    ("kornia.gaussian_blur", {"sigma_max": 5.0, "schedule": "exponential", "span": [0.2, 0.9]}),
    ("kornia.cumulative_blur", {"routine": "special_6"}),
    ("kornia.downsample", {"steps": 4}),
    ("kornia.pixelate", {"block_max": 5}),
    ("kornia.pixelate", {"levels": 4, "schedule": [[0, 0], [0.5, 0.2], [1, 1]]}),
]
"""Every first-party degradation, with several host keys."""


def degradation_id(case: tuple[str, dict[str, Any]]) -> str:
    return f"{case[0]}-{'-'.join(case[1])}"


def made(case: tuple[str, dict[str, Any]]) -> Any:
    """The hosted degradation of a case."""
    return rethaw.build("degradation", case[0], **case[1])


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
