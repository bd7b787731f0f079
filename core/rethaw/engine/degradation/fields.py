"""Fields of the data's items that a degradation asks for, such as what was observed of each image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from rethaw.api import RethawError

Fields = Mapping[str, Tensor]
"""By name, batch first."""

NONE: Fields = {}
HOW_TO_HAVE = {"degraded": "core.pairs has it: data: {use: core.pairs, path: pairs/}."}


def asked_of(items: Mapping[str, Any], dataset: str, asked: Iterable[str], name: str) -> dict[str, Tensor]:
    """The fields that the degradation `name` asks for, of a dataset's items: by field a tensor for each image.

    Raises RethawError where they have no such field, or it is none of tensors of one shape.
    """
    return {field: batched(items, dataset, field, name) for field in asked}


def batched(items: Mapping[str, Any], dataset: str, field: str, name: str) -> Tensor:
    """One field of the items, batch first."""
    if field not in items:
        raise RethawError(
            f"{dataset} gives no {field!r} of its images, which {name} asks for",
            HOW_TO_HAVE.get(field, f"Take a dataset whose items have {field!r}, or another degradation."),
        )
    values = list(items[field])
    if not all(isinstance(value, Tensor) for value in values):
        raise RethawError(f"{name} asks for {field!r}, which is no tensor in the items of {dataset}")
    if len(shapes := {tuple(value.shape) for value in values}) > 1:
        raise RethawError(f"{dataset} gives {field!r} of several shapes in one batch: {sorted(shapes)}")
    return torch.stack(values)


def on(like: Tensor, items: Fields, asked: Iterable[str], name: str) -> dict[str, Tensor]:
    """The fields that a degradation asks for, of the items that it is for, where `like` is and in its dtype."""
    if missing := [field for field in asked if field not in items]:
        raise RethawError(
            f"{name} asks for {missing[0]!r} of each image, which only data can give, and there are none here",
            "An image that is degraded already is restored as it is: rethaw restore RUN FILE, without --degrade.",
        )
    each = {field: items[field] for field in asked}
    return {key: v.to(like.device, like.dtype if v.is_floating_point() else v.dtype) for key, v in each.items()}
