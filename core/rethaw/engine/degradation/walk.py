"""A degradation along the severities of one walk: what depends on them alone is computed once for all steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from rethaw.api import RethawError, Sampler, State
from rethaw.engine.degradation.hosted import AnyDegradation, Composition
from rethaw.ops import reciprocal, schedule


class Prepared:
    """Tensors for every severity of a walk (N+1, B), found again by the severity.

    It is recognised by its memory: samplers get views of `severities` (`rethaw.ops.severity_rows`), which live as long
    as this does.
    """

    def __init__(self, severities: Tensor, tensors: Iterable[Tensor]) -> None:
        self.severities, self.tensors = severities, tensors

    @cached_property
    def rows(self) -> dict[int, list[Tensor]]:
        """The tensors by severity, once one is asked for."""
        rows = zip(self.severities, *(each.to(self.severities.dtype) for each in self.tensors), strict=True)
        return {t.data_ptr(): row for t, *row in rows}

    def row(self, t: Tensor) -> list[Tensor] | None:
        """The tensors at one of the walk's severities (B,); None for any other."""
        return self.rows.get(t.data_ptr()) if t.shape == self.severities.shape[1:] else None


class Walk:
    """The degradation itself, but where D = α x0 + σ z, with α and σ of every step at hand.

    For a severity that is not of the walk the degradation is asked.
    """

    def __init__(self, degradation: AnyDegradation, severities: Tensor) -> None:
        self.degradation, self.severities, self.key = degradation, severities, z_key(degradation)
        _, self.α, self.σ = schedule(degradation, severities, severities.new_empty(severities.shape[1], 1, 1, 1))
        self.row = self.prepare(lambda α, σ: (α, σ, reciprocal(σ))).row
        if hasattr(degradation, "infer"):
            self.infer = self._infer

    def __getattr__(self, name: str) -> Any:
        return getattr(self.degradation, name)

    def prepare(self, derive: Callable[[Tensor, Tensor], Iterable[Tensor]]) -> Prepared:
        """What `derive` makes of α and σ, (N+1, B, 1, 1, 1) in float64, at hand for every severity of the walk."""
        return Prepared(self.severities, derive(self.α, self.σ))

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


def z_key(degradation: AnyDegradation | Walk) -> str:
    """The name of z in the state of a degradation α x0 + σ z."""
    bare = degradation.degradation if isinstance(degradation, Walk) else degradation
    return f"{bare.members[0].id}.z" if isinstance(bare, Composition) else "z"


def along(degradation: AnyDegradation, severities: Tensor) -> AnyDegradation | Walk:
    """A degradation prepared for a walk (N+1, B), where there is something to prepare."""
    return Walk(degradation, severities) if hasattr(degradation, "coefficients") else degradation


def grid(sampler: Sampler, degradation: AnyDegradation, start: float | Tensor) -> Tensor:
    """A sampler's severities from one start, (N+1,), or from one for each image, (N+1, B)."""
    if not isinstance(start, Tensor):
        return sampler.severities(degradation, start)
    rows = [sampler.severities(degradation, each) for each in start.tolist()]
    if len({len(row) for row in rows}) > 1:
        raise RethawError(
            "the sampler takes another number of steps for each of these severities",
            "Restore images of different severities one by one.",
        )
    return torch.stack(rows, 1)
