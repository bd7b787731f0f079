"""Glass blur: a local shuffle of pixels between two Gaussian blurs."""

from __future__ import annotations

import torch
from torch import Tensor

from rethaw.api import Rng, State
from rethaw.ops import Constant, rand
from rethaw_imagenet_c.convolve import apply_rows, gaussian_rows
from rethaw_imagenet_c.levels import Corruption

GLASS = ((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2))  # σ, reach and passes of the shuffle
SIGMAS = Constant([0.0, *(σ for σ, _, _ in GLASS)])
RADIUS = 6
DOUBLINGS = 6  # chains of copies as long as 2⁶ are followed to their end; about half of them end with every copy


class GlassBlur(Corruption):
    """D = A S A x0, A a Gaussian blur and S the published shuffle; blends the two published levels next to its own.

    State: {"source": (B, 5, H, W)}, where each pixel of S comes from, as an index into H·W.
    """

    def draw(self, like: Tensor, generator: Rng) -> State:
        return {"source": torch.stack([shuffle(like, generator, reach, passes) for _, reach, passes in GLASS], 1)}

    def degrade(self, x0: Tensor, u: Tensor, state: State, adjoint: bool = False) -> Tensor:
        level = self.level(u, x0).clamp(0, 5)
        below = level.floor().clamp_max(4)
        part = (level - below).to(x0.dtype).view(-1, 1, 1, 1)
        first, second = (glass(x0, below.long() + i, state["source"], adjoint) for i in (0, 1))
        return torch.lerp(first, second, part)

    def adjoint(self, y: Tensor, u: Tensor, state: State) -> Tensor:
        return self.degrade(y, u, state, adjoint=True)


def glass(x: Tensor, level: Tensor, source: Tensor, adjoint: bool) -> Tensor:
    """A S A of a published level for each image, level (B,) from 0 to 5; 0 is the identity."""
    sigma = SIGMAS.like(x)[level].to(torch.promote_types(x.dtype, torch.float32))
    rows, columns = (gaussian_rows(size, sigma, RADIUS) for size in x.shape[-2:])
    own = (level - 1).clamp_min(0).view(-1, 1, 1, 1).expand(-1, 1, *x.shape[-2:])
    index = source.gather(1, own).flatten(2).expand(-1, x.shape[1], -1)
    blurred = apply_rows(x, rows, columns, adjoint).flatten(2)
    moved = torch.zeros_like(blurred).scatter_add(2, index, blurred) if adjoint else blurred.gather(2, index)
    result = apply_rows(moved.view_as(x), rows, columns, adjoint)
    return torch.where(level.view(-1, 1, 1, 1) > 0, result, x)


def shuffle(like: Tensor, generator: Rng, reach: int, passes: int) -> Tensor:
    """The source of each pixel, (B, H, W), after `passes` in which each pixel copies one within reach.

    The published loop goes from the last pixel to the first, so a pixel that copies a later one copies what that
    one has already become. Following such chains by doubling gives the same result without a loop over pixels.
    """
    height, width = like.shape[-2:]
    source = torch.arange(height * width, device=like.device).expand(len(like), -1)
    for _ in range(passes):
        offsets = (rand(like, generator, (2, height, width)).float() * (2 * reach)).floor().long() - reach
        source = source.gather(1, one_pass(offsets.clamp(-reach, reach - 1), reach))
    return source.view(-1, height, width)


def one_pass(offsets: Tensor, reach: int) -> Tensor:
    """The sources (B, H·W) of one pass with offsets (B, 2, H, W) down and right."""
    height, width = offsets.shape[-2:]
    y = torch.arange(height, device=offsets.device)[:, None]
    x = torch.arange(width, device=offsets.device)
    moves = (y > reach) & (y <= height - reach) & (x > reach) & (x <= width - reach)
    here = y * width + x
    there = (y + offsets[:, 0]).clamp(0, height - 1) * width + (x + offsets[:, 1]).clamp(0, width - 1)
    there = torch.where(moves, there, here)
    count = height * width  # node p: pixel p after the pass; node count + p: before it
    already = (there > here) & moves.expand_as(there)
    after = torch.where(already, there, there + count).flatten(1)
    chain = torch.cat([after, torch.arange(count, 2 * count, device=here.device).expand(len(after), -1)], 1)
    for _ in range(DOUBLINGS):
        chain = chain.gather(1, chain)
    return chain[:, :count].remainder(count)
