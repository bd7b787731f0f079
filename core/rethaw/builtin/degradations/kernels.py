"""Blurs by a kernel of two dimensions for each image."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from rethaw.api import Rng, State
from rethaw.builtin.degradations.photo_params import KernelBlur as BlurParams
from rethaw.builtin.degradations.photo_params import Sinc as SincParams
from rethaw.ops import Constant, correlate, pad, rand

LEAST = 1e-6  # σ at which every tap but the middle one vanishes
WIDEST = 10  # radius up to which adding up all taps is no slower than an FFT


class Kernel:
    """D(x0, u, ξ) = k(u, ξ) ⋆ x0, reflecting at the borders; the state "radius" (B,) is that of the kernel."""

    def __init__(self, taps: tuple[int, int]) -> None:
        self.least, self.radius = taps[0] // 2, taps[1] // 2
        self.memory = 4.0 if self.radius <= WIDEST else 9.0

    def kernel(self, u: Tensor, state: State) -> Tensor:
        """(B, K, K), each of sum one."""
        raise NotImplementedError

    def numbers(self, like: Tensor, generator: Rng, count: int) -> list[Tensor]:
        """Uniform numbers in [0, 1), (B,) each, at least in float32; the first as a radius."""
        wide = like.to(torch.promote_types(like.dtype, torch.float32))
        first, *others = rand(wide, generator, (count + 1,)).unbind(1)
        radius = (self.least + first * (self.radius - self.least + 1)).floor().clamp_max(self.radius)
        return [radius, *others]

    def places(self, state: State, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Places -R … R of the taps, and which of them each kernel has, (B, K, K)."""
        radius = state["radius"].to(dtype).view(-1, 1, 1)
        at = torch.arange(-self.radius, self.radius + 1, device=radius.device, dtype=dtype)
        inside = at.abs() <= radius
        return at, inside & inside.mT

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        (batch, channels), both = x0.shape[:2], (self.radius, self.radius)
        kernel = self.kernel(u.to(torch.promote_types(x0.dtype, torch.float32)), state)
        if self.radius > WIDEST:
            return correlate(x0, kernel, both, reflect=True)
        padded = pad(x0.to(kernel.dtype), both, both, reflect=True).flatten(0, 1)
        weights = kernel.repeat_interleave(channels, 0).unsqueeze(1)
        return F.conv2d(padded, weights, groups=batch * channels).view(x0.shape).to(x0.dtype)

    def adjoint(self, y: Tensor, u: Tensor, state: State) -> Tensor:
        kernel = self.kernel(u.to(torch.promote_types(y.dtype, torch.float32)), state)
        return correlate(y, kernel, (self.radius, self.radius), reflect=True, adjoint=True)


class KernelBlur(Kernel):
    """k ∝ f(pᵀ Σ⁻¹ p), f(q) = exp(-½ q^β) or 1 / (1 + q^β), Σ of two σ and an angle (2107.10833, 3.1).

    State: "radius", "angle", "beta", "plateau" (B,) and "sigma" (B, 2), those at u = 1.
    """

    def __init__(self, params: BlurParams) -> None:
        super().__init__(params.taps)
        self.params = params
        weights = torch.tensor(params.kernels, dtype=torch.float64)
        self.edges = Constant(weights.cumsum(0) / weights.sum())

    def draw(self, like: Tensor, generator: Rng) -> State:
        p = self.params
        radius, which, first, second, turn, side, within = self.numbers(like, generator, 6)
        kind = torch.bucketize(which.contiguous(), self.edges.like(which), right=True).clamp_max(len(p.kernels) - 1)
        shape, round_ = kind // 2, kind % 2 == 0
        sigma = torch.stack([first, torch.where(round_, first, second)], 1)
        β = torch.where(shape == 1, about_one(p.generalised, side, within), about_one(p.plateau, side, within))
        return {
            "radius": radius,
            "angle": (2 * turn - 1) * math.pi * ~round_,
            "sigma": p.sigma[0] + sigma * (p.sigma[1] - p.sigma[0]),
            "beta": torch.where(shape == 0, 1.0, β),
            "plateau": shape == 2,
        }

    def kernel(self, u: Tensor, state: State) -> Tensor:
        at, inside = self.places(state, u.dtype)
        across, down = at, at.view(-1, 1)
        angle, β = (state[key].to(u.dtype).view(-1, 1, 1) for key in ("angle", "beta"))
        σ = (u.view(-1, 1) * state["sigma"].to(u.dtype)).clamp_min(LEAST).view(-1, 2, 1, 1)
        along = (angle.cos() * across + angle.sin() * down) / σ[:, 0]
        beside = (angle.cos() * down - angle.sin() * across) / σ[:, 1]
        q = (along.square() + beside.square()).pow(β)
        k = torch.where(state["plateau"].view(-1, 1, 1), 1 / (1 + q), torch.exp(-q / 2)) * inside
        k = F.threshold(k, TINY, 0.0)
        return k / k.sum((-2, -1), keepdim=True)


TINY = 1e-10  # smaller weights are denormals in the making, which slow a CPU down


def about_one(limits: tuple[float, float], side: Tensor, within: Tensor) -> Tensor:
    """Numbers in [low, high]: as many below 1, uniformly, as above it, where both sides are there."""
    low, high = limits
    if low >= 1 or high <= 1:
        return low + within * (high - low)
    return torch.where(side < 0.5, low + within * (1 - low), 1 + within * (high - 1))


class Sinc(Kernel):
    """k = (1 - u) δ + u s, s(r) = ω J₁(ω r) / (2π r), the circular low-pass filter with cutoff ω (2107.10833, eq. 6).

    State: "radius" and "cutoff" (B,), ω / π.
    """

    def __init__(self, params: SincParams) -> None:
        super().__init__(params.taps)
        self.cutoff = params.cutoff

    def draw(self, like: Tensor, generator: Rng) -> State:
        radius, at = self.numbers(like, generator, 1)
        return {"radius": radius, "cutoff": self.cutoff[0] + at * (self.cutoff[1] - self.cutoff[0])}

    def kernel(self, u: Tensor, state: State) -> Tensor:
        at, inside = self.places(state, u.dtype)
        r = (at.square() + at.view(-1, 1).square()).sqrt()
        ω, u = state["cutoff"].to(u.dtype).view(-1, 1, 1) * math.pi, u.view(-1, 1, 1)
        middle = r == 0
        s = torch.where(middle, ω / 2, torch.special.bessel_j1(ω * r) / r.clamp_min(0.5)) * inside
        return torch.lerp(middle.to(u.dtype), s / s.sum((-2, -1), keepdim=True), u)
