"""Networks that spandrel knows as backbones: input and output have one size, whatever the network enlarges by."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from spandrel import (
    MAIN_REGISTRY,
    ImageModelDescriptor,
    MaskedImageModelDescriptor,
    UnsupportedModelError,
    canonicalize_state_dict,
)
from torch import Tensor, nn

from rethaw.api import RethawError
from rethaw.ops import read_weights

if TYPE_CHECKING:
    from rethaw.api import Context
    from rethaw_spandrel.plugin import Model as Params

Described = ImageModelDescriptor[nn.Module] | MaskedImageModelDescriptor[nn.Module]
"""A network with what spandrel says of it."""

HOLE = 1e-6 - 1.0
"""The largest value of all channels where an image has a hole: masks leave black."""


class Model(nn.Module):
    """The network of `spandrel.model`. Raises RethawError for what spandrel does not know, and for other channels.

    trained: whether its weights are those of a file. It sees images in [0, 1], made small by the mean over squares if
    it enlarges, so that spandrel pads the small ones itself; one that fills holes is told that black is a hole.
    """

    accepts = ()

    def __init__(self, params: Params, context: Context) -> None:
        super().__init__()
        self.trained = params.path is not None
        found = read(params.path) if params.path else described(params)
        channels = found.input_channels, found.output_channels
        if channels != (context.in_channels, context.out_channels):
            raise RethawError(
                f"the network takes {channels[0]} channels and gives {channels[1]}, and the pipeline wants "
                f"{context.in_channels} and {context.out_channels}",
                f"Set restorer.channels={channels[0]} and restorer.variance=fixed.",
            )
        self.descriptor, self.model, self.scale = found, found.model, found.scale
        self.multiple = found.scale if found.scale > 1 else found.size_requirements.multiple_of

    def forward(self, x_t: Tensor, t: Tensor, cond: Mapping[str, Tensor]) -> Tensor:
        """x_t (B, C, H, W), sides multiples of the scale → the same size; t is not heard."""
        small = F.avg_pool2d(x_t, self.scale) if self.scale > 1 else x_t
        image = (small + 1) / 2
        if isinstance(self.descriptor, MaskedImageModelDescriptor):
            return filled(self.descriptor, image, (x_t <= HOLE).all(1, keepdim=True).to(image.dtype)) * 2 - 1
        call: Any = inspect.unwrap(type(self.descriptor).__call__)  # the same without inference mode, for gradients
        out: Tensor = call(self.descriptor, image)
        return out * 2 - 1


def filled(found: MaskedImageModelDescriptor[nn.Module], image: Tensor, mask: Tensor) -> Tensor:
    """Images (B, C, H, W) in [0, 1] with what their masks (B, 1, H, W) hide; one by one, as spandrel takes them."""
    return torch.cat([found(x, m) for x, m in zip(image.split(1), mask.split(1), strict=True)])


def described(params: Params) -> Described:
    """A network with random weights. Raises RethawError for a name or a hyperparameter that spandrel does not have."""
    known = MAIN_REGISTRY.get(params.architecture)
    if known is None:
        names = ", ".join(sorted(str(support.architecture.id) for support in MAIN_REGISTRY.architectures()))
        raise RethawError(f"spandrel has no architecture {params.architecture!r}", f"It has: {names}.")
    module = importlib.import_module(f"spandrel.architectures.{known.architecture.id}")
    classes = {c.__name__: c for c in vars(module).values() if isinstance(c, type) and issubclass(c, nn.Module)}
    if params.network not in classes:
        raise RethawError(
            f"{params.architecture} has no network {params.network!r}", f"It has: {', '.join(sorted(classes))}."
        )
    try:
        network = classes[params.network](**params.hyperparameters)
        found: Described = known.architecture.load(network.state_dict())
    except Exception as error:
        raise RethawError(f"the hyperparameters make no {params.network}: {type(error).__name__}: {error}") from error
    return found


def read(path: Path) -> Described:
    """The network in a file, in single precision; what the file holds beside weights is not taken, and never run."""
    state = canonicalize_state_dict(read_weights(path))
    if not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise RethawError(f"{path} holds no weights by name", "It is no checkpoint of a network, or one of a training.")
    try:
        found: Described = MAIN_REGISTRY.load(state)
    except UnsupportedModelError as error:
        raise RethawError(
            f"spandrel knows no architecture with the weights in {path}",
            'If it is a denoiser of deepinv: --importer "{use: deepinv.denoiser, model: DRUNet}" (rethaw-deepinv).',
        ) from error
    except Exception as error:
        raise RethawError(
            f"the weights in {path} do not fit the architecture that their names are of: {first_line(error)}",
            "Is the file whole, and unchanged?",
        ) from error
    return found.float().eval()


def first_line(error: Exception) -> str:
    """What went wrong, on a line."""
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"[:300]


def hyperparameters(network: Any) -> dict[str, Any]:
    """What a network was built with, as far as YAML can say it: the rest, a class of layers, is the default."""
    return {key: value for key, value in network.hyperparameters.items() if is_plain(value)}


def is_plain(value: object) -> bool:
    """Whether YAML can say it."""
    if isinstance(value, (list, tuple)):
        return all(is_plain(item) for item in value)
    return value is None or isinstance(value, (bool, int, float, str))
