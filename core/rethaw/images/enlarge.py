"""Pictures a whole number of times as large, each pixel a square of equal ones."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from rethaw.images.picture import Picture
from rethaw.images.transparency import HIDDEN


def repeated(x: Tensor, ratio: int) -> Tensor:
    """(…, H, W) to (…, ratio·H, ratio·W)."""
    return x.repeat_interleave(ratio, -2).repeat_interleave(ratio, -1)


def enlarged(picture: Picture, ratio: int) -> Picture:
    """The picture `ratio` times as high and wide, its transparency and the colours under it with it."""
    alpha, hidden = picture.alpha, picture.hidden
    if alpha is None:
        return replace(picture, pixels=repeated(picture.pixels, ratio))
    if hidden is not None:
        unseen = alpha[0] < HIDDEN
        placed = torch.zeros(len(hidden), *unseen.shape, dtype=hidden.dtype)
        placed[:, unseen] = hidden
        hidden = repeated(placed, ratio)[:, repeated(unseen, ratio)]
    pixels, alpha = repeated(picture.pixels, ratio), repeated(alpha, ratio)
    return replace(picture, pixels=pixels, alpha=alpha, hidden=hidden)
