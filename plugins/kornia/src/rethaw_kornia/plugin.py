"""The light module of the plugin `kornia`: parameters and hooks. Imports neither torch nor kornia."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt

from rethaw.api import Spec, degradation, hookimpl


@dataclass(frozen=True)
class GaussianBlur:
    """A Gaussian blur with σ = u·sigma_max, reflecting at the borders.

    sigma_max: standard deviation at full strength, in pixels.
    kernel_size: odd number of taps; by default enough for four σ on each side.
    """

    sigma_max: Annotated[float, Gt(0)] = 3.0
    kernel_size: Annotated[int, Ge(3)] | None = None

    def __post_init__(self) -> None:
        if self.kernel_size is not None and self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, not {self.kernel_size}")


@dataclass(frozen=True)
class Pixelate:
    """Blocks of equal colour: the mean over squares whose side grows from 1 to block_max pixels.

    block_max: side of the blocks at full strength, in pixels; between whole sides the two nearest are blended.
    """

    block_max: Annotated[int, Ge(2)] = 8


@hookimpl
def rethaw_degradations() -> list[Spec]:
    """Degradations."""
    return [
        degradation("gaussian_blur", GaussianBlur, target="rethaw_kornia.blur:Blur", linear=True,
                    summary="Gaussian blur, continuous in σ."),
        degradation("pixelate", Pixelate, target="rethaw_kornia.pixelate:Pixelate", linear=True,
                    summary="Mean over growing blocks."),
    ]  # fmt: skip
