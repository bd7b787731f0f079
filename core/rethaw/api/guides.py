"""The contract of guides, which lead a walk towards what is wanted by the gradient of a log-probability."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Guide(Protocol):
    """Says how well each image fits what is wanted; the host follows its gradient, as its host keys say.

    A guide that leads towards a value of its user's (a caption, a label) has `field` among its parameters and a method
    `toward(values, device) -> Guide`, which the host asks before a walk with one value an image. Where the user gives
    none, it is not followed.
    """

    def guide(self, x: Tensor, x0_hat: Tensor, t: Tensor) -> Tensor:
        """log p(wanted | x_t) of each image, (B,), but for a constant: any energy with the sign turned.

        x: x_t, (B, C, H, W). x0_hat: the restorer's estimate of the clean image, unclipped. t: the severities (B,). It
        uses x, x0_hat or both by differentiable operations, each image as if it were alone.
        """
        ...


class TowardValues(Guide, Protocol):
    """Leads towards values of the user's."""

    def toward(self, values: Sequence[Any], device: torch.device) -> Guide:
        """The guide towards these values, one an image of the batch."""
        ...
