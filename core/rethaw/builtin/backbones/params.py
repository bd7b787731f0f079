"""The parameters and specs of the built-in backbones; neither needs torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Le, MinLen

from rethaw.api import Spec, backbone

AT = "rethaw.builtin.backbones"


@dataclass(frozen=True)
class UNet:
    """A compact U-Net that takes little time to train; with four options it is ADM's (2105.05233).

    The form of ADM: `skips: concat`, `norm: group`, `resample: residual`, and attention at the coarser levels.

    width: channels at the finest level.
    multipliers: of the width, one for each level; each level halves height and width.
    blocks: residual blocks a level, on each side of the U.
    attention: levels (0 is the finest) with self-attention after their blocks, and cross-attention to `tokens`.
    dropout: in the residual blocks.
    patch: side of the square of pixels folded into channels before the first level; a larger one computes less.
    bands: finer and finer bands of x_t, amplified, that the first layer is shown beside x_t.
    skips: how the decoder joins the encoder's features: add, or concat.
    norm: over the channels of each pixel (rms), or over groups of channels and all pixels (group).
    resample: between levels: conv is one convolution, residual a residual block that halves or doubles.
    """

    width: Annotated[int, Ge(4)] = 32
    multipliers: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] = (1, 2)
    blocks: Annotated[int, Ge(1)] = 2
    attention: tuple[Annotated[int, Ge(0)], ...] = ()
    dropout: Annotated[float, Ge(0), Le(1)] = 0.0
    patch: Annotated[int, Ge(1), Le(8)] = 2
    bands: Annotated[int, Ge(0), Le(8)] = 3
    skips: Literal["add", "concat"] = "add"
    norm: Literal["rms", "group"] = "rms"
    resample: Literal["conv", "residual"] = "conv"

    def __post_init__(self) -> None:
        if any(level >= len(self.multipliers) for level in self.attention):
            raise ValueError(f"attention names levels 0 to {len(self.multipliers) - 1}, not {max(self.attention)}")


SPECS: list[Spec] = [
    backbone(
        "unet",
        UNet,
        target=f"{AT}.unet:UNet",
        accepts=("vector", "tokens", "image"),
        summary="A compact U-Net with scale-shift severity embedding; ADM's by its options.",
    )
]
