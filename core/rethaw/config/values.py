"""What a value means for a key of a certain type.

In a file, YAML says what a value is. On the command line nobody quotes for YAML, so there the type of the key decides:
a key that takes text or a path takes what stands after `=` as it is, whatever it contains. A path may begin with ~.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass, replace
from functools import cache
from itertools import chain, repeat
from pathlib import PurePath
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from rethaw.config.marks import Marked, Unread
from rethaw.files import expanded

NULLS = ("", "null")
"""What empties a key on the command line."""


@cache
def parameter_types(cls: type) -> Mapping[str, Any]:
    """The types of a parameter class by name; {} where one of them cannot be found."""
    try:
        return get_type_hints(cls, include_extras=True)
    except Exception:  # pydantic says what is wrong with it
        return {}


def meant(item: Marked, kind: Any) -> Marked:
    """A value as a key of this type takes it."""
    branches = list(union_members(kind))
    texts = [branch for branch in branches if takes_text(branch)]
    if item.text is not None and texts:
        item = replace(item, value=text_or_else(item, branches, texts), text=None)
    if texts and all(map(is_path, texts)) and isinstance(item.value, str) and item.value.startswith("~"):
        return replace(item, value=str(expanded(item.value)))
    for branch in branches:
        item = meant_inside(item, branch)
    return item


def text_or_else(item: Marked, branches: list[Any], texts: list[Any]) -> Any:
    """A word of the command line for a key that takes text, and perhaps something else.

    Where text is all that the key takes, the word is the text; `null` and nothing empty a key that may be empty, and a
    path is never empty. Where it takes other values too, the word is text unless YAML sees something else in it.
    """
    if NoneType in branches and item.text in NULLS:
        return None
    if any(branch is Any or (branch not in texts and branch is not NoneType) for branch in branches):
        compound = isinstance(item.value, list | dict)
        is_text = isinstance(item.value, str | Unread) or (item.value is None and Any not in branches)
        return item.text if is_text or (not compound and "#" in str(item.text)) else item.value
    return None if item.text == "" and all(map(is_path, texts)) else item.text


def meant_inside(item: Marked, kind: Any) -> Marked:
    """The items of a list and the values of a mapping, as this type takes them."""
    origin, args = get_origin(kind), get_args(kind)
    if item.items and args and isinstance(origin, type) and issubclass(origin, list | tuple | set | frozenset):
        fixed = origin is tuple and Ellipsis not in args
        kinds = chain(args, repeat(Any)) if fixed else repeat(args[0])
        return replace(item, value=[meant(one, of) for one, of in zip(item.items, kinds, strict=False)])
    if item.entries and len(args) == 2 and isinstance(origin, type) and issubclass(origin, Mapping):
        return replace(item, value={key: meant(one, args[1]) for key, one in item.entries.items()})
    if item.entries and isinstance(kind, type) and is_dataclass(kind):
        return replace(item, value=meant_parameters(item.entries, kind))
    return item


def meant_parameters(given: Mapping[str, Marked], cls: type) -> dict[str, Marked]:
    """Values by key as a parameter class takes them."""
    types = parameter_types(cls)
    return {key: meant(item, types.get(key, Any)) for key, item in given.items()}


def union_members(kind: Any) -> Iterator[Any]:
    """The branches of a union, to any depth, without annotations; a type that is none is its own only branch."""
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        yield from union_members(args[0])
    elif origin in (Union, UnionType):
        for branch in args:
            yield from union_members(branch)
    else:
        yield kind


def takes_text(kind: Any) -> bool:
    """Whether any text is a value of this type."""
    return kind is str or kind is Any or is_path(kind)


def is_path(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, PurePath | os.PathLike)
