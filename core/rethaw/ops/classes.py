"""Class names that a conditioner takes from its data."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol, TypeVar

from rethaw.api import Dataset, RethawError


class Classed(Protocol):
    """Parameters that name classes."""

    @property
    def classes(self) -> tuple[str, ...]: ...


P = TypeVar("P", bound=Classed)


def with_classes(params: P, dataset: Dataset) -> P:
    """Parameters with the classes of the training data, where they name none. Raises RethawError if it has none."""
    found = tuple(getattr(dataset, "classes", ()))
    if not params.classes and not found:
        raise RethawError("the training data has no labels", "core.folder takes them from the names of sub-folders.")
    unknown = set(found) - set(params.classes or found)
    if unknown:
        raise RethawError(f"the training data has labels that `classes` lacks: {', '.join(sorted(unknown))}")
    return replace(params, classes=params.classes or found)  # type: ignore[type-var]
