"""Glass blur: a local shuffle of pixels between two Gaussian blurs."""

from __future__ import annotations

import torch
from torch import Tensor

from rethaw.api import Rng, State
from rethaw.ops import rand
from rethaw_imagenet_c.convolve import gaussian_taps, smooth
from rethaw_imagenet_c.levels import Corruption, constants, each_channel, table

GLASS = ((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2))  # σ, reach and passes of the shuffle
SIGMAS = table([[0.0], *([σ] for σ, _, _ in GLASS)])
RADIUS = 6  # 4 σ
DOUBLINGS = 5  # chains of up to 2⁵ copies are followed to their end; about half of them end with every copy


class GlassBlur(Corruption):
    """D = A S A x0, A a Gaussian blur and S the published shuffle; between levels σ is linear and S a blend of the two.

    State: {"source": (B, L, H, W)}, of the L levels that can be reached, where each pixel of S comes from, as an index
    into H·W.
    """

    def draw(self, like: Tensor, generator: Rng) -> State:
        moves = GLASS[: self.reachable]
        return {"source": torch.stack([shuffle(like, generator, reach, passes) for _, reach, passes in moves], 1)}

    def degrade(self, x0: Tensor, u: Tensor, state: State, adjoint: bool = False) -> Tensor:
        level = self.level(u, x0)
        taps = gaussian_taps(constants(SIGMAS, level)[0].flatten(), RADIUS)
        first, second, part = neighbours(level, state["source"])

        def glass(x: Tensor) -> Tensor:
            blurred = smooth(x, taps, adjoint)
            moved = shuffled(blurred, first, adjoint)
            return smooth(torch.lerp(moved, shuffled(blurred, second, adjoint), part.to(x.dtype)), taps, adjoint)

        return each_channel(glass, x0)

    def adjoint(self, y: Tensor, u: Tensor, state: State) -> Tensor:
        return self.degrade(y, u, state, adjoint=True)


def neighbours(level: Tensor, source: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The sources (B, 1, H, W) of the published levels below and above level (B,), and how far it is between them."""
    below, images = level.floor().clamp_max(source.shape[1] - 1), torch.arange(len(level), device=level.device)
    own = torch.arange(source[0, 0].numel(), device=source.device).view(source.shape[-2:])  # S of level 0
    first = torch.where(below.view(-1, 1, 1) > 0, source[images, (below.long() - 1).clamp_min(0)], own)
    second = source[images, below.long()]
    return first.unsqueeze(1), second.unsqueeze(1), (level - below).view(-1, 1, 1, 1)


def shuffled(x: Tensor, source: Tensor, adjoint: bool) -> Tensor:
    """S x or Sᵀ x of one channel."""
    flat, index = x.flatten(2), source.flatten(2)
    result = torch.zeros_like(flat).scatter_add(2, index, flat) if adjoint else flat.gather(2, index)
    return result.view_as(x)


def shuffle(like: Tensor, generator: Rng, reach: int, passes: int) -> Tensor:
    """The source of each pixel, (B, H, W), after `passes` in which each pixel copies one within reach.

    The published loop goes from the last pixel to the first, so a pixel that copies a later one copies what that
    one has already become. Following such chains by doubling gives the same result without a loop over pixels.
    One uniform number a pixel is enough: its digits to the base (2 reach)² are the moves of the passes.
    """
    height, width = like.shape[-2:]
    side = 2 * reach
    number = rand(like.new_empty(len(like), dtype=torch.float32), generator, (height, width))
    digits = (number * side ** (2 * passes)).long().clamp_max(side ** (2 * passes) - 1)
    source = torch.arange(height * width, device=like.device).expand(len(like), -1)
    for _ in range(passes):
        down, right = digits // side % side - reach, digits % side - reach
        digits = digits // side**2
        source = source.gather(1, one_pass(down, right, reach))
    return source.view(-1, height, width)


def one_pass(down: Tensor, right: Tensor, reach: int) -> Tensor:
    """The sources (B, H·W) of one pass of moves (B, H, W), which range from -reach to reach - 1."""
    height, width = down.shape[-2:]
    y, x = torch.arange(height, device=down.device)[:, None], torch.arange(width, device=down.device)
    moves = (y > reach) & (y <= height - reach) & (x > reach) & (x <= width - reach)
    here = y * width + x
    there = torch.where(moves, here + down * width + right, here).flatten(1)
    chain = torch.maximum(there, here.flatten())  # a later pixel, which has changed already, or itself: the chain's end
    for _ in range(DOUBLINGS):
        chain = chain.gather(1, chain)
    return there.gather(1, chain)
