"""The light module of the plugin `animals`: parameters and hooks. Imports neither torch nor Pillow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le

from rethaw.api import Spec, degradation, hookimpl


@dataclass(frozen=True)
class Animorphosis:
    """Turns images into animal faces: √ᾱ·x0 + √(1-ᾱ)·z with cosine ᾱ, as published; z, an animal face, is the state.

    path: folder of animal faces, searched recursively; by default, OpenMoji's animals are drawn (CC BY-SA 4.0).
    only: one of AFHQ's folders, cat, dog or wild; by default all that is in `path`.
    levels: with it, ᾱ is the published discrete table of that length, exactly.
    """

    path: Path | None = None
    only: Literal["cat", "dog", "wild"] | None = None
    levels: Annotated[int, Ge(1)] | None = None

    def __post_init__(self) -> None:
        check_only(self.path, self.only)


@dataclass(frozen=True)
class Blend:
    """Blends images into animal faces: (1 - w)·x0 + w·z; z, an animal face, is the state.

    path: folder of animal faces, searched recursively; by default, OpenMoji's animals are drawn (CC BY-SA 4.0).
    only: one of AFHQ's folders, cat, dog or wild; by default all that is in `path`.
    mask: none (w = u everywhere) or feathered (w is a soft oval over the middle, which grows with u).
    size: height of the oval at full strength, as a part of the image's shorter side; of feathered.
    feather: width of the oval's soft edge, as a part of its radius; of feathered.
    """

    path: Path | None = None
    only: Literal["cat", "dog", "wild"] | None = None
    mask: Literal["none", "feathered"] = "none"
    size: Annotated[float, Gt(0), Le(2)] = 0.8
    feather: Annotated[float, Ge(0.05), Le(2)] = 0.5

    def __post_init__(self) -> None:
        check_only(self.path, self.only)


def check_only(path: Path | None, only: str | None) -> None:
    """`only` chooses among the folders of `path`."""
    if only and path is None:
        raise ValueError(f"only: {only} needs path, a folder in AFHQ's layout")


@hookimpl
def rethaw_degradations() -> list[Spec]:
    """Two ways from an image to an animal's face."""
    return [
        degradation(
            "animorphosis",
            Animorphosis,
            target="rethaw_animals.blend:Animorphosis",
            linear=True,
            channels=3,
            summary="Turns images into animal faces, as published.",
        ),
        degradation(
            "blend",
            Blend,
            target="rethaw_animals.blend:blend",
            linear=True,
            bounded=True,
            channels=3,
            summary="Blends images into animal faces, everywhere or in a soft oval.",
        ),
    ]
