"""Correlation with a kernel for each image, by FFT, and its adjoint."""

from __future__ import annotations

import torch
from torch import Tensor

from rethaw.ops import separable


def border(size: int, radius: int, like: Tensor, reflect: bool) -> Tensor:
    """For each of size + 2 radius places, the pixel that it shows: the nearest one, or the mirrored (dcb|abcd|cba)."""
    at = torch.arange(-radius, size + radius, device=like.device)
    if not reflect or size == 1:
        return at.clamp(0, size - 1)
    at = at.remainder(2 * size - 2)
    return torch.minimum(at, 2 * size - 2 - at)


def correlate(x: Tensor, kernel: Tensor, reflect: bool = False, adjoint: bool = False) -> Tensor:
    """out[p] = Σ_q kernel[q] x[p + q] for x (B, C, H, W) and kernel (B, 2R+1, 2R+1), its middle being q = 0.

    Beyond the border the image goes on as its nearest pixel, or reflected. adjoint: the transposed operator.
    """
    radius = kernel.shape[-1] // 2
    rows, columns = (border(size, radius, x, reflect) for size in x.shape[-2:])
    size = [len(rows), len(columns)]
    work = x.to(kernel.dtype)
    spectrum = torch.fft.rfft2(kernel, s=size).unsqueeze(1)
    if not adjoint:
        padded = work.index_select(-2, rows).index_select(-1, columns)
        whole = torch.fft.irfft2(torch.fft.rfft2(padded) * spectrum.conj(), s=size)
        seen: Tensor = whole[..., : x.shape[-2], : x.shape[-1]].to(x.dtype)
        return seen
    spread = torch.fft.irfft2(torch.fft.rfft2(work, s=size) * spectrum, s=size)
    folded = torch.zeros_like(work[..., :1]).expand(*work.shape[:-1], len(columns)).contiguous()
    folded = folded.index_add(-2, rows, spread)
    result: Tensor = torch.zeros_like(work).index_add(-1, columns, folded).to(x.dtype)
    return result


def gaussian_rows(size: int, sigma: Tensor, radius: int) -> Tensor:
    """The (B, size, size) matrices of a 1-D Gaussian blur of σ (B,), whose border is the nearest pixel."""
    at = torch.arange(-radius, radius + 1, device=sigma.device)
    weights = torch.exp(-(at / sigma.clamp_min(1e-3)[:, None]).square() / 2)
    weights = torch.where(weights < 1e-12, 0.0, weights)  # denormals in the making, which slow a CPU down
    weights = weights / weights.sum(-1, keepdim=True)
    source = (torch.arange(size, device=sigma.device)[:, None] + at).clamp(0, size - 1)
    source, weights = torch.broadcast_tensors(source, weights[:, None, :])
    matrix: Tensor = weights.new_zeros(len(sigma), size, size)
    return matrix.scatter_add(2, source.contiguous(), weights.contiguous())


def apply_rows(x: Tensor, rows: Tensor, columns: Tensor, adjoint: bool = False) -> Tensor:
    """rows x columnsᵀ for each image, or its adjoint, in the dtype of x."""
    rows, columns = rows.to(x.dtype), columns.to(x.dtype)
    if adjoint:
        rows, columns = rows.transpose(-1, -2), columns.transpose(-1, -2)
    return separable(x, rows, columns)
