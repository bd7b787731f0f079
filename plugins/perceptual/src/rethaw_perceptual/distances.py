"""Distances between two sets of features, in double precision, and resampling of images."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

BLOCK = 1024  # rows of the kernel matrix that are held at once
RESAMPLES = 400


def bootstrap_weights(n: int) -> Tensor:
    """How often each of n images is in each resample (Efron 1979), the same every time: (RESAMPLES, n), float64."""
    drawn = torch.randint(n, (RESAMPLES, n), generator=Generator().manual_seed(0))
    return torch.zeros(RESAMPLES, n, dtype=torch.float64).scatter_add_(1, drawn, torch.ones_like(drawn).double())


def frechet(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """|μ_x - μ_y|² + tr(Σ_x + Σ_y - 2 (Σ_x Σ_y)^½) of features (n, D) each, and its derivative (n,) by each weight.

    With centred X and Y, tr (Σ_x Σ_y)^½ is the sum of the singular values of X Yᵀ; X = Q_x R_x makes that small. The
    derivative (the influence of an image, Hampel 1974) follows from the singular vectors, X Yᵀ = U S Vᵀ.
    """
    n = len(x)
    shift = x.mean(0) - y.mean(0)
    cx, cy = (x - x.mean(0)) / (n - 1) ** 0.5, (y - y.mean(0)) / (n - 1) ** 0.5
    (qx, rx), (qy, ry) = torch.linalg.qr(cx), torch.linalg.qr(cy)
    u, s, vh = torch.linalg.svd(rx @ ry.T)
    value = shift @ shift + cx.square().sum() + cy.square().sum() - 2 * s.sum()
    means = 2 * (n - 1) ** 0.5 / n * (cx - cy) @ shift
    traces = cx.square().sum(1) + cy.square().sum(1)
    return value, means + traces - (qx @ u).square() @ s - (qy @ vh.T).square() @ s


def mmd2(x: Tensor, y: Tensor, weights: Tensor, own: bool = True) -> Tensor:
    """Unbiased MMD² with k(a, b) = (a·b / D + 1)³ (1801.01401) of features (n, D) each, in resamples of images: (R,).

    weights: (R, n), how often each image, restored and clean, is in a resample; rows sum to n. Ones give the figure
    itself. An image that is drawn twice is no pair with itself, and a restored image meets its own clean one as often
    as before, so that a resample is no more biased than the figure. own: whether k(x_i, y_i) counts.
    """
    n, pairs = len(x), ordered_pairs(weights)
    xx, yy, xy = kernel_sums(x, y, weights, weights).unbind()
    if not own:
        return (xx + yy - 2 * xy) / pairs
    return (xx + yy - 2 * (n - 1) / n * xy) / pairs - 2 / n**2 * (weights @ own_kernels(x, y))


def mmd2_of_subsets(x: Tensor, y: Tensor, subsets: int, size: int) -> Tensor:
    """Unbiased MMD² of random subsets of x and of y, as first published; drawn the same every time: (subsets,)."""
    rng = Generator().manual_seed(0)
    wx, wy = (
        torch.zeros(subsets, len(x), dtype=x.dtype)
        .scatter_(1, torch.rand(subsets, len(x), generator=rng).argsort(1)[:, :size], 1)
        .to(x.device)
        for _ in range(2)
    )
    xx, yy, xy = kernel_sums(x, y, wx, wy).unbind()
    across = (xy + (wx * wy) @ own_kernels(x, y)) / size**2
    return (xx + yy) / ordered_pairs(wx) - 2 * across


def ordered_pairs(weights: Tensor) -> Tensor:
    """Σ w_i w_j over i ≠ j, of each row: (R, n) → (R,)."""
    return weights.sum(1).square() - weights.square().sum(1)


def kernel_sums(x: Tensor, y: Tensor, wx: Tensor, wy: Tensor) -> Tensor:
    """Σ w_i w_j k_ij over i ≠ j, for k of x with x, y with y, and x with y: (n, D) twice, (R, n) twice → (3, R)."""
    total, left, right = x.new_zeros(3, len(wx)), torch.stack([wx, wy, wx]), torch.stack([wx, wy, wy])
    for rows in torch.arange(len(x), device=x.device).split(BLOCK):
        k = torch.stack([kernel(x[rows], x), kernel(y[rows], y), kernel(x[rows], y)])
        k[:, rows - rows[0], rows] = 0
        total += ((left[..., rows] @ k) * right).sum(-1)
    return total


def kernel(a: Tensor, b: Tensor) -> Tensor:
    """(a·b / D + 1)³ of each pair of rows: (n, D), (m, D) → (n, m)."""
    return (a @ b.T / a.shape[1] + 1) ** 3


def own_kernels(x: Tensor, y: Tensor) -> Tensor:
    """k(x_i, y_i), (n,)."""
    return ((x * y).mean(1) + 1) ** 3
