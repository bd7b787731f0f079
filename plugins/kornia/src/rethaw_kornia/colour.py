"""Hue and saturation as mixes of the channels."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rethaw.api import SVD, Rng, State
from rethaw.ops import LUMA, Constant, channel_svd, hue_rotation, mix_channels
from rethaw_kornia.plugin import Hue as HueParams
from rethaw_kornia.plugin import Saturation as SaturationParams


class Mix:
    """D(x0, u) = M_u x0 at every pixel; nothing is random."""

    def matrix(self, u: Tensor, like: Tensor) -> Tensor:
        """M_u, (B, 3, 3)."""
        raise NotImplementedError

    def draw(self, like: Tensor, generator: Rng) -> State:
        return {}

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        return mix_channels(self.matrix(u, x0), x0)

    def adjoint(self, y: Tensor, u: Tensor, state: State) -> Tensor:
        return mix_channels(self.matrix(u, y).mT, y)

    def svd(self, like: Tensor, u: Tensor, state: State) -> SVD:
        return channel_svd(self.matrix(u, like))


class Hue(Mix):
    """M_u is the rotation about the grey axis by u·degrees: grey stays, and so does every length."""

    def __init__(self, params: HueParams) -> None:
        self.angle = math.radians(params.degrees)

    def matrix(self, u: Tensor, like: Tensor) -> Tensor:
        return hue_rotation(u.to(like.dtype) * self.angle)


class Saturation(Mix):
    """M_u = f I + (1 - f) 1 wᵀ, f = 1 + u (factor - 1), w the weights of brightness: f times as far from grey."""

    def __init__(self, params: SaturationParams) -> None:
        self.factor, self.luma = params.factor, Constant(LUMA)

    def matrix(self, u: Tensor, like: Tensor) -> Tensor:
        f = 1 + u.to(like.dtype).view(-1, 1, 1) * (self.factor - 1)
        return f * torch.eye(3, device=like.device, dtype=like.dtype) + (1 - f) * self.luma.like(like)
