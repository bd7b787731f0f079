"""Real-ESRGAN's second-order degradation (2107.10833) as its users run it: image by image, a draw at a time.

Written from the paper with the ranges of its experiments, each picture brought back to its own size after a resize, as
the recipe `real-esrgan` has it. Kernels are filtered by kornia, sizes changed by torch, files made by Pillow.
"""

from __future__ import annotations

import io
import math
import random

import numpy as np
import torch
from kornia.filters import filter2d
from numpy.typing import NDArray
from PIL import Image
from scipy import special
from torch import Tensor
from torch.nn import functional as F

KERNELS = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)
SIZES = range(7, 22, 2)
MODES = ("area", "bilinear", "bicubic")
Array = NDArray[np.float64]


def grid(size: int) -> tuple[Array, Array]:
    at = np.arange(size) - size // 2
    across, down = np.meshgrid(at, at)
    return across.astype(float), down.astype(float)


def gaussian_kernel(size: int, sigma: tuple[float, float], angle: float, beta: float, plateau: bool) -> Array:
    """Of the form f(pᵀ Σ⁻¹ p), Σ = R diag(σ²) Rᵀ."""
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    inverse = np.linalg.inv(turn @ np.diag(np.square(sigma)) @ turn.T)
    p = np.stack(grid(size), -1)
    q = np.einsum("...i,ij,...j", p, inverse, p) ** beta
    k = 1 / (1 + q) if plateau else np.exp(-q / 2)
    return np.asarray(k / k.sum())


def sinc_kernel(size: int, cutoff: float) -> Array:
    """The circular low-pass filter with a cutoff in radians."""
    r = np.hypot(*grid(size))
    r[size // 2, size // 2] = 1
    k = cutoff * special.j1(cutoff * r) / (2 * math.pi * r)
    k[size // 2, size // 2] = cutoff**2 / (4 * math.pi)
    return np.asarray(k / k.sum())


def drawn_kernel(rng: random.Random, sigma: tuple[float, float]) -> Array:
    """A kernel of `kernel_blur`, or in one of ten cases of `sinc`."""
    size = rng.choice(SIZES)
    if rng.random() < 0.1:
        return sinc_kernel(size, rng.uniform(0.333, 1) * math.pi)
    kind = rng.choices(range(6), KERNELS)[0]
    first = rng.uniform(*sigma)
    second, angle = (first, 0.0) if kind % 2 == 0 else (rng.uniform(*sigma), rng.uniform(-math.pi, math.pi))
    low, high = ((1, 1), (0.5, 4), (1, 2))[kind // 2]
    beta = rng.uniform(low, 1) if low < 1 and rng.random() < 0.5 else rng.uniform(1, high)
    return gaussian_kernel(size, (first, second), angle, beta, kind // 2 == 2)


def filtered(x: Tensor, kernel: Array) -> Tensor:
    """One image (1, C, H, W), reflecting at its borders."""
    return filter2d(x, torch.from_numpy(kernel).to(x)[None], border_type="reflect")


def resized(x: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    return F.interpolate(x, size, mode=mode, **({} if mode == "area" else {"align_corners": False}))  # type: ignore[arg-type]


def there_and_back(x: Tensor, scale: float, modes: tuple[str, str]) -> Tensor:
    small = resized(x, (max(1, round(x.shape[-2] * scale)), max(1, round(x.shape[-1] * scale))), modes[0])
    return resized(small, (x.shape[-2], x.shape[-1]), modes[1])


def drawn_resize(rng: random.Random, x: Tensor, scale: tuple[float, float], up: float) -> Tensor:
    factor = rng.uniform(1, scale[1]) if rng.random() < up else rng.uniform(scale[0], 1)
    return there_and_back(x, factor, (rng.choice(MODES), rng.choice(MODES)))


def drawn_noise(rng: random.Random, x: Tensor, sigma: float, photons: float, least: tuple[float, float]) -> Tensor:
    """Gaussian or Poisson noise, grey in two of five cases; x in [0, 1]."""
    grey = rng.random() < 0.4
    if rng.random() < 0.5:
        return x + rng.uniform(least[0], 1) * sigma * torch.randn_like(x[:, :1] if grey else x)
    size = rng.uniform(least[1], 1) ** 2 / photons
    seen = 0.299 * x[:, :1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:] if grey else x
    return x + torch.poisson(seen.clamp_min(0) / size) * size - seen


def compressed(x: Tensor, quality: int) -> Tensor:
    """Through a JPEG file; x (1, 3, H, W) in [0, 1]."""
    file = io.BytesIO()
    pixels = (x[0].clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "JPEG", quality=quality)
    return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)[None].to(x) / 255


def second_order(x: Tensor, rng: random.Random) -> Tensor:
    """One image (1, 3, H, W) in [0, 1] degraded at full strength."""
    x = filtered(x, drawn_kernel(rng, (0.2, 3.0)))
    x = drawn_resize(rng, x, (0.15, 1.5), 0.222) if rng.random() < 0.9 else x
    x = compressed(drawn_noise(rng, x, 0.235 / 2, 28.4, (0.033, 0.017)), round(rng.uniform(30, 95)))
    x = filtered(x, drawn_kernel(rng, (0.2, 1.5))) if rng.random() < 0.8 else x
    x = drawn_resize(rng, x, (0.3, 1.2), 0.429) if rng.random() < 0.7 else x
    x = drawn_noise(rng, x, 0.196 / 2, 41.0, (0.04, 0.02))
    file_first, quality = rng.random() < 0.5, round(rng.uniform(30, 95))
    x = compressed(x, quality) if file_first else x
    ringing = rng.random() < 0.8
    x = filtered(x, sinc_kernel(rng.choice(SIZES), rng.uniform(0.333, 1) * math.pi)) if ringing else x
    return x if file_first else compressed(x, quality)
