"""The light module of the plugin `timm`: parameters and hooks. Imports neither torch nor timm."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le

from rethaw.api import Spec, backbone, classifier, conditioner, hookimpl


@dataclass(frozen=True)
class UNet:
    """A U-Net decoder on the features of any timm encoder that offers features, with a path at full resolution.

    encoder: its name in timm; `rethaw backbones 'conv*'` lists them.
    width: channels at full resolution; level i of the decoder has width·2^i, at most four times the width.
    blocks: residual blocks a level of the decoder.
    stride: of the coarsest features that are used; coarser stages of the encoder are left out.
    bands: finer and finer bands of x_t, amplified, that the first layers are shown beside x_t.
    pretrained: start from the weights that timm downloads, or has in its cache.
    weights: start from this file, as timm saves them (.safetensors, .pth), and download nothing.
    """

    encoder: str = "convnext_atto"
    width: Annotated[int, Ge(4)] = 32
    blocks: Annotated[int, Ge(1)] = 2
    stride: Literal[2, 4, 8, 16, 32] = 16
    bands: Annotated[int, Ge(0), Le(8)] = 3
    pretrained: bool = False
    weights: Path | None = None


@dataclass(frozen=True)
class ViT:
    """A restorer of transformer blocks that take the severity by adaLN-zero (DiT, 2212.09748), on images of any size.

    width: channels of a token.
    depth: blocks.
    heads: of attention; they divide the width, and it is a multiple of four.
    patch: side of the square of pixels that is one token.
    mlp_ratio: hidden channels of a block's perceptron, for each channel.
    bands: finer and finer bands of x_t, amplified, that the first layer is shown beside x_t.
    """

    width: Annotated[int, Ge(4)] = 192
    depth: Annotated[int, Ge(1)] = 6
    heads: Annotated[int, Ge(1)] = 6
    patch: Annotated[int, Ge(1), Le(32)] = 4
    mlp_ratio: Annotated[float, Gt(0)] = 4.0
    bands: Annotated[int, Ge(0), Le(8)] = 3

    def __post_init__(self) -> None:
        if self.width % self.heads or self.width % 4:
            raise ValueError(f"width must be a multiple of 4 and of heads ({self.heads}), not {self.width}")


@dataclass(frozen=True)
class Image:
    """An image as the embedding that a timm classifier makes of it, frozen.

    field: of the dataset's items: an image, or the path of one.
    model: its name in timm.
    pretrained: use the weights that timm downloads, or has in its cache.
    weights: use this file, as timm saves them (.safetensors, .pth), and download nothing.
    """

    field: str = "image"
    model: str = "resnet18"
    pretrained: bool = False
    weights: Path | None = None

    def __post_init__(self) -> None:
        if not self.pretrained and not self.weights:
            raise ValueError("an embedding needs trained weights: weights: FILE, or pretrained: true to download them")


@dataclass(frozen=True)
class Classifier:
    """Any timm classifier, trained from random weights on degraded images; it sees the noise, not the severity.

    field: of the dataset's items that holds the class.
    classes: the names, in order; by default all that the training data has.
    model: its name in timm.
    """

    field: str = "label"
    classes: tuple[str, ...] = ()
    model: str = "resnet18"


@hookimpl
def rethaw_backbones() -> list[Spec]:
    """Networks made of timm's parts."""
    accepts = ("vector", "tokens", "image")
    return [
        backbone(
            "unet",
            UNet,
            target="rethaw_timm.unet:UNet",
            accepts=accepts,
            variants="rethaw_timm.encoder:variants",
            summary="A U-Net on any timm encoder with features.",
        ),
        backbone(
            "vit",
            ViT,
            target="rethaw_timm.vit:ViT",
            accepts=accepts,
            summary="A DiT: transformer blocks with adaLN-zero.",
        ),
    ]


@hookimpl
def rethaw_conditioners() -> list[Spec]:
    """What timm's classifiers see, as a condition."""
    return [conditioner("image", Image, target="rethaw_timm.image:Image", summary="A timm embedding of an image.")]


@hookimpl
def rethaw_classifiers() -> list[Spec]:
    """timm's classifiers, for guidance."""
    return [
        classifier(
            "classifier",
            Classifier,
            target="rethaw_timm.classifier:Classifier",
            summary="Any timm classifier, on degraded images.",
        )
    ]
