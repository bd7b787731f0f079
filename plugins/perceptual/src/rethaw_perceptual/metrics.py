"""The metrics: each names its features, counts its images, and says how sure it is."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rethaw.api import RethawError
from rethaw.ops import seeded
from rethaw_perceptual.distances import bootstrap_weights, frechet, mmd2, mmd2_of_subsets
from rethaw_perceptual.features import extractor, resized, rgb
from rethaw_perceptual.weights import Source, from_torch_hub, read

if TYPE_CHECKING:
    from rethaw_perceptual.plugin import Dists, FeatureDistance, Features, Fid, Kid, Lpips

CONFIDENCE = torch.tensor([0.025, 0.975], dtype=torch.float64)
PIXELS = 2**19  # of images that are compared at once
NONE = float("nan"), torch.full((1,), float("nan"), dtype=torch.float64)


class Resampled:
    """A figure of n images with the interval that resampling the images gives (percentile bootstrap, 95 %)."""

    higher_is_better = False
    label: str

    def __init__(self) -> None:
        self.images = 0
        self.found: tuple[float, Tensor] | None = None

    def measure(self) -> tuple[float, Tensor]:
        """The figure, and what it is in each resample (R,)."""
        raise NotImplementedError

    def measured(self) -> tuple[float, Tensor]:
        """`measure`, once for all images so far."""
        if self.found is None:
            self.found = self.measure() if self.images else NONE
        return self.found

    def compute(self) -> float:
        return self.measured()[0]

    def interval(self) -> tuple[float, float]:
        """In which the figure lies with 95 % confidence, for other images like these and as many."""
        low, high = self.measured()[1].nanquantile(CONFIDENCE).tolist()
        return low, high


class ImageMean(Resampled):
    """The mean over images of a value that each has."""

    def __init__(self, label: str) -> None:
        super().__init__()
        self.label = label
        self.values: list[Tensor] = []

    def each(self, restored: Tensor, clean: Tensor) -> Tensor:
        """The value of each image, (B,)."""
        raise NotImplementedError

    @torch.no_grad()
    def update(self, restored: Tensor, clean: Tensor) -> None:
        self.values.append(self.each(restored, clean))
        self.images, self.found = self.images + len(restored), None

    def measure(self) -> tuple[float, Tensor]:
        values = torch.cat(self.values).double().cpu()
        return float(values.mean()), bootstrap_weights(len(values)) @ values / len(values)


class Distribution(Resampled):
    """A distance between the features of all restored and of all clean images."""

    kind: Literal["perception"] = "perception"

    def __init__(self, name: str, params: Features) -> None:
        super().__init__()
        self.extract = extractor(params)
        self.label = f"{name} ({self.extract.name})"
        self.restored: list[Tensor] = []
        self.clean: list[Tensor] = []

    def update(self, restored: Tensor, clean: Tensor) -> None:
        self.restored.append(self.extract(restored))
        self.clean.append(self.extract(clean))
        self.images, self.found = self.images + len(restored), None

    def measure(self) -> tuple[float, Tensor]:
        x, y = torch.cat(self.restored).double(), torch.cat(self.clean).double()
        if len(x) < 2 or not bool((x.isfinite() & y.isfinite()).all()):
            return NONE
        return self.distance(x, y, bootstrap_weights(len(x)).to(x.device))

    def distance(self, x: Tensor, y: Tensor, weights: Tensor) -> tuple[float, Tensor]:
        """Of features (n, D) each, and of their resamples."""
        raise NotImplementedError


class FidMetric(Distribution):
    """The metric of `perceptual.fid`. Resamples are estimated from the influence of each image."""

    def __init__(self, params: Fid) -> None:
        super().__init__("fid", params)

    def distance(self, x: Tensor, y: Tensor, weights: Tensor) -> tuple[float, Tensor]:
        value, influence = frechet(x, y)
        return float(value), (value + (weights - 1) @ influence).cpu()

    def note(self) -> str:
        """What to know beside the figure."""
        width = self.restored[0].shape[1] if self.restored else 0
        return (
            f"{self.label}: {self.images} images are fewer than its {width} features, so it is far above what more "
            "images would give; compare it only at this number of images."
            if self.images < width
            else ""
        )


class KidMetric(Distribution):
    """The metric of `perceptual.kid`."""

    def __init__(self, params: Kid) -> None:
        super().__init__("kid" if params.estimator == "unbiased" else "kid u-statistic", params)
        self.params = params

    def distance(self, x: Tensor, y: Tensor, weights: Tensor) -> tuple[float, Tensor]:
        own = self.params.estimator == "unbiased"
        values = mmd2(x, y, torch.cat([torch.ones_like(weights[:1]), weights]), own).cpu()
        if self.params.subsets:
            size = min(self.params.subset_size, len(x))
            return float(mmd2_of_subsets(x, y, self.params.subsets, size).mean()), values[1:]
        return float(values[0]), values[1:]


class FeatureDistanceMetric(ImageMean):
    """The metric of `perceptual.feature_distance`."""

    def __init__(self, params: FeatureDistance) -> None:
        self.extract = extractor(params)
        super().__init__(f"feature_distance ({self.extract.name})")

    def each(self, restored: Tensor, clean: Tensor) -> Tensor:
        return 1 - F.cosine_similarity(self.extract(restored), self.extract(clean))


class ByNetwork(ImageMean):
    """The mean of what a network says of two images of a size that it can take."""

    def __init__(self, name: str, source: Source, size: int | None, make: Callable[[Source, int], nn.Module]) -> None:
        super().__init__(f"{name} ({source.label}{f'@{size}' if size else ''})")
        self.size = size
        try:
            self.network = make(source, source.changed())
        except RuntimeError as error:
            raise RethawError(f"{source.path} does not hold weights of {source.name}") from error

    def each(self, restored: Tensor, clean: Tensor) -> Tensor:
        a, b = (resized(rgb(image), self.size) for image in (restored, clean))
        network, count = self.network.to(a.device), max(1, PIXELS // (a.shape[-2] * a.shape[-1]))
        try:
            parts = zip(a.split(count), b.split(count), strict=True)
            return torch.cat([self.compare(network, *part).reshape(-1) for part in parts])
        except RuntimeError as error:
            if "too small" not in str(error) and "Kernel size" not in str(error):
                raise
            wide = "×".join(map(str, a.shape[-2:]))
            raise RethawError(f"{self.label}: images of {wide} px are too small", "Enlarge them: size: 64.") from error

    def compare(self, network: nn.Module, restored: Tensor, clean: Tensor) -> Tensor:
        """The value of each image, as many values as images; (B, 3, H, W) in [-1, 1] each."""
        value: Tensor = network(restored, clean)
        return value


class LpipsMetric(ByNetwork):
    """The metric of `perceptual.lpips`: torchmetrics' network with its published linear layers."""

    def __init__(self, params: Lpips) -> None:
        super().__init__("lpips", backbone(params.net, params.download), params.size, lpips)


