"""A degradation along the severities of one walk: what depends on them alone is computed once for all steps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rethaw.api import State
from rethaw.engine.degradation import AnyDegradation, Composition
from rethaw.ops import inverse


class Walk:
    """The degradation itself, but where D = α x0 + σ z, with α and σ of every step at hand.

    A severity is recognised by its memory: samplers get views of `severities` (`rethaw.ops.severity_pairs`), which
    lives as long as this does. For any other severity the degradation is asked.
    """

    def __init__(self, degradation: AnyDegradation, severities: Tensor) -> None:
        self.degradation, self.severities = degradation, severities
        self.key = f"{degradation.members[0].id}.z" if isinstance(degradation, Composition) else "z"
        α, σ = (c.view(*severities.shape, 1, 1, 1) for c in degradation.coefficients(severities.flatten()))
        rows = zip(severities, α, σ, inverse(σ), strict=True)
        self.rows = {t.data_ptr(): coefficients for t, *coefficients in rows}
        if hasattr(degradation, "infer"):
            self.infer = self._infer

    def __getattr__(self, name: str) -> Any:
        return getattr(self.degradation, name)

    def row(self, t: Tensor) -> list[Tensor] | None:
        """α, σ and 1/σ at one of the walk's severities, (B, 1, 1, 1) each."""
        return self.rows.get(t.data_ptr()) if t.shape == self.severities.shape[1:] else None

    def coefficients(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """α and σ, (B,) each."""
        row = self.row(t)
        return self.degradation.coefficients(t) if row is None else (row[0].view(-1), row[1].view(-1))

    def degrade(self, x0: Tensor, t: Tensor, state: State) -> Tensor:
        """D(x0, t, ξ)."""
        row = self.row(t)
        if row is None:
            return self.degradation.degrade(x0, t, state)
        return torch.addcmul(row[0] * x0, row[1], state[self.key])

    def _infer(self, x_t: Tensor, x0_hat: Tensor, t: Tensor, state: State) -> State:
        row = self.row(t)
        if row is None:
            return self.degradation.infer(x_t, x0_hat, t, state)  # type: ignore[no-any-return]
        return {self.key: torch.addcmul(x_t, row[0], x0_hat, value=-1) * row[2]}


def along(degradation: AnyDegradation, severities: Tensor) -> AnyDegradation | Walk:
    """A degradation prepared for a walk (N+1, B), where there is something to prepare."""
    return Walk(degradation, severities) if hasattr(degradation, "coefficients") else degradation
