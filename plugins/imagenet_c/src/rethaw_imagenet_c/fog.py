"""Fog: a plasma fractal in front of the image."""

from __future__ import annotations

import torch
from torch import Tensor

from rethaw.api import Rng, State
from rethaw.ops import rand
from rethaw_imagenet_c.levels import Corruption, clip, constants, shares, table

DENSITY = table([[0.0], [1.5], [2.0], [2.5], [2.5], [3.0]])
DECAYS = (2.0, 1.7, 1.5, 1.4)  # of the fractal's roughness from one scale to the next
FRACTAL = table([[1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])  # of a level
WIBBLE = 100.0


class Fog(Corruption):
    """D = clip((x0 + c p) m / (m + c)), m the image's maximum and p a plasma fractal on [0, 1].

    State: {"plasma": (B, 4, H, W)}, the fractals of the four published decays, from the same noise.
    """

    def draw(self, like: Tensor, generator: Rng) -> State:
        height, width = like.shape[-2:]
        size = 1 << (max(height, width, 2) - 1).bit_length()
        return {"plasma": plasma(2 * rand(like, generator, (size, size)) - 1)[..., :height, :width].contiguous()}

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        level, fractals = self.level(u, x0), state["plasma"]
        c = constants(DENSITY, level)[0].to(x0.dtype)
        part = (shares(level) @ FRACTAL.like(level))[:, None].to(fractals.dtype)
        fog = torch.bmm(part, fractals.flatten(2)).view_as(fractals[:, :1])
        top = x0.amax((1, 2, 3), keepdim=True).clamp_min(1e-6)
        return clip((x0 + c * fog) * (top / (top + c)), x0)


def plasma(noise: Tensor) -> Tensor:
    """Diamond-square fractals (B, D, N, N), one for each decay, scaled to [0, 1], from noise (B, N, N) on [-1, 1].

    Every scale doubles the grid: a new point is the mean of its four neighbours (wrapping round) plus its noise, of
    the amplitude WIBBLE² / decay^2k.
    """
    size = noise.shape[-1]
    decay = torch.stack([noise.new_full((), d) for d in DECAYS]).view(-1, 1, 1)
    grid, step, amplitude = noise.new_zeros(len(noise), len(DECAYS), 1, 1), size, WIBBLE**2 * torch.ones_like(decay)
    noise = noise.unsqueeze(1)
    while step > 1:
        half = step // 2
        rough = noise[..., ::half, ::half] * amplitude
        right, down = grid.roll(-1, -1), grid.roll(-1, -2)
        centre = (grid + right + down + right.roll(-1, -2)) / 4 + rough[..., 1::2, 1::2]
        across = (grid + right + centre + centre.roll(1, -2)) / 4 + rough[..., ::2, 1::2]
        along = (grid + down + centre + centre.roll(1, -1)) / 4 + rough[..., 1::2, ::2]
        even, odd = torch.stack([grid, across], -1).flatten(-2), torch.stack([along, centre], -1).flatten(-2)
        grid = torch.stack([even, odd], -2).flatten(-3, -2)
        step, amplitude = half, amplitude / decay.square()
    low, high = grid.amin((-2, -1), keepdim=True), grid.amax((-2, -1), keepdim=True)
    return (grid - low) / (high - low)
