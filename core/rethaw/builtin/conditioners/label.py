"""Class labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from rethaw.api import Cond, Dataset, RethawError, Rng
from rethaw.builtin.conditioners.params import Label as Params
from rethaw.builtin.datasets.listing import nfc
from rethaw.ops import with_classes


class Label:
    """A label as a one-hot `vector` (B, classes); the null condition is all zeros."""

    def __init__(self, params: Params) -> None:
        self.params = params
        self.index = {nfc(name): i for i, name in enumerate(params.classes)}
        self.widths = {"vector": len(params.classes)}

    @classmethod
    def resolve(cls, params: Params, dataset: Dataset) -> Params:
        """Takes the classes from the training data where the YAML names none."""
        return with_classes(params, dataset)

    def encode(self, values: Sequence[Any], device: torch.device, generator: Rng | None) -> Cond:
        labels = [nfc(str(value)) for value in values]
        unknown = sorted(set(labels) - set(self.index))
        if unknown:
            raise RethawError(f"unknown label {', '.join(unknown)}", f"The labels are: {', '.join(self.index)}.")
        at = torch.tensor([self.index[label] for label in labels], device=device)
        return {"vector": torch.nn.functional.one_hot(at, len(self.index)).float()}

    def null(self, like: Cond) -> Cond:
        return {key: torch.zeros_like(value) for key, value in like.items()}
