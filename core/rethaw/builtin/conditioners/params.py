"""The parameters and specs of the built-in conditioners; neither needs torch."""

from __future__ import annotations

from dataclasses import dataclass

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


SPECS: list[Spec] = [conditioner("label", Label, target=f"{AT}.label:Label", summary="The class of an image.")]
