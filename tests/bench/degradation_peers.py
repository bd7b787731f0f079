"""What a user would call instead: for each degradation, the nearest thing in another library, or its definition.

A peer gets images (B, C, H, W) in [-1, 1] and a severity for each, and returns a call without arguments; what can be
prepared beforehand (conversions, kernels' parameters) is not timed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

Call = Callable[[], object]
CORRUPTIONS = (
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "speckle_noise",
    "gaussian_blur",
    "defocus_blur",
    "motion_blur",
    "zoom_blur",
    "glass_blur",
    "snow",
    "frost",
    "fog",
    "spatter",
    "brightness",
    "contrast",
    "saturate",
    "elastic_transform",
    "pixelate",
    "jpeg_compression",
)


def peer_of(name: str, x: Tensor, t: Tensor) -> tuple[str, Call] | None:
    """The library and the call, or None where nobody has anything like it."""
    short = name.removeprefix("imagenet_c.")
    if name.startswith("imagenet_c.") and short in CORRUPTIONS:
        return "imagecorruptions", corruption(short, x, t)
    made = PEERS.get(name)
    return (made[0], made[1](x, t)) if made else None


def corruption(name: str, x: Tensor, t: Tensor) -> Call:
    """imagecorruptions, image by image, on 8-bit arrays."""
    from imagecorruptions import corrupt

    arrays = [np.ascontiguousarray(a) for a in ((x + 1) * 127.5).to(torch.uint8).permute(0, 2, 3, 1).numpy()]
    levels = [max(1, round(5 * v)) for v in t.tolist()]
    return lambda: [corrupt(a, corruption_name=name, severity=level) for a, level in zip(arrays, levels, strict=True)]


def add_noise(x: Tensor, t: Tensor) -> Call:
    from diffusers import DDPMScheduler

    scheduler, z = DDPMScheduler(beta_schedule="squaredcos_cap_v2"), torch.randn_like(x)
    steps = (t * 999).long()
    return lambda: scheduler.add_noise(x, z, steps)  # type: ignore[arg-type]


def saturation(x: Tensor, t: Tensor) -> Call:
    from kornia.enhance import adjust_saturation

    unit = (x + 1) / 2
    return lambda: adjust_saturation(unit, 1 - t)


def hue(x: Tensor, t: Tensor) -> Call:
    from kornia.enhance import adjust_hue

    unit, angle = (x + 1) / 2, t * math.pi
    return lambda: adjust_hue(unit, angle)


def blur(x: Tensor, t: Tensor) -> Call:
    """kornia's own separable call with a σ for each image, as many taps as ours."""
    from kornia.filters import gaussian_blur2d

    import rethaw

    taps = min(rethaw.build("degradation", "kornia.gaussian_blur").operator.taps, 2 * min(x.shape[-2:]) - 1)
    sigma = (3 * t).clamp_min(1e-3).view(-1, 1).expand(-1, 2)
    return lambda: gaussian_blur2d(x, (taps, taps), sigma)


def motion(x: Tensor, t: Tensor) -> Call:
    from kornia.filters import motion_blur

    return lambda: motion_blur(x, 21, t * 180, torch.zeros_like(t))


def jpeg(x: Tensor, t: Tensor) -> Call:
    from kornia.enhance import jpeg_codec_differentiable

    unit, quality = (x + 1) / 2, 100 - 90 * t
    return lambda: jpeg_codec_differentiable(unit, quality)


