"""Validates the parts of a pipeline that are not components, and parameters, and collects what is wrong with them."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from rethaw.api import RethawError
from rethaw.config.marks import Mark, Marked, Problem, Unread
from rethaw.config.messages import complaints, describe
from rethaw.config.values import meant_parameters
from rethaw.config.yaml import IMPOSSIBLE, impossible, shortened

Parameters = TypeVar("Parameters")

MAX_UNKNOWN = 20
"""Of so many unknown keys of one mapping each is told, with a suggestion; the others are counted."""


@dataclass
class Check:
    """Validates parts of a tree and collects what is wrong with them."""

    problems: list[Problem] = field(default_factory=list)

    def add(self, mark: Mark, message: str, hint: str = "") -> None:
        """Reports a mistake."""
        self.problems.append(Problem(mark, message, hint))

    def refuse(self, node: Marked, message: str, hint: str = "") -> None:
        """Reports a value that cannot stand where it stands, or why it is no value at all."""
        if isinstance(node.value, Unread):
            self.problems += node.value.problems
        else:
            self.add(node.mark, message, hint)

    def unknown_keys(self, node: Marked, known: Sequence[str], path: str) -> None:
        """Reports keys that do not exist, with a close spelling."""
        unknown = [key for key in node.entries if key not in known]
        for key in unknown[:MAX_UNKNOWN]:
            close = difflib.get_close_matches(key, known, n=1, cutoff=0.6) if len(key) < 100 else []
            hint = f"Did you mean {close[0]}?" if close else f"The keys here are: {', '.join(known)}."
            self.add(node.place(key), f"unknown key {join(path, shortened(key))!r}", hint)
        if unknown[MAX_UNKNOWN:]:
            more = len(unknown) - MAX_UNKNOWN
            self.add(node.place(unknown[MAX_UNKNOWN]), f"and {more} more unknown keys in {path or 'the pipeline'}")

    def whole_number(self, tree: Marked, key: str, default: int) -> int | None:
        """A key that holds a whole number; None where it holds something else."""
        node = tree.entries.get(key)
        if node is None:
            return default
        if isinstance(node.value, int) and not isinstance(node.value, bool):
            return node.value
        self.refuse(node, f"{key} must be a whole number, not {describe(node.value)}")
        return None

    def section(self, tree: Marked, key: str, cls: type[Parameters]) -> Parameters | None:
        """A key with fixed keys of its own; None where it is absent or wrong."""
        node = tree.entries.get(key)
        if node is None:
            return None
        if not isinstance(node.value, dict):
            self.refuse(node, f"{key} must be a mapping of keys, not {describe(node.value)}")
            return None
        names = [f.name for f in fields(cls)]  # type: ignore[arg-type]
        self.unknown_keys(node, names, key)
        return self.params(cls, node, {name: item for name, item in node.entries.items() if name in names}, key)

    def params(self, cls: type[Parameters], node: Marked, given: Mapping[str, Marked], path: str) -> Parameters | None:
        """Validates parameters with pydantic, strictly: "4" is not a number and true is not 1."""
        given = meant_parameters(given, cls)
        refused = {key for key, item in given.items() if not self.usable(item, join(path, key))}
        text = json.dumps({key: item.plain() for key, item in given.items() if key not in refused})
        try:
            return adapter(cls).validate_json(text, strict=True)
        except ValidationError as error:
            for where, text, mark in complaints(error, given):
                if not where or where[0] not in refused:
                    self.add(mark or node.mark, join(path, *map(str, where)) + text)
        except RethawError as error:
            self.add(node.mark, f"{path}: {error.message}", error.hint)
        return None

    def usable(self, item: Marked, path: str) -> bool:
        """Whether a value can be handed to pydantic; says why not."""
        before = len(self.problems)
        if isinstance(item.value, Unread):
            self.problems += item.value.problems
        for node in scalars(item):
            if isinstance(node.value, float) and not math.isfinite(node.value):
                self.add(node.mark, f"{path} must be a finite number, not {node.value}")
            elif isinstance(node.value, str) and impossible(node.value):
                self.add(node.mark, f"{path}: {IMPOSSIBLE}")
        return len(self.problems) == before


def scalars(node: Marked) -> Iterator[Marked]:
    """The scalars in a value, to any depth."""
    below = [*node.items, *node.entries.values()]
    if not below:
        yield node
    for item in below:
        yield from scalars(item)


def adapter(cls: type[Parameters]) -> TypeAdapter[Parameters]:
    """Pydantic's validator for a parameter class, made once. Raises RethawError where it cannot be made."""
    return made_adapter(cast("Hashable", cls))


@cache
def made_adapter(cls: type) -> TypeAdapter[Any]:
    try:
        made: TypeAdapter[Any] = TypeAdapter(cls)
        made.rebuild(raise_errors=True)  # pydantic puts off a type that it cannot find
        return made
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise RethawError(
            f"the parameters {cls.__module__}.{cls.__qualname__} cannot be validated: {reason}"
        ) from error


def join(*parts: str) -> str:
    """A path in a pipeline, such as train.steps."""
    return ".".join(part for part in parts if part)
