"""The restorer R(x_t, t, c) → x̂0: backbone, parameterization and conditioners, always read as the clean image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rethaw.api import Cond, Context, Prediction, Restore, RethawError
from rethaw.config.model import Config
from rethaw.engine.parameterization import Parameterization
from rethaw.engine.tiles import tiled
from rethaw.ops import rand, seeded
from rethaw.registry import Registry


class Restorer(nn.Module):
    """A backbone and what the host needs to know of it."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.multiple = int(getattr(backbone, "multiple", 1))

    def forward(self, x_t: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """x_t (B, C, H, W), t (B,) → the bare output, which a `Parameterization` reads."""
        out: Tensor = self.backbone(x_t, t, cond)
        return out


def build_restorer(config: Config, registry: Registry, conditioners: Conditioners, out_channels: int) -> Restorer:
    """The restorer of a pipeline, freshly initialised from its seed, leaving the global random state alone."""
    context = Context(config.restorer.channels, out_channels, conditioners.widths)
    accepts = registry.find("backbone", config.backbone.use)[1].traits["accepts"]
    refused = sorted(set(context.cond) - set(accepts))
    if refused:
        raise RethawError(f"{config.backbone.use} does not take the condition {', '.join(refused)}")
    with seeded(torch.device("cuda" if torch.cuda.is_available() else "cpu"), config.seed):
        network = registry.build("backbone", config.backbone.use, config.backbone.params, context)
    return Restorer(network)


class Conditioners:
    """All conditioners of a pipeline as one: their keys are joined, vectors and images side by side."""

    def __init__(self, config: Config, registry: Registry) -> None:
        self.items = [(item, registry.build("conditioner", item.use, item.params)) for item in config.conditioner]
        keys = [key for _, c in self.items for key in c.widths]
        self.widths = {key: sum(c.widths.get(key, 0) for _, c in self.items) for key in dict.fromkeys(keys)}

    def encode(
        self, values: Mapping[str, Sequence[Any]], like: Tensor, generator: Any = None, drop: bool = False
    ) -> Cond:
        """Values by field → condition; drop: null each item's condition as often as it says, as training does."""
        parts: dict[str, list[Tensor]] = {}
        for item, conditioner in self.items:
            field = item.params.field
            if field not in values:
                raise RethawError(f"{item.use} needs {field!r} of each image, which the data does not have",
                                  f"Give it when sampling: --cond {field}=VALUE.")  # fmt: skip
            cond = conditioner.encode(values[field], like.device, generator)
            if drop and item.host.drop > 0:
                keep = rand(like, generator, ()) >= item.host.drop
                cond = select(keep, cond, conditioner.null(cond))
            for key, value in cond.items():
                parts.setdefault(key, []).append(value.to(like.dtype) if value.is_floating_point() else value)
        return {key: torch.cat(values, 1) for key, values in parts.items()}

    def null(self, like: Tensor) -> Cond:
        """The condition that says nothing, for each image of `like`."""
        parts: dict[str, list[Tensor]] = {}
        for _, conditioner in self.items:
            shapes = {key: (n, *like.shape[-2:]) if key == "image" else (n,) for key, n in conditioner.widths.items()}
            template = {key: like.new_zeros(like.shape[0], *shape) for key, shape in shapes.items()}
            for key, value in conditioner.null(template).items():
                parts.setdefault(key, []).append(value)
        return {key: torch.cat(values, 1) for key, values in parts.items()}


def select(keep: Tensor, yes: Cond, no: Cond) -> Cond:
    """Takes each image's condition from `yes` where keep (B,) is true, else from `no`."""
    return {key: torch.where(keep.view(-1, *(1,) * (yes[key].dim() - 1)), yes[key], no[key]) for key in yes}


def bind(restorer: Restorer, reading: Parameterization, config: Config, cond: Cond, null: Cond) -> Restore:
    """The `restore(x, t)` that samplers call: condition and guidance inside, any size, in tiles where it is large."""
    scale = config.guidance.scale if config.guidance and cond else 1.0
    if scale != 1.0:
        cond = {key: torch.cat([value, null[key]]) for key, value in cond.items()}
    weights = next(restorer.parameters(), None)

    def call(x: Tensor, t: Tensor) -> Prediction:
        seen, when = reading.inputs(x, t)
        dtype = x.dtype if weights is None else weights.dtype
        out = tiled(restorer, seen.to(dtype), when.to(dtype), cond, config.restorer.tile)
        return reading.read(out.to(x.dtype), x, t)

    def restore(x: Tensor, t: Tensor) -> Prediction:
        if scale != 1.0:
            with_cond, without = call(x.repeat(2, 1, 1, 1), t.repeat(2)).x0.chunk(2)
            found = Prediction(without + scale * (with_cond - without))
        else:
            found = call(x, t)
        return found._replace(x0=found.x0.clamp(-1, 1)) if config.restorer.clip else found

    return restore
