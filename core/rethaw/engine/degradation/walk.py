"""α and σ of D = α x0 + σ z at every severity of one walk, computed once for all its steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property

import torch
from torch import Tensor

from rethaw.api import HasCoefficients
from rethaw.ops import reciprocal, schedule

Derive = Callable[[Tensor, Tensor], Iterable[Tensor]]


class Rows:
    """Tensors for every severity of a walk (N+1, B), looked up by the severity.

    A severity is recognised by where it lies in memory: samplers get the rows of `severities`
    (`rethaw.ops.severity_rows`), which live as long as this does. Address, strides, shape, dtype and version must all
    agree, so that no other view of that memory (a slice that is expanded, a row that was changed in place) is taken
    for a row.
    """

    def __init__(self, severities: Tensor, tensors: Iterable[Tensor]) -> None:
        self.severities, self.tensors = severities, tensors
        self.form = (severities.shape[1:], severities.stride()[1:], severities.dtype, severities._version)

    @cached_property
    def by_address(self) -> dict[int, list[Tensor]]:
        """The tensors of each row, made when the first is asked for."""
        rows = zip(self.severities, *(each.to(self.severities.dtype) for each in self.tensors), strict=True)
        return {t.data_ptr(): row for t, *row in rows}

    def at(self, t: Tensor) -> list[Tensor] | None:
        """The tensors at one of the walk's severities (B,); None for any other tensor."""
        row = self.by_address.get(t.data_ptr())
        return row if row and (t.shape, t.stride(), t.dtype, t._version) == self.form else None


class Walk:
    """What a degradation D = α x0 + σ z keeps at hand for the severities (N+1, B) of a walk."""

    def __init__(self, degradation: HasCoefficients, severities: Tensor) -> None:
        self.severities = severities
        _, self.α, self.σ = schedule(degradation, severities, severities.new_empty(severities.shape[1], 1, 1, 1))
        self.at = self.derive(lambda α, σ: (α, σ, reciprocal(σ))).at

    def derive(self, derive: Derive) -> Rows:
        """What `derive` makes of α and σ, (N+1, B, 1, 1, 1) in float64, for every severity of the walk."""
        return Rows(self.severities, derive(self.α, self.σ))

    def coefficients(self, t: Tensor) -> tuple[Tensor, Tensor] | None:
        """α and σ (B,) at one of the walk's severities."""
        row = self.at(t)
        return (row[0].view(-1), row[1].view(-1)) if row else None

    def degrade(self, x0: Tensor, t: Tensor, z: Tensor) -> Tensor | None:
        """α x0 + σ z at one of the walk's severities."""
        row = self.at(t)
        return torch.addcmul(row[0] * x0, row[1], z) if row else None

    def infer(self, x_t: Tensor, x0_hat: Tensor, t: Tensor) -> Tensor | None:
        """z = (x_t - α x̂0) / σ at one of the walk's severities."""
        row = self.at(t)
        return torch.addcmul(x_t, row[0], x0_hat, value=-1) * row[2] if row else None
