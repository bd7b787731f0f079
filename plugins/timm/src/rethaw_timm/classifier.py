"""A timm classifier of degraded images, for classifier guidance (2105.05233)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from rethaw.ops import with_classes
from rethaw_timm.encoder import any_size, create, known

if TYPE_CHECKING:
    from rethaw.api import Context, Dataset
    from rethaw_timm.plugin import Classifier as Params


class Classifier(nn.Module):
    """The network of `timm.classifier`. Raises RethawError for a model that timm does not have."""

    def __init__(self, params: Params, context: Context) -> None:
        super().__init__()
        options = {"in_chans": context.in_channels, "num_classes": context.out_channels}
        self.model = create(params.model, False, None, **options, **any_size(known(params.model)))

    @classmethod
    def resolve(cls, params: Params, dataset: Dataset) -> Params:
        """Takes the classes from the training data where the YAML names none."""
        return with_classes(params, dataset)

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        """x_t (B, C, H, W), t (B,) → logits (B, classes)."""
        logits: Tensor = self.model(x_t)
        return logits
