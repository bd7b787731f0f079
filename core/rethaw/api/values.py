"""What samplers, restorers and datasets hand round, and the error that a user can mend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

if TYPE_CHECKING:
    import torch
    from torch import Tensor

if TYPE_CHECKING:
    State = Mapping[str, Tensor]
    """Everything random about each image's degradation, batch first, drawn once and kept for the trajectory."""
    Cond = Mapping[str, Tensor]
    """What conditioners give: `vector` (B, D), `tokens` (B, L, D) with `tokens_mask`, `image` (B, C, H, W)."""
    Rng = torch.Generator | Sequence[torch.Generator]
    """One generator for the whole batch, or one for each image (then an image does not depend on its batch)."""
else:
    State = Cond = Mapping
    Rng = Any


class RethawError(Exception):
    """A mistake that its user can mend: the message says what is wrong and where, `hint` how to mend it.

    The command line prints both without a traceback and exits with code 2.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class Prediction(NamedTuple):
    """A restorer's answer R(x_t, t): the estimate of the clean image, (B, C, H, W).

    log_var: of a restorer that has learned the variance of a step, its place v between log β̃ (0) and log β (1), for
    each value; the sampler knows the step (2102.09672, eq. 15).
    """

    x0: Tensor
    log_var: Tensor | None = None


class Imported(NamedTuple):
    """What an importer makes of a source: a pipeline, as YAML says it, and the weights of its backbone.

    image_shape: (C, H, W) of the images that the network was trained on, () where the source does not say. notes: what
    its user must know of it.
    """

    pipeline: Mapping[str, Any]
    weights: Mapping[str, Tensor]
    image_shape: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()


class Step(NamedTuple):
    """One station of a trajectory: the severity (B,), x_t, and the clean image that the restorer saw in it."""

    t: Tensor
    x: Tensor
    x0_hat: Tensor


class SVD(NamedTuple):
    """Singular value decomposition of the linear part A = U diag(s) Vᵀ, as functions on batches of images.

    Ut and Vt give numbers along the singular vectors, as many as an image has, in any shape that s broadcasts to.
    """

    U: Any
    Ut: Any
    V: Any
    Vt: Any
    s: Tensor


class Item(TypedDict, total=False):
    """One example: `image` (C, H, W) in [-1, 1], where it is from, and what conditioners may ask for.

    degraded: what was observed of the image, in its shape, where the data are pairs.
    """

    image: Tensor
    path: str
    label: str
    caption: str
    degraded: Tensor
