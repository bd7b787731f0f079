"""Guidance: the restorer as samplers call it, drawn towards a condition and away from its opposite.

Classifier-free guidance (2207.12598) extrapolates from the null or a negative condition, in an interval of severities
(2404.07724); classifier guidance (2105.05233) follows the gradient of a classifier of noisy images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from rethaw.api import Cond, Prediction, Restore, RethawError, State
from rethaw.config.model import Config, Guidance
from rethaw.engine.faults import naming
from rethaw.engine.restorer.conditioners import stacked
from rethaw.engine.restorer.network import Restorer
from rethaw.engine.restorer.parameterization import Parameterization
from rethaw.engine.restorer.tiles import Size, estimated
from rethaw.ops import per_image

Call = Callable[[Tensor, Tensor, Cond, int], list[Prediction]]
"""One call of the network for so many conditions of each image, one after the other in the batch."""


def pipeline_guidance(config: Config, guidance: Guidance | float | None) -> Guidance:
    """The pipeline's guidance, or another, or another scale. Raises RethawError where it is not trained for that."""
    if guidance is None:
        return config.guidance or Guidance()
    if not isinstance(guidance, Guidance):
        guidance = replace(config.guidance or Guidance(), scale=float(guidance))
    if problem := guidance.problem(config.conditioner):
        raise RethawError(*problem)
    return guidance


def network_call(
    restorer: Restorer, name: str, reading: Parameterization, size: Size | None, state: State | None
) -> Call:
    """Calls the network, a backbone of that name, in the dtype of its weights, and reads its output as clean images."""
    weights, fields = next(restorer.parameters(), None), 2 if reading.learned else 1

    def call(x: Tensor, t: Tensor, cond: Cond, times: int) -> list[Prediction]:
        x = reading.shown(x, t, state)
        dtype = x.dtype if weights is None else weights.dtype

        def estimate(pieces: Sequence[Tensor], cond: Cond) -> list[list[Tensor]]:
            shown = [reading.inputs(piece, t) for piece in pieces for _ in range(times)]
            seen, when = (torch.cat([each.to(dtype) for each in part]) for part in zip(*shown, strict=True))
            with naming(name, f"on images of shape {tuple(seen.shape)}"):
                out = restorer.backbone(seen, when, cond).chunk(len(shown))
            found = [reading.read(part.to(x.dtype), pieces[i // times], t) for i, part in enumerate(out)]
            flat = [each for prediction in found for each in prediction if each is not None]
            return [flat[i : i + fields * times] for i in range(0, len(flat), fields * times)]

        found = estimated(estimate, x, cond, size, restorer.multiple)
        return [Prediction(*found[i : i + fields]) for i in range(0, len(found), fields)]

    return call


def guided(call: Call, cond: Cond, null: Cond, guidance: Guidance) -> Restore:
    """The `restore(x, t)` that samplers call, with the condition inside.

    null: what guidance goes away from; the same object as `cond` where there is nothing to guide by.
    """
    plain = guidance.scale == 1 or cond is null
    return conditional(call, cond) if plain else classifier_free(call, cond, null, guidance)


def clipping(restore: Restore, bound: float) -> Restore:
    """`restore` with x̂0 in [-bound, bound]."""

    def restored(x: Tensor, t: Tensor) -> Prediction:
        found = restore(x, t)
        return found._replace(x0=clipped(found.x0, bound))

    return restored


def clipped(x0: Tensor, bound: float) -> Tensor:
    """x̂0 in [-bound, bound]; in place where that changes no other tensor, for a large image is large."""
    own = x0._base is None and not x0.requires_grad
    return x0.clamp_(-bound, bound) if own else x0.clamp(-bound, bound)


def conditional(call: Call, cond: Cond) -> Restore:
    """R(x_t, t, c)."""
    return lambda x, t: call(x, t, cond, 1)[0]


def classifier_free(call: Call, cond: Cond, null: Cond, guidance: Guidance) -> Restore:
    """R_null + w·(R_cond - R_null) with w = scale for t in the interval, else 1: one call of twice the batch."""
    both = stacked(cond, null)
    low, high = guidance.interval

    def restore(x: Tensor, t: Tensor) -> Prediction:
        found, opposite = call(x, t, both, 2)
        w = per_image(torch.where((t >= low) & (t <= high), guidance.scale, 1.0), x)
        return found._replace(x0=opposite.x0 + w * (found.x0 - opposite.x0))

    return restore
