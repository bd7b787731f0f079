"""The pixel-space U-Net of diffusers as a backbone; severities become its timesteps here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from diffusers import UNet2DModel
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from rethaw.api import RethawError
from rethaw.ops import level, read_weights
from rethaw_diffusers.folder import check_weights, network_config, parts

if TYPE_CHECKING:
    from rethaw.api import Context
    from rethaw_diffusers.plugin import UNet as Params


MODEL: Any = UNet2DModel  # whose types tell less than it has
SMALL = {
    "block_out_channels": (32, 64, 128),
    "down_block_types": ("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
}
"""A network for whoever names none; diffusers' own is a hundred times as large."""


class UNet(nn.Module):
    """The network of `diffusers.unet`. Raises RethawError for weights that cannot be had, or of other channels.

    trained: whether its weights are those of a folder. fixed_size: it attends to all pixels.
    """

    accepts = ()

    def __init__(self, params: Params, context: Context) -> None:
        super().__init__()
        self.trained, self.timesteps, self.out = bool(params.path), params.timesteps, context.out_channels
        channels = {"in_channels": context.in_channels, "out_channels": context.out_channels}
        if params.path:
            self.network = trained(parts(params.path)[0])
        else:
            self.network = fresh({**channels, **(params.config or SMALL)})
        own = self.network.config
        if own.in_channels != context.in_channels or own.out_channels < context.out_channels:
            raise RethawError(
                f"the network takes {own.in_channels} channels and gives {own.out_channels}, and the pipeline "
                f"wants {context.in_channels} and {context.out_channels}",
                f"Set restorer.channels={own.in_channels}; restorer.variance=learned wants twice as many out.",
            )
        self.multiple = 2 ** (len(own.block_out_channels) - 1)
        self.fixed_size = any(isinstance(module, Attention) for module in self.network.modules())
        self.image_shape = image_shape(own)

    def forward(self, x_t: Tensor, t: Tensor, cond: Mapping[str, Tensor]) -> Tensor:
        """x_t (B, C, H, W), t (B,) → (B, out_channels, H, W): the mean alone if that is wanted."""
        timestep = (level(t, self.timesteps) - 1).clamp_min(0)
        out: Tensor = self.network(x_t, timestep, return_dict=False)[0]
        return out[:, : self.out]


def image_shape(config: Any) -> tuple[int, ...]:
    """(C, H, W) of the images that a network was trained on; () where its config does not say."""
    size = config.sample_size
    height, width = size if isinstance(size, (list, tuple)) else (size, size)
    return (int(config.in_channels), int(height), int(width)) if size else ()


def fresh(config: Mapping[str, Any]) -> Any:
    """A network with random weights. Raises RethawError for a config that describes none."""
    try:
        return MODEL.from_config(dict(config))
    except Exception as error:
        raise RethawError(f"config describes no UNet2DModel: {described(error)}", "It is as in config.json.") from error


def trained(folder: Path) -> Any:
    """The network of a folder with its weights; nothing of the folder is run, and nothing is downloaded."""
    fresh(network_config(folder))
    pickles = check_weights(folder)
    for file in pickles:
        read_weights(file)
    how = {"local_files_only": True, "use_safetensors": not pickles, "torch_dtype": torch.float32}
    try:
        found, how_it_went = MODEL.from_pretrained(folder, output_loading_info=True, **how)
    except Exception as error:
        raise RethawError(
            f"the weights in {folder} cannot be loaded: {described(error)}", "Copy the whole folder anew."
        ) from error
    if wrong := [key for what in ("missing_keys", "unexpected_keys", "mismatched_keys") for key in how_it_went[what]]:
        raise RethawError(f"the weights in {folder} are not those of its config.json: {wrong[0]} and perhaps others")
    return found


def described(error: Exception) -> str:
    """What went wrong, on a line."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]
