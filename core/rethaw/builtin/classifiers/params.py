"""The parameters and specs of the built-in classifiers; neither needs torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, MinLen

from rethaw.api import Spec, classifier

AT = "rethaw.builtin.classifiers"


@dataclass(frozen=True)
class ConvNet:
    """The encoder of core.unet with a pooled head: a classifier that knows the severity.

    field: of the dataset's items that holds the class.
    classes: the names, in order; by default all that the training data has.
    width: channels at the finest level.
    multipliers: of the width, one for each level; each level halves height and width.
    blocks: residual blocks a level.
    """

    field: str = "label"
    classes: tuple[str, ...] = ()
    width: Annotated[int, Ge(4)] = 32
    multipliers: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] = (1, 2, 4)
    blocks: Annotated[int, Ge(1)] = 1


SPECS: list[Spec] = [
    classifier(
        "convnet", ConvNet, target=f"{AT}.convnet:ConvNet", summary="A small residual network that knows the severity."
    )
]
