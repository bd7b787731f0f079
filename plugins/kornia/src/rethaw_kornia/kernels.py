"""Motion blur and defocus: a kernel of two dimensions for each image, by kornia's filter, or by FFT if it is large."""

from __future__ import annotations

import math

import torch
from kornia.filters import filter2d
from torch import Tensor

from rethaw.api import Rng, State
from rethaw.ops import correlate, pad, rand
from rethaw_kornia.plugin import Defocus as DefocusParams
from rethaw_kornia.plugin import MotionBlur as MotionParams

WIDEST = 10  # radius up to which adding up all taps is no slower than an FFT


class Correlation:
    """D(x0, u) = k_u ⋆ x0, reflecting at the borders."""

    def __init__(self, radius: int) -> None:
        self.radius = radius
        self.memory = 4.0 if radius <= WIDEST else 9.0

    def kernel(self, like: Tensor, u: Tensor, state: State) -> Tensor:
        """(B, 2R+1, 2R+1), each of sum one, at least in float32."""
        raise NotImplementedError

    def draw(self, like: Tensor, generator: Rng) -> State:
        return {}

    def places(self, u: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """The strength (B, 1, 1) and the taps' places -R … R, in the dtype to compute in."""
        dtype = torch.promote_types(like.dtype, torch.float32)
        at = torch.arange(-self.radius, self.radius + 1, device=like.device, dtype=dtype)
        return u.to(dtype).view(-1, 1, 1), at

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        kernel, both = self.kernel(x0, u, state), (self.radius, self.radius)
        if self.radius > WIDEST:
            return correlate(x0, kernel, both, reflect=True)
        padded = pad(x0.to(kernel.dtype), both, both, reflect=True)  # kornia's own needs images larger than the kernel
        return filter2d(padded, kernel, padding="valid").to(x0.dtype)

    def adjoint(self, y: Tensor, u: Tensor, state: State) -> Tensor:
        return correlate(y, self.kernel(y, u, state), (self.radius, self.radius), reflect=True, adjoint=True)


class MotionBlur(Correlation):
    """k_u is `length` points on a line at the angle of the state, u pixels apart, each shared by the pixels about it.

    Along the axes and at u = 1 that is kornia's `get_motion_kernel2d`. State {"angle": (B,)}, in [0, π).
    """

    def __init__(self, params: MotionParams) -> None:
        super().__init__(params.length // 2)
        self.params = params

    def draw(self, like: Tensor, generator: Rng) -> State:
        if self.params.angle is None:
            return {"angle": rand(like, generator, ()) * math.pi}
        return {}

    def kernel(self, like: Tensor, u: Tensor, state: State) -> Tensor:
        u, at = self.places(u, like)
        fixed = self.params.angle
        angle = state["angle"].to(at.dtype).view(-1, 1, 1) if fixed is None else torch.full_like(u, math.radians(fixed))
        points = u * at.view(1, -1, 1)  # (B, points, 1); the image's y goes down
        down, across = ((1 - (at - points * turn).abs()).clamp_min(0) for turn in (-torch.sin(angle), torch.cos(angle)))
        return down.mT @ across / self.params.length


class Defocus(Correlation):
    """k_u is a disk of radius u·radius_max, its edge one pixel soft; nothing is random."""

    def __init__(self, params: DefocusParams) -> None:
        super().__init__(math.ceil(params.radius_max))
        self.params = params

    def kernel(self, like: Tensor, u: Tensor, state: State) -> Tensor:
        u, at = self.places(u, like)
        distance = (at.square() + at.square().view(-1, 1)).sqrt()
        disk = (u * self.params.radius_max + 0.5 - distance).clamp(0, 1)
        return disk / disk.sum((-2, -1), keepdim=True)
