"""Masks as people save them: white on black, or painted on a transparent layer."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from rethaw.files import expanded, shown
from rethaw.images.picture import Picture, UnreadableImage
from rethaw.images.read import read_image

OPAQUE, NEAR = 0.98, 0.1
"""The alpha of a brush that hides wholly; how far apart values may lie that are meant to be equal."""
LOSSY = (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".webp", ".avif", ".jp2")
RIGHT = "Save it as a PNG file that is white where the picture is hidden and black elsewhere."


class Mask(NamedTuple):
    """values: (1, H, W) in [0, 1], 1 where the picture is hidden. notes: sentences for the user."""

    values: Tensor
    notes: tuple[str, ...]


def read_mask(path: Path) -> Mask:
    """Reads a mask: white is hidden, or on a transparent layer what is painted, in any colour.

    Bits, palettes and three equal channels make no difference. Raises UnreadableImage for colours, for what can be
    understood in two ways, and for a mask that hides nothing.
    """
    path = expanded(Path(path))
    picture = read_image(path, 3)
    opaque = picture.alpha is None or bool((picture.alpha >= OPAQUE).all())
    values = _brightness(picture) if opaque else _painted(picture)
    notes = list(picture.notes)
    if path.suffix.lower() in LOSSY and _nearly_binary(values):
        values = values.round()
        notes.append("its values were rounded to black and white; a mask with soft edges needs a PNG file")
    share = float(values.mean())
    said = "all" if share == 1 else f"{100 * share:.3g} %"
    notes.append(
        f"the mask hides {said} of the picture" + ("" if opaque else ": what is painted on its transparent layer")
    )
    if share > 0.5:
        notes.append("if it should hide the rest instead, invert it: white is hidden")
    return Mask(values, tuple(notes))


def read_state(path: Path, key: str) -> Mask:
    """A state of a degradation as a file holds it, (1, H, W) in [0, 1]: masks by `read_mask`, all else as it is.

    key: the state's name, such as mask, or hole.mask of a part of a list.
    """
    if key.rpartition(".")[2] == "mask":
        return read_mask(path)
    picture = read_image(path, 1)
    return Mask((picture.pixels + 1) / 2, picture.notes)


def _brightness(picture: Picture) -> Tensor:
    """The values of a mask without transparency. Raises UnreadableImage where they are colours, or all dark."""
    values = (picture.pixels + 1) / 2
    if float((values.amax(0) - values.amin(0)).max()) > NEAR:
        raise _refusal(picture, "is coloured, so what it hides is not clear")
    values = values.mean(0, keepdim=True)
    top = float(values.max())
    if top == 0:
        raise _refusal(picture, "is black everywhere and hides nothing")
    if top < NEAR:
        raise _refusal(picture, f"is nearly black: its brightest value is {255 * top:.3g} of 255")
    return values


def _painted(picture: Picture) -> Tensor:
    """The alpha of a transparent layer that is painted in one colour."""
    alpha = picture.alpha
    assert alpha is not None
    top = float(alpha.max())
    if top == 0:
        raise _refusal(picture, "is a transparent layer with nothing painted on it, and hides nothing")
    if top < OPAQUE:
        raise _refusal(picture, f"is painted with a transparent brush: at most {100 * top:.0f} % opaque")
    colours = picture.pixels[:, alpha[0] >= OPAQUE]
    if float((colours.amax(1) - colours.amin(1)).max()) > 2 * NEAR:
        raise _refusal(
            picture,
            "is transparent in places and has several colours elsewhere: is the transparent part hidden, or a colour?",
        )
    return alpha


def _nearly_binary(values: Tensor) -> bool:
    """Whether nearly all values are black or white, as those of a mask that was saved with a loss are."""
    return bool((torch.minimum(values, 1 - values) < NEAR).float().mean() > 0.9)


def _refusal(picture: Picture, what: str) -> UnreadableImage:
    return UnreadableImage(f"the mask {shown(picture.path)} {what}", RIGHT)
