"""NIQE (Mittal, Soundararajan and Bovik, "Making a completely blind image quality analyzer", 2013), by clean pictures.

The brightness of a photograph, less its local mean and over its local deviation, has much the same distribution in all
photographs. A patch is described by parameters of that distribution; clean pictures, and an image that is judged, by
the mean and the covariance of their patches' descriptions; the figure is a distance of the two.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from rethaw.api import RethawError
from rethaw.builtin.metrics.fidelity import to_unit
from rethaw.ops import LUMA, find_images, read_image

if TYPE_CHECKING:
    from rethaw.builtin.metrics.params import Niqe as Params

WINDOW, SIGMA = 7, 7 / 6  # px, of the Gaussian window
SHARP = 0.75  # patches of clean pictures count from this share of the sharpest one's sharpness on
SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))  # px down and right, of the neighbours that a pixel is multiplied with
ROUNDING = 1e-6  # of differences of brightness; where it counted, flat areas would be negative or positive by chance
SIZE = 36  # of a description: at two scales, 2 of the values, and 4 of their products with each neighbour


class Gaussian(NamedTuple):
    """Mean (…, D) and covariance (…, D, D) of patches' descriptions."""

    mean: Tensor
    cov: Tensor


class Niqe:
    """The mean over images; less is better."""

    higher_is_better = False
    reference = False
    kind = "perception"

    def __init__(self, params: Params) -> None:
        self.patch, self.folder, self.count = params.patch, params.pristine, params.images
        self.label = f"niqe ({self.folder.name}@{self.patch})"
        self.total, self.images, self.flat = 0.0, 0, 0

    def update(self, restored: Tensor) -> None:
        """Takes in a batch of at least two patches each. Raises RethawError for smaller images."""
        h, w = restored.shape[-2:]
        if (h // self.patch) * (w // self.patch) < 2:
            raise RethawError(
                f"NIQE needs at least two patches of {self.patch} pixels an image, and these have {w}×{h} pixels",
                f"Give it a smaller patch, such as {{use: core.niqe, pristine: {self.folder}, patch: 16}}.",
            )
        images = restored.cpu() if restored.device.type == "mps" else restored  # which has no double precision
        found = distance(gaussian(describe(images, self.patch)[0]), self.clean)
        judged = found.isfinite()
        self.total += float(found[judged].sum())
        self.images += int(judged.sum())
        self.flat += int((~judged).sum())

    @cached_property
    def clean(self) -> Gaussian:
        """What clean pictures have in common; the folder is looked through once."""
        return pristine(self.folder, self.patch, self.count)

    def compute(self) -> float:
        return self.total / self.images if self.images else float("nan")

    def note(self) -> str:
        """How many images could not be judged."""
        return f"niqe could not judge {self.flat} images, which are flat nearly everywhere" if self.flat else ""


def pristine(folder: Path, patch: int, count: int) -> Gaussian:
    """What the clean pictures in a folder have in common; fitted once for as long as they stay as they are."""
    files = find_images([folder])
    files = [files[i * len(files) // count] for i in range(count)] if len(files) > count else files
    return fitted(tuple((file, file.stat().st_mtime_ns) for file in files), patch)


@lru_cache(maxsize=8)
def fitted(files: tuple[tuple[Path, int], ...], patch: int) -> Gaussian:
    """Mean and covariance of the sharp patches of all files. Raises RethawError where they are too few."""
    found = torch.cat([torch.empty(0, SIZE, dtype=torch.float64), *sharp_patches([file for file, _ in files], patch)])
    if len(found) <= SIZE:
        raise RethawError(
            f"NIQE needs more than {SIZE} sharp patches of clean pictures, and there are {len(found)}",
            f"Name more or larger pictures as pristine, or a patch of less than {patch} pixels.",
        )
    return Gaussian(found.mean(0), torch.cov(found.T))


def sharp_patches(files: list[Path], patch: int) -> Iterator[Tensor]:
    """The descriptions (n, D) of each picture's sharp patches; files that cannot be read are passed over."""
    for file in files:
        try:
            image = read_image(file, 3).pixels[None]
        except RethawError:
            continue
        if min(image.shape[-2:]) >= patch:
            found, sharpness = (part[0] for part in describe(image, patch))
            yield found[(sharpness > SHARP * sharpness.max()) & found.isfinite().all(1)]


def describe(images: Tensor, patch: int) -> tuple[Tensor, Tensor]:
    """Images (B, C, H, W) in [-1, 1] → their patches' descriptions (B, P, D), float64, and sharpness (B, P).

    What is left over at the right and at the bottom is not looked at. Flat patches have no finite description.
    """
    grey = brightness(images)
    h, w = (n - n % patch for n in grey.shape[-2:])
    grey = grey[..., :h, :w]
    normal, deviation = normalised(grey)
    half = F.interpolate(grey, (h // 2, w // 2), mode="bicubic", antialias=True)
    coarse, _ = normalised(half)
    found = torch.cat([described(patches(normal, patch)), described(patches(coarse, patch // 2))], -1)
    return found, patches(deviation, patch).mean((-2, -1))


def brightness(images: Tensor) -> Tensor:
    """(B, 1, H, W) from 0 to 255 in whole numbers, float64."""
    unit = to_unit(images).double()
    if images.shape[1] >= 3:
        unit = (unit[:, :3] * unit.new_tensor(LUMA).view(3, 1, 1)).sum(1, keepdim=True)
    return (255 * unit[:, :1]).round()


def normalised(grey: Tensor) -> tuple[Tensor, Tensor]:
    """(I - μ) / (σ + 1) with the mean and the deviation of a Gaussian window, and σ (eq. 1 to 3)."""
    at = torch.arange(WINDOW, dtype=grey.dtype, device=grey.device) - WINDOW // 2
    weights = torch.exp(-(at / SIGMA).square() / 2)
    kernel = torch.outer(weights, weights)[None, None] / weights.sum().square()
    padded = F.pad(grey, [WINDOW // 2] * 4, mode="replicate")
    mean, square = F.conv2d(padded, kernel), F.conv2d(padded.square(), kernel)
    deviation = (square - mean.square()).clamp_min(0).sqrt()
    off = torch.where((grey - mean).abs() > ROUNDING, grey - mean, 0)
    return off / (deviation + 1), deviation


def patches(images: Tensor, side: int) -> Tensor:
    """(B, 1, H, W) → (B, P, side, side)."""
    b, _, h, w = images.shape
    return images.view(b, h // side, side, w // side, side).transpose(2, 3).reshape(b, -1, side, side)


def described(values: Tensor) -> Tensor:
    """Patches (…, h, w) → (…, 18): how their values, and products of neighbours, are distributed (eq. 4 to 9)."""
    α, left, right = generalised(values)
    found = [α, (left + right) / 2]
    for shift in SHIFTS:
        α, left, right = generalised(values * values.roll(shift, (-2, -1)))
        mean = (right - left) * torch.exp(torch.lgamma(2 / α) - torch.lgamma(1 / α))
        found += [α, mean, left, right]
    return torch.stack(found, -1)


def generalised(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """α, β_l and β_r of an asymmetric generalised Gaussian by its moments, (…,) each (Lasmar et al. 2009)."""
    x = values.flatten(-2)
    left, right = (root_mean_square(x, side) for side in (x < 0, x > 0))
    γ = left / right
    ratio = x.abs().mean(-1).square() / x.square().mean(-1) * (γ**3 + 1) * (γ + 1) / (γ.square() + 1).square()
    shapes, ratios = table(x.device)
    above = torch.searchsorted(ratios, ratio.contiguous()).clamp(1, len(ratios) - 1)
    nearer = above - (ratio - ratios[above - 1] < ratios[above] - ratio).long()
    α = torch.where(ratio.isfinite(), shapes[nearer], torch.nan)
    scale = torch.exp((torch.lgamma(1 / α) - torch.lgamma(3 / α)) / 2)
    return α, left * scale, right * scale


def root_mean_square(x: Tensor, where: Tensor) -> Tensor:
    """Of the values where a mask says so, (…,); NaN of none."""
    return ((x.square() * where).sum(-1) / where.sum(-1)).sqrt()


@lru_cache(maxsize=8)
def table(device: torch.device) -> tuple[Tensor, Tensor]:
    """Shapes α, and Γ(2/α)² / (Γ(1/α) Γ(3/α)), which rises with α."""
    α = torch.arange(0.2, 10.0005, 0.001, dtype=torch.float64, device=device)
    return α, torch.exp(2 * torch.lgamma(2 / α) - torch.lgamma(1 / α) - torch.lgamma(3 / α))


def gaussian(found: Tensor) -> Gaussian:
    """Of the patches (B, P, D) of each image that have a description; not finite where there are fewer than two."""
    there = found.isfinite().all(-1, keepdim=True)
    count = there.sum(1)
    mean = torch.where(there, found, 0).sum(1) / count
    off = torch.where(there, found - mean[:, None], 0)
    return Gaussian(mean, off.mT @ off / (count - 1)[..., None])


def distance(one: Gaussian, other: Gaussian) -> Tensor:
    """√(Δᵀ ((Σ1 + Σ2) / 2)⁺ Δ) (eq. 10), (B,); NaN for an image that cannot be judged."""
    cov = (one.cov + other.cov.to(one.cov.device)) / 2
    known = cov.isfinite().all(-1).all(-1)
    inverse = torch.linalg.pinv(torch.where(known[:, None, None], cov, torch.eye(SIZE).to(cov)), hermitian=True)
    Δ = one.mean - other.mean.to(one.mean.device)
    return torch.where(known, torch.einsum("bi,bij,bj->b", Δ, inverse, Δ).clamp_min(0).sqrt(), torch.nan)
