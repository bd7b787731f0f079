"""Masks among the affine degradations D(x) = A x + b: those whose A is diagonal."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from rethaw.api import Degradation, State
from rethaw.ops.draws import rand
from rethaw.ops.pseudoinverse import linear_part

KNOWN = 0.999  # of a pixel's value must be left by a soft mask
SAME = 1e-4


def mask_of(degradation: Degradation, like: Tensor, t: Tensor, state: State) -> tuple[Tensor, Tensor, Tensor]:
    """k and b of D(x) = k x + b, in the shape of `like` (B, C, H, W), and for each image (B,) whether D is like that.

    An image of ones and one of noise tell, so it works for any degradation, compositions too. t (B,).
    """
    apply, b = linear_part(degradation, like, t, state)
    k = apply(torch.ones_like(like))
    probe = rand(like, Generator().manual_seed(0)) * 2 - 1
    return k, b, (apply(probe) - k * probe).abs().flatten(1).amax(1) < SAME


def shown_by_mask(degradation: Degradation, like: Tensor, t: Tensor, state: State) -> Tensor:
    """Where a mask leaves values as they are, (B, C, H, W); nowhere if the degradation is no mask.

    What is only partly left, or has something added to it, is not shown.
    """
    if not getattr(degradation, "linear", False):
        return torch.zeros_like(like, dtype=torch.bool)
    k, b, mask = mask_of(degradation, like, t, state)
    return (k > KNOWN) & (b.abs() < SAME) & mask.view(-1, *(1,) * (like.dim() - 1))
