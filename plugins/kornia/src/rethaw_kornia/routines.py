"""The published routines of Cold Diffusion (2208.09392) that go step by step, each level precomposed: A_i x A_iᵀ."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from rethaw.api import SVD, Rng, State
from rethaw.ops import Constant, dense_blur, factored_svd, level, separable, separable_svd
from rethaw_kornia import plugin

FACTORED = 128  # px, the longest side whose decompositions are kept: 2 (T + 1) matrices of its square
TINY = 1e-12  # smaller weights are denormals in the making, which slow a CPU down


class Routine:
    """D(x0, u) = A_i x0 A_iᵀ, A_i the product of the 1-D operators of the first i = ⌈T u⌉ steps; nothing is random.

    A table of T + 1 rows for each length of a side is computed once, in float64.
    """

    def __init__(self, steps: int) -> None:
        self.steps = self.levels = steps
        self.tables: dict[int, Constant] = {}
        self.factors: dict[int, list[Constant]] = {}

    def table(self, size: int) -> Tensor:
        """What a side of `size` pixels needs of levels 0 … T, (T + 1, ...) in float64."""
        raise NotImplementedError

    def matrices(self, rows: Tensor, size: int) -> Tensor:
        """The operators (B, size, size), given the table's rows (B, ...)."""
        return rows

    def draw(self, like: Tensor, generator: Rng) -> State:
        return {}

    def rows(self, size: int) -> Constant:
        """The table for a side of `size` pixels."""
        if size not in self.tables:
            self.tables[size] = Constant(self.table(size))
        return self.tables[size]

    def operators(self, u: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """A_i along the height and along the width, (B, H, H) and (B, W, W)."""
        at = level(u, self.steps).long()
        found = {size: self.matrices(self.rows(size).like(like)[at], size) for size in set(like.shape[-2:])}
        return found[like.shape[-2]], found[like.shape[-1]]

    def decomposed(self, size: int) -> list[Constant]:
        """U, s and Vᵀ of all levels, computed once, in float64."""
        if size not in self.factors:
            self.factors[size] = [
                Constant(each) for each in torch.linalg.svd(self.matrices(self.rows(size).values, size))
            ]
        return self.factors[size]

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        return separable(x0, *self.operators(u, x0))

    def adjoint(self, y: Tensor, u: Tensor, state: State) -> Tensor:
        rows, columns = self.operators(u, y)
        return separable(y, rows.mT, columns.mT)

    def svd(self, like: Tensor, u: Tensor, state: State) -> SVD:
        if max(like.shape[-2:]) > FACTORED:
            return separable_svd(*self.operators(u, like))
        at = level(u, self.steps).long()
        return factored_svd(*([each.like(like)[at] for each in self.decomposed(size)] for size in like.shape[-2:]))


class CumulativeBlur(Routine):
    """Blurs after blurs. With either padding they are one convolution of a periodic signal, so a level is one kernel.

    The period is the side (circular), or twice the side less two (reflect: there and back). Over it, the kernels of
    the steps multiply in the Fourier domain, without any rounding but float64's.
    """

    def __init__(self, params: plugin.CumulativeBlur) -> None:
        assert params.steps is not None
        super().__init__(params.steps)
        self.params = params

    def taps(self) -> Tensor:
        """The kernel of each step, (T, K)."""
        p, i = self.params, torch.arange(self.steps, dtype=torch.float64).unsqueeze(1)
        radius = self.steps - 1 if p.kernel_size is None else p.kernel_size // 2
        std = p.kernel_std or 0.0
        sigma = {
            "constant": std * torch.ones_like(i),
            "incremental": std * (i + 1),
            "exponential": torch.exp((std * i).clamp_max(300)),  # beyond, all taps are alike, and σ² would overflow
            "special_6": i / 100 + 0.35,
            "individual": 2 * (2 * i + 1),
        }[p.routine]
        at = torch.arange(-radius, radius + 1, dtype=torch.float64)
        weights = -at.square() / (2 * sigma.clamp_min(1e-3).square())  # less leaves the middle tap alone, as this does
        return torch.softmax(torch.where(at.abs() > i, -math.inf, weights) if p.routine == "individual" else weights, 1)

    def table(self, size: int) -> Tensor:
        """The kernels of all levels, (T + 1, period), tap 0 first."""
        period = max(1, size if self.params.padding == "circular" else 2 * size - 2)
        taps = self.taps()
        at = (torch.arange(taps.shape[1]) - taps.shape[1] // 2).remainder(period)
        kernels = torch.zeros(self.steps + 1, period, dtype=torch.float64)
        kernels[0, 0] = 1.0
        kernels[1:].index_add_(1, at, taps)
        if self.params.routine != "individual":
            spectrum = torch.fft.rfft(kernels).real.cumprod(0)  # real, as the kernels are even
            kernels = torch.fft.irfft(spectrum.to(torch.complex128), n=period)
        return torch.where(kernels < TINY, 0.0, kernels)

    def matrices(self, rows: Tensor, size: int) -> Tensor:
        if self.params.padding == "circular":
            return torch.cat([rows[:, 1:], rows], 1).unfold(1, size, 1).flip(1)
        at = torch.arange(size, device=rows.device)
        half = rows[:, :size] * torch.where((at > 0) & (at == size - 1), 0.5, 1.0).to(rows.dtype)  # met from both sides
        return dense_blur(torch.cat([half[:, 1:].flip(1), half], 1), size)


class Downsample(Routine):
    """Smaller, and back by repeating pixels: resizing is linear and separable, so the identity gives its matrix."""

    def __init__(self, params: plugin.Downsample) -> None:
        super().__init__(params.steps)
        self.params = params

    def target(self, size: int, i: int) -> int:
        """The length that step i shrinks a side to."""
        return max(1, size >> (i + 1) if self.params.routine == "factor_2" else size - i)

    def table(self, size: int) -> Tensor:
        """A_i of all levels, (T + 1, size, size)."""
        levels = [torch.eye(size, dtype=torch.float64)]
        blur = dense_blur(torch.softmax(-torch.tensor([[2.0, 0.0, 2.0]], dtype=torch.float64), 1), size)[0]
        for i in range(self.steps):
            a = blur @ levels[-1] if self.params.blur else levels[-1]
            a = resize(resize(a, self.target(size, i), self.params.mode), size, "nearest-exact")
            levels.append(blur @ a if self.params.blur else a)
        table = torch.stack(levels)
        return torch.where(table.abs() < TINY, 0.0, table)


def resize(columns: Tensor, size: int, mode: str) -> Tensor:
    """Each column (N, M) of a matrix resized to `size` pixels, (size, M), by `F.interpolate` without antialiasing."""
    return F.interpolate(columns[None, None], size=(size, columns.shape[1]), mode=mode)[0, 0]
