"""Classifiers of degraded images, which classifier guidance follows (Dhariwal and Nichol 2021, 2105.05233)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rethaw.api import RethawError
from rethaw.engine.degradation.hosted import Hosted
from rethaw.ops import needs_coefficients, per_image


class Classifier(nn.Module):
    """A network on images of unit scale, with the names of its classes: log p(class | x_t)."""

    def __init__(self, network: nn.Module, degradation: Hosted, params: Any) -> None:
        super().__init__()
        self.network, self.degradation = network, degradation
        self.field, self.classes = str(params.field), list(params.classes)

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        """x_t (B, C, H, W) = α x0 + σ z at t (B,) → (B, classes)."""
        α, σ = self.degradation.coefficients(t)
        unit = x_t / per_image((α.square() + σ.square()).sqrt(), x_t)
        logits: Tensor = self.network(unit, self.degradation.settle(t))
        return logits.log_softmax(1)

    def indices(self, labels: Sequence[Any], device: torch.device) -> Tensor:
        """Labels as numbers (B,)."""
        if unknown := sorted({str(label) for label in labels} - set(self.classes)):
            raise RethawError(
                f"the classifier knows no label {', '.join(unknown)}", f"Its labels are: {', '.join(self.classes)}."
            )
        return torch.tensor([self.classes.index(str(label)) for label in labels], device=device)

    @staticmethod
    def check(degradation: Hosted) -> None:
        """Raises RethawError where the degradation is not Gaussian noise."""
        if lacking := needs_coefficients(degradation, gaussian=True):
            raise RethawError(
                f"classifier guidance needs Gaussian noise, which {degradation.name} is not: {lacking}",
                "Guide by the condition instead (--guidance SCALE), which works with every degradation.",
            )

    def toward(self, values: Sequence[Any], device: torch.device) -> TowardLabel:
        """The guide towards these labels."""
        return TowardLabel(self, self.indices(values, device))


@dataclass(frozen=True)
class TowardLabel:
    """Classifier guidance: log p(label | x_t), by x_t as it is; target: the labels as numbers (B,)."""

    classifier: Classifier
    target: Tensor

    def guide(self, x: Tensor, x0_hat: Tensor, t: Tensor) -> Tensor:
        """log p(label | x_t), (B,)."""
        weights = next(self.classifier.network.parameters())
        log_p: Tensor = self.classifier(x.to(weights.dtype), t.to(weights.dtype))
        return log_p.gather(1, self.target[:, None])[:, 0]
