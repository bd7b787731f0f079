"""Batched linear operators: separable products, blurs that reflect at the borders, singular values.

Plugins find all of it in `rethaw.ops`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from rethaw.api import SVD


class Constant:
    """A small tensor that an operator keeps, copied to each device and dtype once, so that no step waits for it."""

    def __init__(self, values: Tensor | Sequence[float]) -> None:
        self.values = torch.as_tensor(values, dtype=torch.float64)
        self.copies: dict[tuple[torch.device, torch.dtype], Tensor] = {}

    def like(self, x: Tensor) -> Tensor:
        """The values on the device and in the dtype of x."""
        key = (x.device, x.dtype)
        if key not in self.copies:
            self.copies[key] = self.values.to(*key)
        return self.copies[key]


# --- separable operators ----------------------------------------------------------------------------------------------

BLOCK = 32
"""Pixels of a side that one product computes where the operator is a band: the weights beyond it are all zero."""


def separable(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """A_rows x A_columnsᵀ for each image: x (B, C, H, W), rows (B or 1, H', H), columns (B or 1, W', W).

    A square matrix smaller than its side stands for a band, as `band_blur` makes it.
    """
    batch, channels, height, width = x.shape
    across = columns.transpose(-1, -2) if len(columns) > 1 else columns[0].T
    flat = x.reshape(batch, channels * height, width)
    flat = _joined([flat[..., near] @ across[..., of, to] for near, to, of in _bands(width, columns)], -1)
    x, down = flat.view(batch, channels, height, -1), rows.unsqueeze(1)
    return _joined([down[..., to, of] @ x[..., near, :] for near, to, of in _bands(height, rows)], -2)


def _bands(length: int, matrix: Tensor) -> list[tuple[slice, slice, slice]]:
    """The products that cover a side: the pixels that one reads, and the matrix's rows and columns for it."""
    side = matrix.shape[-1]
    if side == length:
        return [(slice(None),) * 3]
    reach, found = (side - BLOCK) // 2, []
    for start in range(0, length, BLOCK):
        stop = min(start + BLOCK, length)
        near = slice(max(0, start - reach), min(length, stop + reach))
        at_end = stop + reach > length  # far from both ends all rows are alike
        shift = 0 if start < reach else side - length if at_end else reach - start
        found.append((near, slice(start + shift, stop + shift), slice(near.start + shift, near.stop + shift)))
    return found


def _joined(parts: list[Tensor], dim: int) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim)


def separable_blur(x: Tensor, kernel: Tensor, adjoint: bool = False) -> Tensor:
    """Convolves each image with its own 1-D kernel along both axes, reflecting at the borders.

    x: (B, C, H, W). kernel: (B or 1, K), K odd, symmetric, summing to one. adjoint: the transposed operator.
    Images may be smaller than the kernel: reflection is repeated as often as needed.
    """
    height, width = x.shape[-2:]
    rows = band_blur(kernel, height)
    columns = rows if width == height else band_blur(kernel, width)
    return separable(x, rows.mT, columns.mT) if adjoint else separable(x, rows, columns)


def band_blur(kernel: Tensor, size: int) -> Tensor:
    """`dense_blur`, but for long sides only its two ends and what is between them, which `separable` repeats."""
    return dense_blur(kernel, min(size, BLOCK + 2 * (kernel.shape[-1] // 2 + 1)))


def dense_blur(kernel: Tensor, size: int) -> Tensor:
    """The (B, size, size) matrices of convolution with kernel (B, K) and reflection at the borders (dcb|abcd|cba).

    Reflection makes a row of pixels even and periodic, so row i weighs pixel j by k[j - i], and its mirror image
    by k[-j - i], k the kernel wrapped round the period: a Toeplitz matrix plus a Hankel matrix, both mere views.
    """
    if size == 1:
        return kernel.sum(-1).view(-1, 1, 1)
    key = (kernel.shape[-1], size)
    if key not in _DIAGONALS:
        _DIAGONALS[key] = Constant(_diagonals(*key))
    diagonals = kernel @ _DIAGONALS[key].like(kernel)
    toeplitz, hankel = diagonals.unfold(1, size, 1).tensor_split([2 * size - 1], 1)
    mirrored = F.pad(kernel.new_ones(size - 2), (1, 1))  # the two ends are their own mirror images
    return torch.addcmul(toeplitz[:, :size].flip(1), hankel, mirrored)


_DIAGONALS: dict[tuple[int, int], Constant] = {}


def _diagonals(taps: int, size: int) -> Tensor:
    """Wraps a kernel round the period and lays out the diagonals of the two matrices: (taps, 2 (2 size - 1))."""
    period = 2 * (size - 1)
    at = (torch.arange(taps) - taps // 2).remainder(period)
    shift = torch.arange(1 - size, size)
    lags = torch.cat([shift, 1 - size - shift]).remainder(period)
    return (at[:, None] == lags).double()


# --- singular values -------------------------------------------------------------------------------------------------


def same(x: Tensor) -> Tensor:
    """The identity, as the U and V of diagonal operators."""
    return x


def diagonal_svd(s: Tensor) -> SVD:
    """Of the product with s ≥ 0, (B, C, H, W) or of a shape that broadcasts to it."""
    return SVD(same, same, same, same, s)


def separable_svd(rows: Tensor, columns: Tensor) -> SVD:
    """Of x → A_rows x A_columnsᵀ, from the matrices (B, H, H) and (B, W, W). Waits for the device, as LAPACK does."""
    return factored_svd(torch.linalg.svd(rows), torch.linalg.svd(columns))


def factored_svd(rows: Sequence[Tensor], columns: Sequence[Tensor]) -> SVD:
    """Of x → A_rows x A_columnsᵀ, from U, s, Vᵀ of each matrix, (B, N, N), (B, N), (B, N, N)."""
    (u, s, vt), (p, q, rt) = rows, columns
    return SVD(
        lambda x: separable(x, u, p),
        lambda x: separable(x, u.mT, p.mT),
        lambda x: separable(x, vt.mT, rt.mT),
        lambda x: separable(x, vt, rt),
        (s[:, :, None] * q[:, None, :]).unsqueeze(1),
    )


def channel_svd(matrix: Tensor) -> SVD:
    """Of the mix of channels x → M x, M (B, C, C)."""
    u, s, vt = torch.linalg.svd(matrix)
    U, Ut, V, Vt = (partial(mix_channels, m) for m in (u, u.mT, vt.mT, vt))
    return SVD(U, Ut, V, Vt, s[..., None, None])


def mix_channels(matrix: Tensor, x: Tensor) -> Tensor:
    """M x at every pixel: matrix (B or 1, C, C), x (B, C, H, W)."""
    return (matrix @ x.flatten(2)).view(x.shape)
