"""timm's encoders by name: built with suggestions for a misspelt one, and never downloading unless asked."""

from __future__ import annotations

import difflib
import inspect
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import is_model, model_entrypoint, split_model_name_tag
from timm.models._features import FeatureDictNet, FeatureGetterNet
from torch import Tensor, nn

from rethaw.api import RethawError
from rethaw_timm.reach import attends

ANY_SIZE = {"strict_img_size": False, "dynamic_img_size": True}
"""What timm's transformers call it when they take images of any size."""

WINDOWS = (1, 2, 4, 7, 8, 12)
"""Sides of attention windows that an encoder's coarsest features may have to divide into."""


def variants() -> Mapping[str, Mapping[str, Any]]:
    """The names of timm's models, each as the parameters of `timm.unet`; some have no features."""
    return {name: {"encoder": name} for name in timm.list_models()}


def known(name: str) -> str:
    """The name of a timm model. Raises RethawError with close spellings for any other."""
    if is_model(name):
        return name
    bare = split_model_name_tag(name)[0]
    close = difflib.get_close_matches(bare, timm.list_models(), 3, 0.7)
    hint = f"Did you mean {' or '.join(close)}?" if close else f"rethaw backbones '{bare[:4]}*' lists names."
    raise RethawError(f"timm has no model {name!r}", hint)


def create(name: str, pretrained: bool, weights: Path | None, **options: Any) -> nn.Module:
    """A timm model, with the weights that it is told to have. Raises RethawError where they cannot be had."""
    known(name)
    if weights and not weights.is_file():
        raise RethawError(f"weights: {weights} is not a file")
    overlay = {"file": str(weights)} if weights else None
    try:
        model: nn.Module = timm.create_model(
            name, pretrained=pretrained or bool(weights), pretrained_cfg_overlay=overlay, **options
        )
    except Exception as error:
        if not (pretrained or weights) or isinstance(error, AttributeError):
            raise
        raise weights_error(name, weights, error) from error
    return model


def weights_error(name: str, weights: Path | None, error: Exception) -> RethawError:
    """Which file is wanted, and where to name it."""
    reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    if weights:
        return RethawError(f"{weights} does not hold weights of {name}: {reason}")
    cfg = timm.get_pretrained_cfg(name)
    source = cfg.hf_hub_id if cfg and cfg.hf_hub_id else ""
    wanted = (
        f"model.safetensors of {source}{f'{cfg.architecture}.{cfg.tag}' if source.endswith('/') else ''}"
        if cfg and source
        else "its weights"
    )
    return RethawError(
        f"the pretrained weights of {name} cannot be had: {reason}",
        f"Fetch {wanted} on a machine that is online, and name the file here: weights: PATH/model.safetensors.",
    )


def any_size(name: str) -> dict[str, Any]:
    """The options with which the model takes images of any size, as far as its classes have such options."""
    module = sys.modules[model_entrypoint(split_model_name_tag(name)[0]).__module__]
    classes = [c for c in vars(module).values() if inspect.isclass(c) and c.__module__ == module.__name__]
    taken = {option for c in classes if issubclass(c, nn.Module) for option in inspect.signature(c).parameters}
    return {option: value for option, value in ANY_SIZE.items() if option in taken}


class Encoder(nn.Module):
    """The feature maps of a timm model: (B, Cin, H, W) → those of `channels`, finest first, at the `strides`.

    `multiple`: sides must be multiples of it. `fixed_size`: it attends, so that a larger image is another
    task than the one that it was trained for.
    Raises RethawError for a model without features, or without any down to the stride.
    """

    def __init__(self, name: str, channels: int, stride: int, pretrained: bool, weights: Path | None) -> None:
        super().__init__()
        known(name)
        options = {"features_only": True, "in_chans": channels, **any_size(name)}
        probed = self.probe(name, options)
        if not isinstance(probed, FeatureDictNet | FeatureGetterNet):  # a class that computes the stages left out, too
            options["feature_cls"] = "getter"
        at = finest(probed.feature_info.reduction(), stride)
        if not at:
            raise RethawError(
                f"the encoder {name} has no features at stride {stride} or finer",
                f"It has them at stride {', '.join(map(str, dict.fromkeys(probed.feature_info.reduction())))}.",
            )
        self.model = create(name, pretrained, weights, out_indices=at, **options)
        info: Any = self.model.feature_info
        self.channels, self.strides = list(info.channels()), list(info.reduction())
        self.channels_last = str(getattr(self.model, "output_fmt", "NCHW")) in ("NHWC", "Format.NHWC")
        with evaluating(self), torch.no_grad():
            self.multiple = self.find_multiple(name, channels)
            images = (self.blank(channels, self.multiple, times * self.multiple) for times in (2, 4))
            self.fixed_size = attends(self, *images)

    def probe(self, name: str, options: Mapping[str, Any]) -> Any:
        """The whole encoder, for what its features are."""
        try:
            return timm.create_model(name, **options)
        except (AttributeError, RuntimeError, TypeError, AssertionError) as error:
            raise RethawError(f"the encoder {name} offers no features", self.examples()) from error

    @staticmethod
    def examples() -> str:
        """What to take instead."""
        return "Some that do: convnext_atto, resnet18, efficientnet_b0, swin_tiny_patch4_window7_224."

    def find_multiple(self, name: str, channels: int) -> int:
        """The side that images must be a multiple of: the coarsest stride, or more where windows have to fit."""
        reason = ""
        for window in WINDOWS:
            side = int(self.strides[-1]) * window
            try:
                maps = self(self.blank(channels, side, 2 * side))
            except (RuntimeError, AssertionError, ValueError) as error:
                reason = f": {str(error).splitlines()[0]}"
                continue
            if all(f.shape[-1] * s == 2 * side for f, s in zip(maps, self.strides, strict=True)):
                return side
        raise RethawError(f"the encoder {name} takes images of one size only{reason}", self.examples())

    def blank(self, channels: int, height: int, width: int) -> Tensor:
        """One image of zeros, where the weights are."""
        return torch.zeros(1, channels, height, width, device=next(self.parameters()).device)

    def forward(self, x: Tensor) -> list[Tensor]:
        maps: list[Tensor] = self.model(x)
        return [f.permute(0, 3, 1, 2) if self.channels_last else f for f in maps]


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode, for a block."""
    training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(training)


def finest(strides: list[int], most: int) -> list[int]:
    """The index of one map for each stride up to `most`: the last of those that have it."""
    return sorted({stride: i for i, stride in enumerate(strides) if stride <= most}.values())
