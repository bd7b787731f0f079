"""Whether a network attends to the whole image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

ATTENTION = ("softmax", "scaled_dot_product")
PRODUCTS = ("mm", "bmm")


class Products(TorchDispatchMode):
    """Notes whether there is attention, and how many values each matrix product sums over."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.attention, self.sums = False, list[int]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__.strip("_")
        self.attention |= name.startswith(ATTENTION)
        if name in PRODUCTS:
            self.sums.append(args[0].shape[-1])
        return func(*args, **(kwargs or {}))


@torch.no_grad()
def attends(network: Callable[[Tensor], object], small: Tensor, large: Tensor) -> bool:
    """Whether a network has a softmax, or (attention without one) products that sum over more of a larger image."""
    with Products() as first:
        network(small)
    with Products() as second:
        network(large)
    return bool(first.attention or first.sums != second.sums)
