"""Correlation with a kernel for each image, by FFT, and its adjoint. Plugins find it in `rethaw.ops`."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

FAST = sorted({4 * 2**i * 3**j * 5**k for i in range(10) for j in range(3) for k in range(3)})
"""Sides that an FFT is fast at."""


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
