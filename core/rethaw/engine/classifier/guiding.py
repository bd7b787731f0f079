"""Classifiers of degraded images, which classifier guidance follows (Dhariwal and Nichol 2021, 2105.05233)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rethaw.api import RethawError
from rethaw.engine.degradation.hosted import Hosted
from rethaw.engine.restorer.conditioners import Values
from rethaw.engine.restorer.guidance import Shift
from rethaw.ops import needs_coefficients, per_image

FAINT = 0.01  # least α that a gradient is divided by: at α = 0 nothing of x0 is left to see


class Classifier(nn.Module):
    """A network on images of unit scale, with the names of its classes: log p(class | x_t)."""

    def __init__(self, network: nn.Module, degradation: Hosted, params: Any) -> None:
        super().__init__()
        self.network, self.degradation = network, degradation
        self.field, self.classes = str(params.field), list(params.classes)

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        """x_t (B, C, H, W) = α x0 + σ z at t (B,) → (B, classes)."""
        α, σ = self.degradation.coefficients(t)
        logits: Tensor = self.network(x_t / per_image((α.square() + σ.square()).sqrt(), x_t), t)
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


def toward_label(classifier: Classifier, scale: float, values: Values, device: torch.device) -> Shift:
    """Classifier guidance to the labels among the values: x̂0 + scale·(σ²/α)·∇ log p(label | x_t).

    Eq. 14 of the paper, ε̂ - σ ∇ log p, read as a clean image x̂0 = (x_t - σ ε̂)/α.
    """
    if classifier.field not in values:
        raise RethawError("classifier guidance needs a label to guide to", f"Give it: --cond {classifier.field}=VALUE.")
    target = classifier.indices(list(values[classifier.field]), device)

    def shift(x: Tensor, t: Tensor) -> Tensor:
        α, σ = classifier.degradation.coefficients(t)
        return per_image(scale * σ.square() / α.clamp_min(FAINT), x) * gradient(classifier, x, t, target)

    return shift


def gradient(classifier: Classifier, x: Tensor, t: Tensor, target: Tensor) -> Tensor:
    """∇ log p(target | x_t) with respect to x_t, (B, C, H, W)."""
    weights = next(classifier.network.parameters())
    with torch.enable_grad():
        seen = x.detach().to(weights.dtype).requires_grad_()
        log_p = classifier(seen, t.to(weights.dtype)).gather(1, target[:, None]).sum()
        (found,) = torch.autograd.grad(log_p, seen)
    return found.to(x.dtype)
