"""The denoisers of deepinv as backbones; severities become its noise levels here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from rethaw.api import RethawError
from rethaw.ops import exploding_sigma, read_weights

if TYPE_CHECKING:
    from rethaw.api import Context
    from rethaw_deepinv.plugin import Denoiser as Params

CHANNELS = {"FFDNet": ("img_channels",), "SCUNet": ("in_nc",), "SwinIR": ("in_chans",)}
"""What a class calls the channels of images, if not in_channels and out_channels."""

MULTIPLE = {"DRUNet": 8, "FFDNet": 2, "Restormer": 8, "SwinIR": 8, "SCUNet": 64}
"""What sides must be multiples of, so that tiles lie as the whole picture does."""


class Denoiser(nn.Module):
    """The network of `deepinv.denoiser`. Raises RethawError for options and weights that do not make one.

    trained: whether its weights are those of a file.
    """

    accepts = ()

    def __init__(self, params: Params, context: Context) -> None:
        super().__init__()
        if context.in_channels != context.out_channels:
            raise RethawError("a denoiser gives as many channels as it takes", "Set restorer.variance=fixed.")
        self.params, self.trained = params, params.path is not None
        self.network = build(params.model, params.options, context.in_channels)
        self.multiple = MULTIPLE.get(params.model, 1)
        if params.path:
            load(self.network, params.path, params.model)

    def forward(self, x_t: Tensor, t: Tensor, cond: Mapping[str, Tensor]) -> Tensor:
        """x_t (B, C, H, W), t (B,) → the clean images (B, C, H, W)."""
        σ = exploding_sigma(t, self.params.sigma_min, self.params.sigma_max) / 2  # deepinv has images in [0, 1]
        out: Tensor = self.network((x_t + 1) / 2, σ.to(x_t.dtype))
        return out * 2 - 1


def build(model: str, options: Mapping[str, Any], channels: int) -> nn.Module:
    """A network with random weights; nothing is downloaded."""
    import deepinv.models

    names = CHANNELS.get(model, ("in_channels", "out_channels"))
    fixed = {"pretrained": None, "device": None, **dict.fromkeys(names, channels)}
    if taken := sorted(set(options) & set(fixed)):
        raise RethawError(
            f"options: {', '.join(taken)} is set already", "Channels are restorer.channels, weights path."
        )
    try:
        built: nn.Module = getattr(deepinv.models, model)(**fixed, **options)
    except Exception as error:
        raise RethawError(f"the options make no {model}: {type(error).__name__}: {error}") from error
    return built


def load(network: nn.Module, path: Path, model: str) -> None:
    """Loads a file's weights, and nothing else of it."""
    found = read_weights(path)
    nested = found.get("state_dict", found)
    if not isinstance(nested, dict) or not nested or not all(isinstance(v, Tensor) for v in nested.values()):
        raise RethawError(f"{path} holds no weights by name", "It is no checkpoint of a network, or one of a training.")
    try:
        network.load_state_dict(nested)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise RethawError(
            f"{path} does not hold the weights of this {model}: {reason}", "See its model and options in deepinv."
        ) from error
