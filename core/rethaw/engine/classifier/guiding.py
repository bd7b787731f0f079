"""Classifiers of degraded images, which classifier guidance follows (Dhariwal and Nichol 2021, 2105.05233)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from rethaw.api import Context, RethawError
from rethaw.engine.degradation.hosted import AnyDegradation
from rethaw.engine.restorer.conditioners import Values
from rethaw.engine.restorer.guidance import Shift
from rethaw.engine.run import CLASSIFIER, CONFIG, load_tensors
from rethaw.ops import mix_seed, needs_coefficients, per_image, seeded

if TYPE_CHECKING:
    from rethaw.engine.sampling.walking import Sampling

FAINT = 0.01  # least α that a gradient is divided by: at α = 0 nothing of x0 is left to see


class Classifier(nn.Module):
    """A network on images of unit scale, with the names of its classes: log p(class | x_t)."""

    def __init__(self, network: nn.Module, degradation: AnyDegradation, params: Any) -> None:
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
        unknown = sorted({str(label) for label in labels} - set(self.classes))
        if unknown:
            raise RethawError(
                f"the classifier knows no label {', '.join(unknown)}", f"Its labels are: {', '.join(self.classes)}."
            )
        return torch.tensor([self.classes.index(str(label)) for label in labels], device=device)


def build_classifier(pipeline: Sampling) -> Classifier:
    """The classifier of a pipeline, freshly initialised. Raises RethawError where the degradation is not Gaussian noise."""
    degradation, item = pipeline.degradation, pipeline.config.classifier
    lacking = needs_coefficients(degradation, gaussian=True)
    if lacking:
        raise RethawError(
            f"classifier guidance needs Gaussian noise, which {degradation.name} is not: {lacking}",
            "Guide by the condition instead (--guidance SCALE), which works with every degradation.",
        )
    if item is None:
        raise RethawError("the run has no classifier", "Train it: rethaw train-classifier RUN.")
    context = Context(pipeline.config.restorer.channels, len(item.params.classes))
    with seeded(pipeline.device, mix_seed(pipeline.config.seed, "classifier")):
        network = pipeline.registry.build("classifier", item.use, item.params, context)
    return Classifier(network, degradation, item.params).to(pipeline.device)


def load_classifier(pipeline: Sampling) -> Classifier:
    """The trained classifier in the folder of a run."""
    classifier = build_classifier(pipeline)
    path = (pipeline.folder or Path()) / CLASSIFIER
    if not path.is_file():
        raise RethawError("the run has no trained classifier", "Train it: rethaw train-classifier RUN.")
    try:
        classifier.network.load_state_dict(load_tensors(path))
    except RuntimeError as error:
        raise RethawError(
            f"{path} does not fit the classifier in {CONFIG}: {str(error).splitlines()[-1].strip()}",
            "Train it anew: rethaw train-classifier RUN.",
        ) from error
    return classifier.eval()


def leading(pipeline: Sampling, scale: float, values: Values) -> tuple[Shift, Values]:
    """Classifier guidance to the labels among the values: x̂0 + scale·(σ²/α)·∇ log p(label | x_t); and the other values.

    Eq. 14 of the paper, ε̂ - σ ∇ log p, read as a clean image x̂0 = (x_t - σ ε̂)/α.
    """
    classifier = load_classifier(pipeline)
    field = classifier.field
    if field not in values:
        raise RethawError("classifier guidance needs the label to lead to", f"Give it: --cond {field}=VALUE.")
    target = classifier.indices(list(values[field]), pipeline.device)

    def shift(x: Tensor, t: Tensor) -> Tensor:
        α, σ = classifier.degradation.coefficients(t)
        return per_image(scale * σ.square() / α.clamp_min(FAINT), x) * gradient(classifier, x, t, target)

    read = field in pipeline.conditioners.fields
    return shift, values if read else {key: value for key, value in values.items() if key != field}


def gradient(classifier: Classifier, x: Tensor, t: Tensor, target: Tensor) -> Tensor:
    """∇ log p(target | x_t) with respect to x_t, (B, C, H, W)."""
    weights = next(classifier.network.parameters())
    with torch.enable_grad():
        seen = x.detach().to(weights.dtype).requires_grad_()
        log_p = classifier(seen, t.to(weights.dtype)).gather(1, target[:, None]).sum()
        (found,) = torch.autograd.grad(log_p, seen)
    return found.to(x.dtype)
