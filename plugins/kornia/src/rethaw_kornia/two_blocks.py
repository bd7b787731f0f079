"""The singular values of pixelation whose blocks are between two whole sides: of a blend of two projections.

The mean over blocks of b pixels is a projection P ⊗ P, that over blocks of b + 1 another, Q ⊗ Q. Along one side their
principal vectors (Björck and Golub 1973) come in pairs, a_i of P and c_i of Q with c_i = γ_i a_i + σ_i d_i, and all
a_i and d_i are orthonormal. In their basis (1 - f) P ⊗ P + f Q ⊗ Q falls apart into symmetric 4 × 4 matrices, of
the products of (a_i, d_i) along the one side with (a_j, d_j) along the other.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from rethaw.api import SVD
from rethaw.ops import Constant, separable

ROUNDING = 1e-12
"""Cosines below it are 0; products of them would be too small for the eigenvalues in single precision."""


def blended_svd(like: Tensor, side: Tensor) -> SVD:
    """Of (1 - f) P ⊗ P + f Q ⊗ Q for images like (B, C, H, W), with blocks of `side` = b + f (B,) pixels.

    U is V, as A is symmetric and no eigenvalue is negative. Components are (B, C, ⌈H/2⌉⌈W/2⌉, 4); where H or W is odd,
    some have no part in any image. Waits for the device, as LAPACK does.
    """
    below, (height, width) = side.floor(), like.shape[-2:]
    (rows, p_i, c_i), (columns, p_j, c_j) = (pairs(length, below, like) for length in (height, width))
    h, w = p_i.shape[1], p_j.shape[1]
    f, c = (side - below)[:, None, None], products(c_i, c_j)
    fours = torch.diag_embed((1 - f) * products(p_i, p_j)) + f.unsqueeze(-1) * c.unsqueeze(-1) * c.unsqueeze(-2)
    s, found = torch.linalg.eigh(fours)
    vectors: Tensor = found.unsqueeze(1)

    def V(x: Tensor) -> Tensor:
        x = (vectors @ x.unsqueeze(-1)).view(*x.shape[:2], h, w, 2, 2).transpose(3, 4)
        return separable(x.reshape(*x.shape[:2], 2 * h, 2 * w), rows, columns)

    def Vt(x: Tensor) -> Tensor:
        x = separable(x, rows.mT, columns.mT).view(*x.shape[:2], h, 2, w, 2).transpose(3, 4)
        return (x.reshape(*x.shape[:2], h * w, 1, 4) @ vectors).squeeze(-2)

    return SVD(V, Vt, V, Vt, s.clamp_min(0).unsqueeze(1))


def products(rows: Tensor, columns: Tensor) -> Tensor:
    """Of pairs (B, h, 2) and (B, w, 2), all of them (B, h w, 4)."""
    all_of_them: Tensor = torch.einsum("bip,bjq->bijpq", rows, columns)
    return all_of_them.flatten(3).flatten(1, 2)


def pairs(length: int, side: Tensor, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What `pairs_of` gives of whole sides (B,) of blocks, each with an axis for the images."""
    sides, at = side.unique(return_inverse=True)
    each = zip(*(pairs_of(length, int(b)) for b in sides.tolist()), strict=True)
    basis, own, following = (torch.stack([constant.like(like) for constant in parts])[at] for parts in each)
    return basis, own, following


@lru_cache(maxsize=64)
def pairs_of(length: int, side: int) -> tuple[Constant, Constant, Constant]:
    """A basis of lines of pixels, in n = ⌈length/2⌉ pairs (a_i, d_i), for blocks of `side` pixels.

    The basis, (length, 2 n), with a zero column where the length is odd; which of it P leaves as it is, (n, 2), 1 or 0;
    the c_i in it, (n, 2).
    """
    n, q = (length + 1) // 2, means(length, side + 1)
    p = means(length, side) if side > 1 else q  # of single pixels P is the identity: any basis will do
    left, γ, right = torch.linalg.svd(p.T @ q)
    a, c = p @ left, q @ right.T
    of_a, of_d = a.shape[1], len(γ)
    apart = (c - γ * a[:, :of_d]).flip(1)  # σ_i d_i, the least last: where σ_i is 0, d_i may be anything
    found = torch.linalg.qr(torch.cat([a, apart], 1), mode="complete").Q
    found = torch.cat([found, found.new_zeros(length, 2 * n - length)], 1)
    order: list[int] = [-1] * (2 * n)
    order[: 2 * of_a : 2], order[1 : 2 * of_d : 2] = range(of_a), range(of_a + of_d - 1, of_a - 1, -1)
    rest = iter(range(of_a + of_d, 2 * n))
    basis = found[:, [next(rest) if at < 0 else at for at in order]].unflatten(1, (n, 2))
    own = basis.square().sum(0).round()
    if side > 1:
        own[of_a:], own[:, 1] = 0, 0
    following = torch.zeros_like(own)
    following[:of_d] = torch.einsum("lip,li->ip", basis[:, :of_d], c)
    following = torch.where(following.abs() > ROUNDING, following, 0.0)
    return Constant(basis.flatten(1)), Constant(own), Constant(following)


def means(length: int, side: int) -> Tensor:
    """The blocks of `side` pixels of a line, (length, blocks), as orthonormal columns."""
    block = torch.arange(length) // side
    inside = (block[:, None] == torch.arange(int(block[-1]) + 1)).double()
    return inside / inside.sum(0).sqrt()