class DistsMetric(ByNetwork):
    """The metric of `perceptual.dists`: torchmetrics' network with its published weights of each channel."""

    def __init__(self, params: Dists) -> None:
        super().__init__("dists", backbone("vgg", params.download), params.size, dists)

    def compare(self, network: nn.Module, restored: Tensor, clean: Tensor) -> Tensor:
        return super().compare(network, (restored + 1) / 2, (clean + 1) / 2)


def backbone(net: str, download: bool) -> Source:
    """Torchvision's weights of the network, where torchmetrics will look for them."""
    from torchvision.models import AlexNet_Weights, SqueezeNet1_1_Weights, VGG16_Weights

    weights = {"alex": AlexNet_Weights.DEFAULT, "vgg": VGG16_Weights.DEFAULT, "squeeze": SqueezeNet1_1_Weights.DEFAULT}
    return from_torch_hub(net, weights[net].url, download)


@lru_cache(maxsize=3)
def lpips(source: Source, changed: int) -> nn.Module:
    """LPIPS with these weights of its network; `changed` tells a file from one that was there before."""
    from torchmetrics.image import LearnedPerceptualImagePatchSimilarity

    read(source.path)  # torchvision would also run what a pickle holds
    with seeded(torch.device("cpu"), 0):
        net: nn.Module = LearnedPerceptualImagePatchSimilarity(net_type=source.name).net  # type: ignore[arg-type]
    return net.eval().requires_grad_(False)


@lru_cache(maxsize=1)
def dists(source: Source, changed: int) -> nn.Module:
    """DISTS with these weights of its network."""
    from torchmetrics.functional.image.dists import DISTSNetwork

    read(source.path)
    with seeded(torch.device("cpu"), 0):
        return DISTSNetwork().eval().requires_grad_(False)
