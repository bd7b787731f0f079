"""Values that remember where they stand in a file, and mistakes with their places."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rethaw.api import RethawError

Scalar = str | int | float | bool | None

MAX_PROBLEMS = 50
"""So many mistakes are shown at once; the others are counted."""


@dataclass(frozen=True)
class Mark:
    """A place in a file, or a word of the command line (then without a line)."""

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in a config, where, and how to mend it."""

    mark: Mark
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.mark}: {self.message}" + (f"\n    {self.hint}" if self.hint else "")


class ConfigError(RethawError):
    """All that is wrong with a config, at once."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = sorted(dict.fromkeys(problems), key=lambda p: (p.mark.source, p.mark.line, p.mark.column))
        lines = [str(problem) for problem in self.problems[:MAX_PROBLEMS]]
        more = len(self.problems) - len(lines)
        super().__init__("\n".join([*lines, f"… and {more} more mistakes"] if more else lines))


@dataclass(frozen=True)
class Unread:
    """Text of the command line that is not valid YAML; it is still the value of a key that takes text."""

    problems: tuple[Problem, ...]


@dataclass
class Marked:
    """A value and its place.

    value: a scalar, a dict of Marked, a list of Marked, or Unread.
    keys: where the keys of a dict stand.
    text: what stands on the command line for this value; None for a value from a file.
    """

    value: Scalar | dict[str, Marked] | list[Marked] | Unread
    mark: Mark
    keys: dict[str, Mark] = field(default_factory=dict)
    text: str | None = None

    @property
    def entries(self) -> dict[str, Marked]:
        """The values of a mapping by key; {} of anything else."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def items(self) -> list[Marked]:
        """The items of a list; [] of anything else."""
        return self.value if isinstance(self.value, list) else []

    def plain(self) -> object:
        """The value without marks."""
        if isinstance(self.value, dict):
            return {key: item.plain() for key, item in self.value.items()}
        if isinstance(self.value, list):
            return [item.plain() for item in self.value]
        return self.value

    def place(self, key: str) -> Mark:
        """Where a key stands, or the beginning of the mapping."""
        return self.keys.get(key, self.mark)


def marked(value: object, mark: Mark) -> Marked:
    """Plain Python data as Marked, all at one place."""
    if isinstance(value, Mapping):
        entries = {str(key): marked(item, mark) for key, item in value.items()}
        return Marked(entries, mark, dict.fromkeys(entries, mark))
    if isinstance(value, list | tuple):
        return Marked([marked(item, mark) for item in value], mark)
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, Scalar):
        raise RethawError(f"{mark}: a {type(value).__name__} cannot be the value of a parameter")
    return Marked(value, mark)
