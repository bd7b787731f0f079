"""Correlation with a kernel for each image, by FFT or tap by tap, and its adjoint."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from rethaw.ops import separable

FAST = sorted({4 * 2**i * 3**j * 5**k for i in range(10) for j in range(3) for k in range(3)})
"""Sides that an FFT is fast at."""
TINY = 1e-12  # smaller weights would become denormal products, which slow a CPU down


def border(size: int, beyond: tuple[int, int], like: Tensor, reflect: bool) -> Tensor:
    """For each place from beyond[0] before a line to beyond[1] after it, the pixel that it shows.

    That is the nearest one, or the mirrored (dcb|abcd|cba).
    """
    at = torch.arange(-beyond[0], size + beyond[1], device=like.device)
    if not reflect or size == 1:
        return at.clamp(0, size - 1)
    at = at.remainder(2 * size - 2)
    return torch.minimum(at, 2 * size - 2 - at)


def pad(x: Tensor, rows: tuple[int, int], columns: tuple[int, int], reflect: bool = False) -> Tensor:
    """x with so many more rows above and below, and columns left and right, as `border` has it."""
    if not reflect:
        return F.pad(x, (*columns, *rows), mode="replicate")
    if max(rows) < x.shape[-2] and max(columns) < x.shape[-1]:
        return F.pad(x, (*columns, *rows), mode="reflect")
    down, across = border(x.shape[-2], rows, x, True), border(x.shape[-1], columns, x, True)
    return x.index_select(-2, down).index_select(-1, across)


def unpad(y: Tensor, rows: tuple[int, int], columns: tuple[int, int], reflect: bool = False) -> Tensor:
    """The adjoint of `pad`: what lies beyond the border is added to the pixels that it showed."""
    height, width = y.shape[-2] - sum(rows), y.shape[-1] - sum(columns)
    folded = y.new_zeros(*y.shape[:-2], height, y.shape[-1]).index_add(-2, border(height, rows, y, reflect), y)
    empty = y.new_zeros(*y.shape[:-2], height, width)
    return empty.index_add(-1, border(width, columns, y, reflect), folded)


def fast(size: int) -> int:
    """The least side from `size` on that an FFT is fast at."""
    return next((side for side in FAST if side >= size), size)


def fast_sides(x: Tensor, kernel: Tensor) -> list[int]:
    """The sides of the FFT that correlates x with a kernel."""
    return [fast(side + taps - 1) for side, taps in zip(x.shape[-2:], kernel.shape[-2:], strict=True)]


def correlate(
    x: Tensor,
    kernel: Tensor,
    middle: tuple[int, int],
    reflect: bool = False,
    adjoint: bool = False,
    spectrum: Tensor | None = None,
) -> Tensor:
    """out[p] = Σ_q kernel[q + middle] x[p + q] for x (B, C, H, W) and kernel (B, K, L).

    Beyond the border the image goes on as its nearest pixel, or reflected. adjoint: the transposed operator.
    spectrum: the rfft2 of the kernel at `fast_sides`, where it is known.
    """
    (height, width), (tall, wide) = x.shape[-2:], kernel.shape[-2:]
    rows, columns = (middle[0], tall - 1 - middle[0]), (middle[1], wide - 1 - middle[1])
    size = fast_sides(x, kernel)
    work = x.to(kernel.dtype)
    spectrum = torch.fft.rfft2(kernel, s=size).unsqueeze(1) if spectrum is None else spectrum
    if not adjoint:
        seen = torch.fft.rfft2(pad(work, rows, columns, reflect), s=size) * spectrum.conj()
        found: Tensor = torch.fft.irfft2(seen, s=size)[..., :height, :width].to(x.dtype)
        return found
    spread = torch.fft.irfft2(torch.fft.rfft2(work, s=size) * spectrum, s=size)
    return unpad(spread[..., : height + tall - 1, : width + wide - 1], rows, columns, reflect).to(x.dtype)


def smooth(x: Tensor, weights: Tensor, adjoint: bool = False) -> Tensor:
    """x (B, C, H, W) weighted along both axes by symmetric taps, those from the middle on: weights (B or 1, R + 1).

    Beyond the border the nearest pixel. Tap by tap: for few taps faster than a matrix, and an image's result has the
    same bits in a batch of any size.
    """
    reach = weights.shape[-1] - 1
    taps = weights.to(x.dtype).view(-1, reach + 1, 1, 1, 1).unbind(1)
    for axis in (-1, -2):
        rows, columns = ((reach, reach), (0, 0)) if axis == -2 else ((0, 0), (reach, reach))
        if adjoint:
            spread = F.pad(F.pad(x, (*columns, *rows)), (*columns, *rows))
            x = unpad(weighted(spread, taps, axis, x.shape[axis] + 2 * reach), rows, columns)
        else:
            x = weighted(pad(x, rows, columns), taps, axis, x.shape[axis])
    return x


def weighted(padded: Tensor, taps: tuple[Tensor, ...], axis: int, size: int) -> Tensor:
    """Σ_i taps[|i|] x[p + i] along one axis, of which the padded x has len(taps) - 1 more pixels on either side."""
    reach = len(taps) - 1
    result = padded.narrow(axis, reach, size) * taps[0]
    for i in range(1, reach + 1):
        result.addcmul_(padded.narrow(axis, reach - i, size) + padded.narrow(axis, reach + i, size), taps[i])
    return result


def gaussian_taps(sigma: Tensor, reach: int) -> Tensor:
    """The taps of a Gaussian of σ (B,) from the middle on, (B, reach + 1); with their mirror images they sum to one."""
    weights = torch.exp(-(torch.arange(reach + 1, device=sigma.device) / sigma.clamp_min(1e-3)[:, None]).square() / 2)
    weights = torch.where(weights < TINY, 0.0, weights)
    return weights / (2 * weights.sum(-1, keepdim=True) - 1)


def gaussian_rows(size: int, sigma: Tensor, radius: int) -> Tensor:
    """The (B, size, size) matrices of a 1-D Gaussian blur of σ (B,), whose border is the nearest pixel."""
    at = torch.arange(-radius, radius + 1, device=sigma.device)
    weights = torch.exp(-(at / sigma.clamp_min(1e-3)[:, None]).square() / 2)
    weights = torch.where(weights < TINY, 0.0, weights)
    weights = weights / weights.sum(-1, keepdim=True)
    source = (torch.arange(size, device=sigma.device)[:, None] + at).clamp(0, size - 1)
    source, weights = torch.broadcast_tensors(source, weights[:, None, :])
    matrix: Tensor = weights.new_zeros(len(sigma), size, size)
    return matrix.scatter_add(2, source.contiguous(), weights.contiguous())


def for_both(x: Tensor, matrix: Callable[[int], Tensor]) -> tuple[Tensor, Tensor]:
    """The matrices of both sides of x, one for both if they are alike."""
    height, width = x.shape[-2:]
    rows = matrix(height).to(x.dtype)
    return rows, rows if height == width else matrix(width).to(x.dtype)


def apply_rows(x: Tensor, rows: Tensor, columns: Tensor, adjoint: bool = False) -> Tensor:
    """rows x columnsᵀ for each image, or its adjoint."""
    if adjoint:
        rows, columns = rows.transpose(-1, -2), columns.transpose(-1, -2)
    return separable(x, rows, columns)
