"""What pydantic finds wrong with parameters, in our words: by its errors' types and context, never by its English."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from rethaw.config.marks import Mark, Marked
from rethaw.config.yaml import shortened

EXPECTED: dict[str, str] = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a smaller whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "string_unicode": "text",
    "string_not_ascii": "text of plain letters, digits and signs",
    "string_pattern_mismatch": "text that matches {pattern}",
    "path_type": "a path",
    "none_required": "null",
    "literal_error": "{expected}",
    "enum": "{expected}",
    "tuple_type": "a list",
    "list_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "iterable_type": "a list",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "dataclass_type": "a mapping",
    "model_type": "a mapping",
    "greater_than": "greater than {gt:.12g}",
    "greater_than_equal": "at least {ge:.12g}",
    "less_than": "less than {lt:.12g}",
    "less_than_equal": "at most {le:.12g}",
    "multiple_of": "a multiple of {multiple_of:.12g}",
}
"""What a value must be, by the type of pydantic's error; the words in braces are from the error's context."""

STATED: dict[str, str] = {
    "missing": "is missing",
    "unexpected_keyword_argument": "is an unknown key",
    "extra_forbidden": "is an unknown key",
    "too_short": "must have at least {min_length} values, not {actual_length}",
    "too_long": "must have at most {max_length} values, not {actual_length}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
}
"""What is wrong with a value, for errors that need no "not …" after it."""

OWN_WORDS = ("value_error", "assertion_error")
"""Errors that a parameter class raises itself."""

NAMING = ("missing", "unexpected_keyword_argument", "extra_forbidden")
"""Errors about a key that is not there, or that should not be."""

LISTS = ("tuple_type", "list_type", "set_type", "frozen_set_type")
WORDS = ("literal_error", "enum")


MAX_ERRORS = 200
"""So many errors of one component are looked at; a long list may have one for each item."""


class Complaint(NamedTuple):
    """One thing that is wrong with parameters.

    where: the key, and what leads on from it; () for all parameters together.
    text: what is wrong, to follow the name of the place.
    """

    where: tuple[str | int, ...]
    text: str
    mark: Mark | None


def complaints(error: ValidationError, given: Mapping[str, Marked]) -> Iterator[Complaint]:
    """One complaint for each place: the branches of a union make one sentence.

    Where one branch got deeper into a value than another, it is the one that was meant.
    """
    grouped: dict[tuple[str | int, ...], list[ErrorDetails]] = {}
    for item in error.errors(include_url=False)[:MAX_ERRORS]:
        grouped.setdefault(place(item, given), []).append(item)
    above = {where[:depth] for where in grouped for depth in range(1, len(where))}
    for where, items in grouped.items():
        if where not in above:
            text = sentence(items)
            yield Complaint(where, text, mark_of(where, given) or mark_of_key_in(text, given))


def sentence(items: Sequence[ErrorDetails]) -> str:
    """The errors at one place as one text that follows the name of the place."""
    value = items[0]["input"]
    unmeant = LISTS if isinstance(value, str) else WORDS if isinstance(value, list) else ()
    items = [item for item in items if item["type"] not in unmeant] or items  # of `word | list`, what was meant
    expected = dict.fromkeys(fill(EXPECTED[item["type"]], item) for item in items if item["type"] in EXPECTED)
    must = [f" must be {' or '.join(expected)}, not {describe(value)}"] if expected else []
    return "; or".join(dict.fromkeys(must + [statement(item) for item in items if item["type"] not in EXPECTED]))


def statement(item: ErrorDetails) -> str:
    """An error that says more than what was expected; pydantic's own text where its type is new to us."""
    if item["type"] in STATED:
        return f" {fill(STATED[item['type']], item)}"
    text = str(item["ctx"]["error"]) if item["type"] in OWN_WORDS else item["msg"]
    return f": {text[:1].lower()}{text[1:]}"


def fill(template: str, item: ErrorDetails) -> str:
    """A sentence with what the error knows: bounds, lengths, the words that are allowed."""
    try:
        return template.format(**item.get("ctx", {}))
    except (KeyError, ValueError, TypeError):  # another pydantic may call its context otherwise
        return item["msg"]


def place(item: ErrorDetails, given: Mapping[str, Marked]) -> tuple[str | int, ...]:
    """Where an error lies, in words of the YAML: pydantic also names the branches of unions, which stand nowhere."""
    first, *rest = item["loc"] or ("",)
    node, where = given.get(str(first)), [first]
    for step in rest:
        entries = node.entries if node else {}
        if isinstance(step, int) or step in entries or (entries and item["type"] in NAMING and step == rest[-1]):
            where.append(step)
            node = child(node, step)
    return tuple(where) if item["loc"] else ()


def mark_of(where: Sequence[str | int], given: Mapping[str, Marked]) -> Mark | None:
    """The mark of the value at a place, or of the nearest that there is above it."""
    node, mark = (given.get(str(where[0])) if where else None), None
    for step in (*where[1:], None):
        mark = node.mark if node else mark
        node = None if step is None else child(node, step)
    return mark


def child(node: Marked | None, step: str | int) -> Marked | None:
    if node is None or isinstance(step, str):
        return node.entries.get(str(step)) if node else None
    return node.items[step] if step < len(node.items) else None


def mark_of_key_in(text: str, given: Mapping[str, Marked]) -> Mark | None:
    """The mark of the first key that a sentence about all parameters speaks of."""
    return next((item.mark for key, item in given.items() if re.search(rf"\b{re.escape(key)}\b", text)), None)


def describe(value: Any) -> str:
    """A value in a message."""
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    return shortened(json.dumps(value, ensure_ascii=False, default=str))
