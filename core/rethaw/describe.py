"""Describes components for people: each parameter's type in words, default and meaning, and what a spec declares."""

from __future__ import annotations

from dataclasses import MISSING, Field, fields
from inspect import signature
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from rethaw import api
from rethaw.api import Spec
from rethaw.isolate import shown


def param_docs(params: type) -> dict[str, str]:
    """The line of a parameter class's docstring, or of its bases', that explains each parameter (`name: text`)."""
    docs: dict[str, str] = {}
    names = {f.name for f in fields(params)}
    current = ""
    for line in "\n\n".join(map(docstring, reversed(params.__mro__))).splitlines():
        head, colon, rest = line.strip().partition(":")
        if colon and head in names:
            current = head
            docs[current] = rest.strip()
        elif current and line.strip():
            docs[current] += " " + line.strip()
        else:
            current = ""
    return docs


def docstring(cls: type) -> str:
    """A class's own docstring; "" where it has none, or something else in its place."""
    return cls.__doc__ if isinstance(cls.__doc__, str) else ""


def param_rows(params: type) -> list[tuple[str, str, str, str]]:
    """(name, type, default, explanation) of each parameter, for people."""
    docs, types = param_docs(params), param_types(params)
    return [(f.name, types[f.name], default_words(f), docs.get(f.name, "")) for f in fields(params)]


def default_words(f: Field[Any]) -> str:
    """A parameter's default as Python writes it."""
    if f.default is MISSING and f.default_factory is MISSING:
        return "required"
    return shown(f.default if f.default_factory is MISSING else f.default_factory())


def param_types(params: type) -> dict[str, str]:
    """Each parameter's type in words: "number > 0", "one of vp, ve, flow"."""
    try:
        return {name: type_words(kind) for name, kind in get_type_hints(params, include_extras=True).items()}
    except (NameError, TypeError):  # a type that only type checkers see
        return {f.name: str(f.type) for f in fields(params)}


WORDS = {
    int: "whole number",
    float: "number",
    str: "text",
    bool: "true or false",
    Path: "path",
    Any: "anything",
    type(None): "none",
}
BOUNDS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}


def type_words(kind: Any) -> str:
    """One type as a person would say it."""
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        bounds = [
            f"{sign} {getattr(note, name):g}"
            for note in args[1:]
            for name, sign in BOUNDS.items()
            if isinstance(getattr(note, name, None), (int, float))
        ]
        return " ".join([type_words(args[0]), " and ".join(bounds)]).strip()
    if origin is Literal:
        return f"one of {', '.join(map(str, args))}"
    if origin in (Union, UnionType):
        return " or ".join(type_words(arg) for arg in args)
    if origin in (tuple, list):
        many = Ellipsis in args or origin is list
        return f"list of {type_words(args[0])}" if many else f"[{', '.join(map(type_words, args))}]"
    return WORDS.get(kind, getattr(kind, "__name__", str(kind)))


def declared(spec: Spec) -> list[str]:
    """What a spec says of its component beyond the defaults: "linear", "channels 3", "not differentiable"."""
    given = signature(getattr(api, spec.kind)).parameters
    traits = {key: value for key, value in spec.traits.items() if value != given[key].default}
    return [
        key if value is True else f"not {key}" if value is False else f"{key} {value}" for key, value in traits.items()
    ]
