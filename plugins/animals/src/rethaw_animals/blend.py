"""Blends of images into animal faces."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from rethaw.api import RethawError, Rng, State
from rethaw.ops import Constant, per_image
from rethaw_animals.faces import Drawings, Folder
from rethaw_animals.plugin import Animorphosis as AnimorphosisParams
from rethaw_animals.plugin import Blend as BlendParams

COSINE_OFFSET = 0.008  # s of 2102.09672, eq. 17
BETA_MAX = 0.999  # 2102.09672, section 3.2


class Faces:
    """What all of them have in common: the state {"z": (B, 3, H, W)}, an animal face in [-1, 1]."""

    component: str

    def __init__(self, path: Path | None, only: str | None) -> None:
        self.faces = Drawings(self.component) if path is None else Folder(self.component, path, only)

    def draw(self, like: Tensor, generator: Rng) -> State:
        if like.shape[1] != 3:
            raise RethawError(
                f"{self.component}: faces have 3 channels, the images have {like.shape[1]}",
                "Read the images in colour: three channels.",
            )
        return {"z": self.faces(like, generator)}


class Uniform(Faces):
    """D(x0, u, z) = α(u) x0 + σ(u) z, the same everywhere in the image."""

    def coefficients(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """α and σ, each (B,)."""
        return 1 - u, u

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        α, σ = self.coefficients(u)
        return torch.addcmul(x0 * per_image(α, x0), state["z"], per_image(σ, x0))

    def infer(self, x_u: Tensor, x0_hat: Tensor, u: Tensor, state: State) -> State:
        """z = (x_u - α x0) / σ; where σ = 0 nothing can be told, and z is 0."""
        α, σ = self.coefficients(u)
        return {"z": (x_u - per_image(α, x_u) * x0_hat) * per_image(inverse(σ), x_u)}

    def prior(self, like: Tensor, generator: Rng) -> tuple[Tensor, State]:
        state = self.draw(like, generator)
        one = torch.ones(like.shape[0], device=like.device, dtype=like.dtype)
        return self.degrade(torch.zeros_like(like), one, state), state

    def adjoint(self, y: Tensor, u: Tensor, state: State) -> Tensor:
        return y * per_image(self.coefficients(u)[0], y)


class Animorphosis(Uniform):
    """D(x0, u, z) = √ᾱ(u) x0 + √(1-ᾱ(u)) z with cosine ᾱ (2208.09392, section 5.2)."""

    component = "animals.animorphosis"

    def __init__(self, params: AnimorphosisParams) -> None:
        super().__init__(params.path, params.only)
        self.table = Constant(published_table(params.levels)) if params.levels else None

    def coefficients(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """√ᾱ and √(1-ᾱ), each (B,); exactly 1 and 0 where u = 0, so that D(x0, 0) = x0."""
        if self.table:
            ᾱ = self.table.like(u)[(u * (len(self.table.values) - 1)).round().long()]
        else:
            ᾱ = torch.where(u == 0, 1.0, cosine(u))
        return ᾱ.sqrt(), (1 - ᾱ).clamp_min(0).sqrt()


class Blend(Uniform):
    """D(x0, u, z) = (1 - u) x0 + u z."""

    component = "animals.blend"

    def __init__(self, params: BlendParams) -> None:
        super().__init__(params.path, params.only)


class Feathered(Faces):
    """D(x0, u, z) = (1 - w(u)) x0 + w(u) z, w a soft oval over the middle that grows from nothing; it has no prior."""

    component = "animals.blend"

    def __init__(self, params: BlendParams) -> None:
        super().__init__(params.path, params.only)
        self.params = params

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        return torch.lerp(x0, state["z"], self.oval(x0, u))

    def infer(self, x_u: Tensor, x0_hat: Tensor, u: Tensor, state: State) -> State:
        """z = (x_u - (1 - w) x0) / w; outside the oval nothing can be told, and z is 0."""
        w = self.oval(x_u, u)
        return {"z": (x_u - (1 - w) * x0_hat) * inverse(w)}

    def adjoint(self, y: Tensor, u: Tensor, state: State) -> Tensor:
        """A diagonal operator is its own adjoint."""
        return y * (1 - self.oval(y, u))

    def oval(self, like: Tensor, u: Tensor) -> Tensor:
        """w (B, 1, H, W): a smooth step from 1 to 0, `feather` radii wide, at the edge of an oval of 4 : 5."""
        height, width = like.shape[-2:]
        radius = self.params.size * min(height, width) / 2
        y = torch.arange(height, device=like.device, dtype=like.dtype).view(-1, 1) - (height - 1) / 2
        x = torch.arange(width, device=like.device, dtype=like.dtype) - (width - 1) / 2
        distance = ((y / radius).square() + (x / (0.8 * radius)).square()).sqrt()
        soft = self.params.feather
        w = ((per_image(u, like) * (1 + soft) - distance) / soft).clamp(0, 1)
        return w.square() * (3 - 2 * w)


def blend(params: BlendParams) -> Faces:
    """The operator of `animals.blend`: only one that ends in the face itself has a prior and coefficients."""
    return Feathered(params) if params.mask == "feathered" else Blend(params)


def inverse(x: Tensor) -> Tensor:
    """1/x, and 0 where x is 0."""
    return torch.where(x > 0, 1 / x.clamp_min(torch.finfo(x.dtype).tiny), 0.0)


def cosine(u: Tensor) -> Tensor:
    """ᾱ of 2102.09672, eq. 17."""
    s = COSINE_OFFSET
    return (torch.cos((u + s) / (1 + s) * (math.pi / 2)) / math.cos(s / (1 + s) * math.pi / 2)).square()


def published_table(levels: int) -> Tensor:
    """ᾱ at t = 0 and at each of the published levels, (levels + 1,) in float64."""
    f = cosine(torch.arange(levels + 1, dtype=torch.float64) / levels)
    β = (1 - f[1:] / f[:-1]).clamp_max(BETA_MAX)
    return torch.cat([torch.ones(1, dtype=torch.float64), torch.cumprod(1 - β, 0)])
