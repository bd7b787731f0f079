"""The parameters and specs of the built-in conditioners; neither needs torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Le

from rethaw.api import Spec, conditioner

AT = "rethaw.builtin.conditioners"


@dataclass(frozen=True)
class Label:
    """The class of an image as a one-hot vector.

    field: of the dataset's items.
    classes: the names, in order; by default all that the training data has.
    """

    field: str = "label"
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Image:
    """An observed image beside x_t, resized to it: a low resolution, a sketch, a degraded version.

    field: of the dataset's items; in training, `of` degrades it to what will be observed.
    channels: of that image.
    """

    field: str = "image"
    channels: Annotated[int, Ge(1), Le(4)] = 3


SPECS: list[Spec] = [
    conditioner("label", Label, target=f"{AT}.label:Label", summary="The class of an image."),
    conditioner("image", Image, target=f"{AT}.image:Image", summary="An observed image, concatenated to x_t."),
]
