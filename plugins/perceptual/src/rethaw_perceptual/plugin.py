"""The light module of the plugin `perceptual`: parameters and hook. Imports neither torch nor torchmetrics."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge

from rethaw.api import Spec, hookimpl, metric

AT = "rethaw_perceptual.metrics"


@dataclass(frozen=True)
class Features:
    """The network whose features are compared.

    features: `inception` (that of FID, 2,048 features), `lite0` (EfficientNet-Lite0, 1,280 features, no download), or
        the name of any timm model.
    size: the side in pixels to which images are resized first: 96 for `lite0`, what a timm model was trained on; fixed
        for `inception`.
    weights: the file of the network's weights, where it is not in its usual place.
    download: fetch the weights where they are not on this machine.
    """

    features: str = "inception"
    size: Annotated[int, Ge(16)] | None = None
    weights: Path | None = None
    download: bool = False

    def __post_init__(self) -> None:
        if self.features == "inception" and self.size:
            raise ValueError("inception resizes images to 299 px itself: leave size out")


@dataclass(frozen=True)
class Fid(Features):
    """Fréchet distance of the features of restored and clean images, as if both were Gaussian (FID, 1706.08500)."""


@dataclass(frozen=True)
class Kid(Features):
    """Unbiased squared MMD of the features of restored and clean images, by a cubic kernel (KID, 1801.01401).

    estimator: `unbiased`, as published, takes restored and clean images for independent, and compares each restored one
        with its own clean one, too, so good restorations fall below zero; `u_statistic` leaves those pairs out.
    subsets: the mean over so many random subsets, as published; 0 compares all pairs of images.
    subset_size: images in each of them, at most as many as there are.
    """

    estimator: Literal["unbiased", "u_statistic"] = "unbiased"
    subsets: Annotated[int, Ge(0)] = 0
    subset_size: Annotated[int, Ge(2)] = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.subsets and self.estimator != "unbiased":
            raise ValueError("subsets are drawn for restored and clean images apart: they go with estimator: unbiased")


@dataclass(frozen=True)
class FeatureDistance(Features):
    """One minus the cosine of the features of a restored image and its clean one, the mean over images."""

    features: str = "lite0"


@dataclass(frozen=True)
class Lpips:
    """Learned perceptual image patch similarity (LPIPS, 1801.03924), the mean over images.

    net: the network whose feature maps are compared.
    size: the side in pixels to which images are resized first; none leaves them as they are.
    download: fetch the network's weights where they are not on this machine.
    """

    net: Literal["alex", "vgg", "squeeze"] = "alex"
    size: Annotated[int, Ge(16)] | None = None
    download: bool = False


@dataclass(frozen=True)
class Dists:
    """Deep image structure and texture similarity (DISTS, 2004.07728), the mean over images.

    size: the side in pixels to which images are resized first; none leaves them as they are.
    download: fetch the weights of VGG-16 where they are not on this machine.
    """

    size: Annotated[int, Ge(16)] | None = None
    download: bool = False


@hookimpl
def rethaw_metrics() -> list[Spec]:
    return [
        metric("fid", Fid, target=f"{AT}:FidMetric", summary="Fréchet distance of features (FID)."),
        metric("kid", Kid, target=f"{AT}:KidMetric", summary="Unbiased MMD² of features (KID)."),
        metric(
            "feature_distance",
            FeatureDistance,
            target=f"{AT}:FeatureDistanceMetric",
            summary="Mean cosine distance of features.",
        ),
        metric("lpips", Lpips, target=f"{AT}:LpipsMetric", summary="Learned perceptual similarity (LPIPS)."),
        metric("dists", Dists, target=f"{AT}:DistsMetric", summary="Structure and texture similarity (DISTS)."),
    ]
