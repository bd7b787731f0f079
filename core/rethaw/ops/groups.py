"""Operators on some images of a batch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rethaw.api import State


def only(
    chosen: Tensor, operator: Callable[[Tensor, Tensor, State], Tensor], x: Tensor, u: Tensor, state: State
) -> Tensor:
    """The chosen images of x after an operator, the others as they are; chosen: (B,), truth values.

    On a CPU the operator sees the chosen ones alone; elsewhere all, since counting them would wait for the device.
    """
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return torch.where(chosen.view(-1, *(1,) * (x.dim() - 1)), operator(x, u, state), x)
    rows = chosen.nonzero().squeeze(1)
    if len(rows) == len(x):
        return operator(x, u, state)
    if not len(rows):
        return x.clone()
    return x.index_copy(0, rows, operator(x[rows], u[rows], {key: value[rows] for key, value in state.items()}))
