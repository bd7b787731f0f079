"""Pixels that alpha hides: whatever colours a file has there must not show in what is restored beside them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

HIDDEN = 1 / 16
"""Pixels of less alpha count as hidden: nobody sees their colour."""


def filled(x: Tensor, seen: Tensor) -> Tensor:
    """(C, H, W) with the pixels that are not seen, (H, W), going on smoothly from those that are; these stay exact.

    Push-pull: averages of what is seen in 2 × 2 pixels, filled in the same way, are enlarged into the gaps (Gortler
    et al., The Lumigraph, 1996, section 3.4.2). With nothing seen all is mid-grey.
    """
    if seen.all():
        return x
    if not seen.any():
        return torch.zeros_like(x)
    known = seen.to(x.dtype)[None]
    weight = F.avg_pool2d(known, 2, ceil_mode=True)
    mean = F.avg_pool2d(x.where(seen, 0), 2, ceil_mode=True) / weight.clamp(min=1e-6)
    coarse = filled(mean, weight[0] > 0)
    return x.where(seen, F.interpolate(coarse[None], x.shape[-2:], mode="bilinear")[0])
