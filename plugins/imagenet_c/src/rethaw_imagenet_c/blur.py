"""Blur by a Gaussian, a disk, and motion: linear, each kernel a mixture of the two published ones next to its level."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from rethaw.api import Rng, State
from rethaw.ops import Constant, correlate, fast_sides, rand
from rethaw_imagenet_c.convolve import apply_rows, for_both, gaussian_rows
from rethaw_imagenet_c.levels import Corruption, constants, each_channel, shares, table

GAUSSIAN = table([[0.0], [1.0], [2.0], [3.0], [4.0], [6.0]])  # σ
GAUSSIAN_RADIUS = 24  # 4 σ
DEFOCUS = ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))  # radius of the disk, σ that smooths its edge
DEFOCUS_RADIUS = 10
MOTION = ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))  # the path is 2 r + 1 pixels long, σ along it
MOTION_LENGTH = 41
MOTION_MIDDLE, MOTION_SIZE = (29, 0), (59, 41)  # of the kernel, which reaches to the right, at most 45° up or down


class GaussianBlur(Corruption):
    """D = A_σ x0 A_σᵀ; beyond the border the nearest pixel."""

    def degrade(self, x0: Tensor, u: Tensor, state: State, adjoint: bool = False) -> Tensor:
        (σ,) = constants(GAUSSIAN, self.level(u, x0))
        rows, columns = for_both(x0, lambda size: gaussian_rows(size, σ.flatten(), GAUSSIAN_RADIUS))
        return each_channel(lambda x: apply_rows(x, rows, columns, adjoint), x0)

    def adjoint(self, y: Tensor, u: Tensor, state: State) -> Tensor:
        return self.degrade(y, u, state, adjoint=True)


class DefocusBlur(Corruption):
    """D = x0 * K, K a smoothed disk; reflected beyond the border."""

    def degrade(self, x0: Tensor, u: Tensor, state: State, adjoint: bool = False) -> Tensor:
        level = self.level(u, x0)
        spectra = torch.fft.rfft2(DISKS.like(level), s=fast_sides(x0, DISKS.values))
        spectrum = torch.einsum("bl,lhw->bhw", shares(level).to(spectra.dtype), spectra)[:, None]
        kernel = DISKS.like(level)[:1]

        def blurred(x: Tensor) -> Tensor:
            seen = correlate(x, kernel, (DEFOCUS_RADIUS,) * 2, True, adjoint, spectrum)
            return torch.where(level.view(-1, 1, 1, 1) > 0, seen, x)

        return each_channel(blurred, x0)

    def adjoint(self, y: Tensor, u: Tensor, state: State) -> Tensor:
        return self.degrade(y, u, state, adjoint=True)


class MotionBlur(Corruption):
    """D[p] = Σ_i k_i x0[p + round(i (sin θ, cos θ))], k half a Gaussian; state: θ ~ U[-π/4, π/4]."""

    def draw(self, like: Tensor, generator: Rng) -> State:
        return {"angle": (rand(like, generator, ()) - 0.5) * (math.pi / 2)}

    def degrade(self, x0: Tensor, u: Tensor, state: State, adjoint: bool = False) -> Tensor:
        level = self.level(u, x0)
        weights = shares(level) @ PATHS.like(level)
        kernel = motion_kernel(weights, state["angle"].to(level.dtype), MOTION_MIDDLE, MOTION_SIZE)
        spectrum = torch.fft.rfft2(kernel, s=fast_sides(x0, kernel)).unsqueeze(1)

        def blurred(x: Tensor) -> Tensor:
            seen = correlate(x, kernel, MOTION_MIDDLE, False, adjoint, spectrum)
            return torch.where(level.view(-1, 1, 1, 1) > 0, seen, x)

        return each_channel(blurred, x0)

    def adjoint(self, y: Tensor, u: Tensor, state: State) -> Tensor:
        return self.degrade(y, u, state, adjoint=True)


def disk(radius: int, sigma: float) -> Tensor:
    """The kernel of a lens out of focus, (21, 21): a disk whose edge is smoothed by 3 taps (5 for a radius above 8)."""
    side, taps = (8, 3) if radius <= 8 else (radius, 5)
    at = torch.arange(-side, side + 1, dtype=torch.float64)
    inside = (at[:, None].square() + at.square() <= radius**2).double()
    offsets = torch.arange(taps, dtype=torch.float64) - taps // 2
    edge = torch.exp(-(offsets / sigma).square() / 2)
    smooth = torch.outer(edge, edge) / edge.sum().square()
    padded = F.pad(inside[None, None] / inside.sum(), (taps // 2,) * 4, mode="reflect")
    kernel = F.conv2d(padded, smooth[None, None])[0, 0]
    return F.pad(kernel, (DEFOCUS_RADIUS - side,) * 4)


def delta(*shape: int) -> Tensor:
    """One in the middle, the kernel of level 0."""
    kernel = torch.zeros(shape, dtype=torch.float64)
    kernel[tuple(n // 2 for n in shape)] = 1
    return kernel


def path(radius: int, sigma: float, length: int = MOTION_LENGTH) -> Tensor:
    """The weights along the path of a motion, (length,): the half Gaussian of 2 radius + 1 taps, summing to one."""
    at = torch.arange(length, dtype=torch.float64)
    weights = torch.exp(-(at / sigma).square() / 2) * (at <= 2 * radius)
    return weights / weights.sum()


def motion_kernel(weights: Tensor, angle: Tensor, middle: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Weights (B, L) laid along lines at `angle` (B,) from the middle: (B, *size)."""
    at = torch.arange(weights.shape[-1], device=angle.device)
    dy, dx = (torch.ceil(at * f(angle)[:, None] - 0.5).long() for f in (torch.sin, torch.cos))
    flat = weights.new_zeros(len(weights), math.prod(size))
    return flat.scatter_add(1, (dy + middle[0]) * size[1] + dx + middle[1], weights).view(-1, *size)


DISKS = Constant(torch.stack([delta(21, 21), *(disk(*c) for c in DEFOCUS)]))
PATHS = Constant(torch.stack([path(0, 1.0), *(path(*c) for c in MOTION)]))