def pixels(x: Tensor, t: Tensor) -> Call:
    """Area down and nearest up, image by image, since sizes differ."""
    blocks = (1 + 7 * t).round().int().tolist()

    def one(image: Tensor, block: int) -> Tensor:
        small = F.interpolate(image, [max(1, n // block) for n in image.shape[-2:]], mode="area")
        return F.interpolate(small, image.shape[-2:])

    return lambda: [one(x[i : i + 1], block) for i, block in enumerate(blocks)]


def halving(x: Tensor, t: Tensor) -> Call:
    """The published loop: all levels for the whole batch, then each image's own."""

    def call() -> Tensor:
        level, found = x, [x]
        for i in range(3):
            small = F.interpolate(level, [max(1, n // 2 ** (i + 1)) for n in x.shape[-2:]], mode="area")
            level = F.interpolate(small, x.shape[-2:])
            found.append(level)
        return pick(found, t)

    return call


def inpainting(x: Tensor, t: Tensor) -> Call:
    from deepinv.physics import Inpainting

    mask = (torch.rand(x.shape[0], 1, *x.shape[-2:]) > 0.2).float()
    physics = Inpainting(img_size=x.shape[1:], mask=mask.expand_as(x), device="cpu")
    return lambda: physics.A(x)


def blur_by_steps(x: Tensor, t: Tensor, steps: int = 200, taps: int = 15, rate: float = 0.01) -> Call:
    """Cold Diffusion's cumulative blur as it is defined: one convolution a step, σ = exp(rate·i), reflecting."""
    at = torch.arange(taps) - taps // 2
    kernels = [torch.exp(-at.square() / (2 * math.exp(2 * rate * i))) for i in range(steps)]
    weights = [torch.outer(k, k).div(k.sum() ** 2).expand(x.shape[1], 1, taps, taps).contiguous() for k in kernels]

    def call() -> Tensor:
        level, found = x, [x]
        for weight in weights:
            level = F.conv2d(F.pad(level, (taps // 2,) * 4, mode="reflect"), weight, groups=x.shape[1])
            found.append(level)
        return pick(found, t)

    return call


def snow_by_steps(x: Tensor, t: Tensor, steps: int = 200, taps: int = 11) -> Call:
    """Cold Diffusion's snow as it is defined, level 3: at each step the layer is cut off, streaked and added anew."""
    unit, at = (x + 1) / 2, torch.arange(taps) - taps // 2
    layer = 0.55 + 0.3 * torch.randn(x.shape[0], 1, *x.shape[-2:])
    ramps = zip(torch.linspace(1.15, 0.7, steps).tolist(), torch.linspace(0.05, 16, steps).tolist(), strict=True)
    stages = [(threshold, torch.exp(-at.square() / (2 * σ * σ)).view(1, 1, 1, -1)) for threshold, σ in ramps]

    def call() -> Tensor:
        found = [x]
        for threshold, kernel in stages:
            flakes = torch.where(layer < threshold, 0.0, layer).clamp(0, 1)
            snow = F.conv2d(flakes, kernel / kernel.sum(), padding=(0, taps // 2))
            found.append((unit + snow + snow.rot90(2, (-2, -1))).clamp(0, 1) * 2 - 1)
        return pick(found, t)

    return call


def pick(levels: list[Tensor], t: Tensor) -> Tensor:
    """Each image at its own level, from all levels stacked, as the official code does."""
    at = (t * (len(levels) - 1)).ceil().long()
    return torch.stack(levels)[at, torch.arange(len(t))]


PEERS: dict[str, tuple[str, Callable[[Tensor, Tensor], Call]]] = {
    "core.gaussian_noise": ("diffusers", add_noise),
    "core.mask": ("deepinv", inpainting),
    "core.desaturate": ("kornia", saturation),
    "kornia.gaussian_blur": ("kornia", blur),
    "kornia.motion_blur": ("kornia", motion),
    "kornia.hue": ("kornia", hue),
    "kornia.saturation": ("kornia", saturation),
    "kornia.jpeg": ("kornia", jpeg),
    "kornia.pixelate": ("torch, image by image", pixels),
    "kornia.downsample": ("by steps", halving),
}
BY_STEPS: dict[str, tuple[dict[str, Any], Callable[[Tensor, Tensor], Call]]] = {
    "kornia.cumulative_blur": ({"routine": "exponential", "padding": "reflect"}, blur_by_steps),
    "imagenet_c.cold_snow": ({"levels": 200}, snow_by_steps),
}
"""Published routines of 200 steps, their parameters and their definitions."""
