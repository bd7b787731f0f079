"""The published masks of Cold Diffusion (2208.09392), a product of Gaussian bumps, at any level in one step."""

from __future__ import annotations

import torch
from torch import Tensor

from rethaw.api import SVD, RethawError, Rng, State
from rethaw.builtin.degradations.params import CumulativeMask as Params
from rethaw.ops import Constant, diagonal_svd, level, rand, reciprocal


class CumulativeMask:
    """D(x0, u) = k x0 + (1 - k) c, with k = ∏_{j<i} m_j at level i = ⌈T u⌉ and m_j = 1 - exp(-r²/2σ_j²).

    reversed: k = 1 - ∏_{j<T-i} m_j. r is the distance from the centre, the state "centre" (B, 2) where it is random;
    c the colour, the state "colour" (B, C, 1, 1) where it is. A table of T + 1 quarter masks for each size of images
    is computed once, in float64.
    """

    def __init__(self, params: Params) -> None:
        self.params, self.levels = params, params.steps
        self.random_place = params.routine == "random_incremental"
        self.colour = None if params.colour == "random" else Constant(params.colour)
        self.tables: dict[tuple[int, int], Constant] = {}
        if params.reversed:  # the last level is one colour, whatever was there
            self.prior = self._prior
        if not self.random_place:
            self.infer = self._infer

    def table(self, height: int, width: int) -> Tensor:
        """k of levels 0 … T, by distance down and across, (T + 1, …, …)."""
        p, sides = self.params, (height, width)
        dy, dx = (torch.arange(n + 1 if self.random_place else n // 2 + 1, dtype=torch.float64) for n in sides)
        i = torch.arange(p.steps, dtype=torch.float64)
        sigma = p.kernel_std * (torch.ones_like(i) if p.routine == "constant" else i + p.initial)
        r2 = dy.square()[:, None] + dx.square()
        bumps = torch.exp(-r2 / (2 * sigma.square().view(-1, 1, 1)))
        ones = torch.ones(1, *r2.shape, dtype=torch.float64)
        product = torch.cat([ones, torch.cumprod(1 - bumps, 0)])
        return torch.cat([ones, 1 - product[:-1].flip(0)]) if p.reversed else product

    def draw(self, like: Tensor, generator: Rng) -> State:
        state = {}
        if self.random_place:  # cropping the image from a mask of twice its size puts the bump anywhere in it
            numbers = rand(like, generator, (2,))
            places = ((numbers[:, i] * (n + 1)).floor().clamp_max(n) for i, n in enumerate(like.shape[-2:]))
            state["centre"] = torch.stack(list(places), 1)
        if not self.colour:
            state["colour"] = (2 * rand(like, generator, (like.shape[1], 1, 1)) - 1) * self.params.spread
        return state

    def kept(self, like: Tensor, u: Tensor, state: State) -> Tensor:
        """k, (B, 1, H, W)."""
        height, width = like.shape[-2:]
        if (height, width) not in self.tables:
            self.tables[height, width] = Constant(self.table(height, width))
        table = self.tables[height, width].like(like)
        if self.random_place:
            cy, cx = state["centre"].long().unbind(1)
        else:  # a bump one pixel larger than the image, its first row and column cut off
            cy, cx = (torch.full_like(u, (n + 1) // 2 - 1, dtype=torch.long) for n in (height, width))
        down, across = ((torch.arange(n, device=u.device) - c[:, None]).abs() for n, c in ((height, cy), (width, cx)))
        i = level(u, self.params.steps).long()
        return table[i[:, None, None], down[:, :, None], across[:, None, :]].unsqueeze(1)

    def flat(self, like: Tensor, state: State) -> Tensor:
        """c, (B or 1, C or 1, 1, 1)."""
        if not self.colour:
            return state["colour"].to(like.dtype)
        if len(self.colour.values) not in (1, like.shape[1]):
            raise RethawError(
                f"core.cumulative_mask: colour has {len(self.colour.values)} values, "
                f"the images {like.shape[1]} channels",
                "Give one value, or one for each channel.",
            )
        return self.colour.like(like).view(1, -1, 1, 1)

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        return torch.lerp(self.flat(x0, state).expand_as(x0), x0, self.kept(x0, u, state))

    def _infer(self, x_u: Tensor, x0_hat: Tensor, u: Tensor, state: State) -> State:
        """The colour that explains x_u best, by least squares; where nothing is hidden yet it is 0."""
        if self.colour:
            return {}
        k = self.kept(x_u, u, state)
        total = (1 - k).square().sum((-2, -1), keepdim=True)
        return {"colour": ((1 - k) * (x_u - k * x0_hat)).sum((-2, -1), keepdim=True) * reciprocal(total)}

    def _prior(self, like: Tensor, generator: Rng) -> tuple[Tensor, State]:
        state = self.draw(like, generator)
        return self.flat(like, state).expand_as(like).clone(), state

    def adjoint(self, y: Tensor, u: Tensor, state: State) -> Tensor:
        """The linear part is diagonal, so it is its own adjoint."""
        return y * self.kept(y, u, state)

    def svd(self, like: Tensor, u: Tensor, state: State) -> SVD:
        return diagonal_svd(self.kept(like, u, state))
