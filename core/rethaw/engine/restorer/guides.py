"""Guides: each estimate x̂0 of the clean image is moved along the gradient of log p(wanted | x_t).

For Gaussian noise Tweedie's formula says how far: E[x0 | x_t, c] = E[x0 | x_t] + σ²/α ∇ log p(c | x_t), which is eq. 14
of Dhariwal and Nichol (2105.05233) read as a clean image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from rethaw.api import Guide, Prediction, Restore, RethawError
from rethaw.config.hosts import GuideHost
from rethaw.engine.degradation.hosted import Hosted
from rethaw.engine.faults import broken, naming
from rethaw.engine.restorer.conditioners import Values
from rethaw.ops import needs_coefficients, per_image

FAINT = 0.01  # least α that a gradient is divided by: at α = 0 nothing of x0 is left to see


@dataclass(frozen=True)
class Guiding:
    """A guide by its full name, and how it is followed. field: whose values it leads towards; None of one without."""

    name: str
    guide: Any
    host: GuideHost
    field: str | None = None

    def toward(self, values: Values, device: torch.device) -> Guiding:
        """Leading towards the values of its field."""
        if self.field is None:
            return self
        with naming(self.name, "reading what it is to lead towards"):
            return replace(self, guide=self.guide.toward(list(values[self.field]), device))

    def log_p(self, x: Tensor, x0_hat: Tensor, t: Tensor) -> Tensor:
        """What the guide says of each image, (B,)."""
        guide: Guide = self.guide
        found = guide.guide(x, x0_hat, t)
        if not isinstance(found, Tensor) or found.shape != t.shape:
            shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise broken(self.name, f"guide gives {shape}, not one log-probability an image, {tuple(t.shape)}")
        if not found.requires_grad:
            raise broken(self.name, "what guide gives depends neither on x nor on x0_hat, or is cut off from them")
        return found


def steered(restore: Restore, guides: Sequence[Guiding], degradation: Hosted) -> Restore:
    """`restore`, its estimates moved along the gradient of every guide.

    The gradient with respect to x_t, through the network where a guide says so, needs Gaussian noise. Raises
    RethawError where the degradation is none.
    """
    through = [each for each in guides if each.host.gradient == "network"]
    for each in through:
        check_gaussian(each, degradation)

    def moved(x: Tensor, t: Tensor) -> Prediction:
        with torch.set_grad_enabled(torch.is_grad_enabled() or bool(through)):
            seen = x if x.requires_grad or not through else x.detach().requires_grad_()
            found = restore(seen, t)
        shifts = [shift(each, seen, found.x0, t, degradation) for each in guides]
        if through and not torch.is_grad_enabled():
            found = Prediction(found.x0.detach(), found.log_var if found.log_var is None else found.log_var.detach())
        return found._replace(x0=sum(shifts, found.x0))

    return moved


def shift(by: Guiding, x: Tensor, x0_hat: Tensor, t: Tensor, degradation: Hosted) -> Tensor:
    """What one guide adds to x̂0: scale·Cov[x0 | x_t]·∇ log p with respect to x̂0, at severities of its interval.

    gradient: network. Cov = σ²/α ∂x̂0/∂x_t, so this is σ²/α of the gradient by x_t (2209.14687, 2302.07121).
    gradient: estimate. Cov is taken to be a multiple of the identity (2311.16424): σ²/(α² + σ²), what is not known of
    an image of unit variance; t for other degradations than Gaussian noise. A guide that looks at x_t itself, as a
    classifier of noisy images does, has the gradient with respect to x_t in both.
    """
    whole = by.host.gradient == "network"
    with torch.enable_grad(), naming(by.name, f"guiding images of shape {tuple(x.shape)}"):
        if not whole:
            x, x0_hat = x.detach().requires_grad_(), x0_hat.detach().requires_grad_()
        sources = [x] if whole else [x, x0_hat]
        log_p = by.log_p(x, x0_hat, t)
        found = torch.autograd.grad(log_p.sum(), sources, retain_graph=whole, allow_unused=True)
    parts = zip(found, (by_degraded, by_estimate), strict=False)
    scaled = [per_image(weight(by, t, degradation), x) * part for part, weight in parts if part is not None]
    low, high = by.host.interval
    w = by.host.scale * ((t >= low) & (t <= high)).to(x.dtype)
    return per_image(w, x) * sum(scaled[1:], scaled[0])


def by_degraded(by: Guiding, t: Tensor, degradation: Hosted) -> Tensor:
    """σ²/α, of a gradient with respect to x_t."""
    check_gaussian(by, degradation)
    α, σ = degradation.coefficients(t)
    found: Tensor = σ.square() / α.clamp_min(FAINT)
    return found


def by_estimate(by: Guiding, t: Tensor, degradation: Hosted) -> Tensor:
    """The variance of what x_t does not tell of x0, of a gradient with respect to x̂0."""
    if not degradation.gaussian:
        return t
    α, σ = degradation.coefficients(t)
    found: Tensor = σ.square() / (α.square() + σ.square())
    return found


def check_gaussian(by: Guiding, degradation: Hosted) -> None:
    """Raises RethawError where a gradient with respect to x_t has no use."""
    if lacking := needs_coefficients(degradation, gaussian=True):
        raise RethawError(
            f"{by.name} guides by the gradient with respect to x_t, which needs Gaussian noise, "
            f"and {degradation.name} is none: {lacking}",
            "Let it look at the estimate (gradient: estimate, a guide that uses x0_hat), or leave it out: guide=null.",
        )
