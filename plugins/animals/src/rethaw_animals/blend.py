"""Blends of images into animal faces."""

from __future__ import annotations

import torch
from torch import Tensor

from rethaw.api import SVD, RethawError, Rng, State
from rethaw.ops import AlphaBar, Blending, diagonal_svd, per_image, reciprocal
from rethaw_animals.faces import Drawings, Folder
from rethaw_animals.plugin import Animorphosis as AnimorphosisParams
from rethaw_animals.plugin import Blend as BlendParams


class Faces:
    """What all of them have in common: the state {"z": (B, 3, H, W)}, an animal face in [-1, 1]."""

    component: str

    def __init__(self, params: AnimorphosisParams | BlendParams) -> None:
        path, only = params.path, params.only
        self.faces = Drawings(self.component) if path is None else Folder(self.component, path, only)

    def draw(self, like: Tensor, generator: Rng) -> State:
        if like.shape[1] != 3:
            raise RethawError(
                f"{self.component}: faces have 3 channels, the images have {like.shape[1]}",
                "Read the images in colour: three channels.",
            )
        return {"z": self.faces(like, generator)}


class Animorphosis(Faces, Blending):
    """D(x0, u, z) = √ᾱ(u) x0 + √(1-ᾱ(u)) z with cosine ᾱ (2208.09392, section 5.2)."""

    component = "animals.animorphosis"

    def __init__(self, params: AnimorphosisParams) -> None:
        super().__init__(params)
        self.alpha_bar = AlphaBar("cosine", params.levels)

    def coefficients(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """√ᾱ and √(1-ᾱ), each (B,); exactly 1 and 0 where u = 0, so that D(x0, 0) = x0."""
        ᾱ = self.alpha_bar(u)
        return ᾱ.sqrt(), (1 - ᾱ).clamp_min(0).sqrt()


class Blend(Faces, Blending):
    """D(x0, u, z) = (1 - u) x0 + u z."""

    component = "animals.blend"

    def coefficients(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """1 - u and u."""
        return 1 - u, u


class Feathered(Faces):
    """D(x0, u, z) = (1 - w(u)) x0 + w(u) z, w a soft oval over the middle that grows from nothing; it has no prior."""

    component = "animals.blend"

    def __init__(self, params: BlendParams) -> None:
        super().__init__(params)
        self.params = params

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        return torch.lerp(x0, state["z"], self.oval(x0, u))

    def infer(self, x_u: Tensor, x0_hat: Tensor, u: Tensor, state: State) -> State:
        """z = (x_u - (1 - w) x0) / w; outside the oval the image says nothing about z, and z is 0."""
        w = self.oval(x_u, u)
        return {"z": (x_u - (1 - w) * x0_hat) * reciprocal(w)}

    def adjoint(self, y: Tensor, u: Tensor, state: State) -> Tensor:
        """A diagonal operator is its own adjoint."""
        return y * (1 - self.oval(y, u))

    def svd(self, like: Tensor, u: Tensor, state: State) -> SVD:
        return diagonal_svd(1 - self.oval(like, u))

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
