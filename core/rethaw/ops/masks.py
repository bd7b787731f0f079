"""Masks among the affine degradations D(x) = A x + b: those whose A is diagonal."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from rethaw.api import Degradation, RethawError, State
from rethaw.ops.draws import rand

KNOWN = 0.999  # of a pixel's value must be left by a soft mask
SAME, NOTHING = 1e-4, 1e-6
CORNER = 32  # pixels


def mask_of(degradation: Degradation, like: Tensor, t: Tensor, state: State) -> tuple[Tensor, Tensor, Tensor]:
    """k and b of D(x) = k x + b, in the shape of `like` (B, C, H, W), and for each image (B,) whether D is like that.

    An image of ones and one of noise tell, so it works for any degradation, compositions too. t (B,).
    """
    b = degradation.degrade(torch.zeros_like(like), t, state)
    k = degradation.degrade(torch.ones_like(like), t, state) - b
    probe = rand(like, Generator().manual_seed(0)).mul_(2).sub_(1)
    apart = (degradation.degrade(probe, t, state) - b).addcmul_(k, probe, value=-1).abs_()
    return k, b, apart.flatten(1).amax(1) < SAME


def through_mask(degradation: Degradation, y: Tensor, t: Tensor, state: State) -> tuple[Tensor, Tensor]:
    """Degraded images y (B, C, H, W), and where a mask shows their values as they were; nowhere if D is no mask.

    What the mask hides is in y as the mask leaves it, whatever was painted there: its colour would else be taken for a
    trace of x0. What is only partly left, or has something added to it, is neither shown nor hidden. t (B,).
    """
    if not getattr(degradation, "linear", False) or not diagonal_in_a_corner(degradation, y, t, state):
        return y, torch.zeros_like(y, dtype=torch.bool)
    k, b, mask = mask_of(degradation, y, t, state)
    each = (-1, *(1,) * (y.dim() - 1))
    shown = (k > KNOWN) & (b.abs() < SAME) & mask.view(each)
    hidden = (k < NOTHING) & shown.flatten(1).any(1).view(each)
    return torch.where(hidden, b, y), shown


def diagonal_in_a_corner(degradation: Degradation, like: Tensor, t: Tensor, state: State) -> bool:
    """Whether D may be a mask: false if it is none on a corner of the images, which tells at once where they are large.

    True where it works on none but the whole image.
    """
    corner = (..., slice(CORNER), slice(CORNER))
    part = {key: v[corner] if v.shape[-2:] == like.shape[-2:] else v for key, v in state.items()}
    try:
        return bool(mask_of(degradation, like[corner], t, part)[2].any())
    except RethawError:
        return True
