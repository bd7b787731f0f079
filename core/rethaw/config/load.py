"""Validates a composed tree into a Config, with every problem found at once and each at its place."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from rethaw.api import RethawError
from rethaw.config.compose import find_file, load_tree, marked, override
from rethaw.config.model import DEFAULTS, KEYS, LISTS, SECTIONS, SINGLE, Component, Config, host_of
from rethaw.config.yaml import ConfigError, Mark, Marked, Problem, parse_yaml
from rethaw.plugins import Policy
from rethaw.registry import Registry


def load_config(name: str, overrides: Sequence[str] = (), block: Sequence[str] = ()) -> tuple[Config, Registry]:
    """A YAML file, recipe or run folder with overrides, validated, and the registry that it names its components in."""
    return validate(override(load_tree(find_file(name)), overrides), block)


def load_text(text: str, overrides: Sequence[str] = (), source: str = "<text>") -> tuple[Config, Registry]:
    """The same from a string; `extends` is not followed."""
    return validate(override(parse_yaml(text, source), overrides))


def validate(tree: Marked, block: Sequence[str] = ()) -> tuple[Config, Registry]:
    """A composed tree to a Config. Raises ConfigError with all problems."""
    found = Findings()
    tree = Marked({key: item for key, item in tree.value.items() if item.value is not None}, tree.mark, tree.keys)
    found.unknown_keys(tree, KEYS, "")
    policy = found.section(tree, "plugins", SECTIONS["plugins"]) or Policy()
    registry = Registry.under(Policy(policy.block + tuple(block), policy.allow, policy.require))
    found.problems += [Problem(place(tree, "plugins"), text) for text in registry.plugins.check_required()]
    values: dict[str, Any] = {"plugins": policy}
    for key, cls in SECTIONS.items():
        if key != "plugins" and key in tree.value:
            values[key] = found.section(tree, key, cls)
    for key, kind in SINGLE.items():
        node = tree.value.get(key) or default_node(key)
        if node and isinstance(node.value, dict) and "use" not in node.value and key in DEFAULTS:
            node.value["use"] = marked(DEFAULTS[key]["use"], node.mark)  # `backbone: {width: 64}` is the default one's
        values[key] = found.component(node, kind, key, registry) if node else None
    for key, kind in LISTS.items():
        values[key] = found.components(tree.value.get(key) or default_node(key), kind, key, registry)
    values["composed"] = isinstance(getattr(tree.value.get("degradation"), "value", None), list)
    values["seed"] = found.scalar(tree, "seed", int, 0)
    values["version"] = found.scalar(tree, "version", int, 1)
    cross_checks(tree, values, found, registry)
    if found.problems:
        raise ConfigError(found.problems)
    return Config(**{key: value for key, value in values.items() if value is not None}), registry


def cross_checks(tree: Marked, values: Mapping[str, Any], found: Findings, registry: Registry) -> None:
    """What no single key can know."""
    if values["version"] not in (1, None):
        found.add(place(tree, "version"), f"this rethaw reads version 1, not {values['version']}")
    if "degradation" not in tree.value:
        found.add(tree.mark, "degradation is missing", "Say what to undo: degradation: {use: core.gaussian_noise}")
    if values.get("guidance") and (problem := values["guidance"].problem(values["conditioner"])):
        found.add(place(tree, "guidance"), *problem)
    sampler, restorer = values.get("sampler"), values.get("restorer")
    wants = sampler and getattr(sampler.params, "variance", None) == "learned"
    if wants and getattr(restorer, "variance", "fixed") == "fixed":
        found.add(
            place(tree, "sampler"),
            "variance: learned of the sampler needs a restorer that learns it",
            "Set restorer: {variance: learned} and train.",
        )
    channels = getattr(restorer, "channels", 3)
    measured = filter(None, [values["measurement"]])
    for key, item in [
        (key, item)
        for key, items in (("degradation", values["degradation"]), ("measurement", measured))
        for item in leaves(items)
    ]:
        needed = registry.find("degradation", item.use)[1].traits["channels"]
        if needed not in (None, channels):
            found.add(
                place(tree, key), f"{item.use} works on {needed}-channel images, but restorer.channels is {channels}"
            )


def leaves(items: Iterable[Component]) -> Iterator[Component]:
    """Components and their members, to any depth."""
    for item in items:
        yield item
        yield from leaves(item.of)


@dataclass
class Findings:
    """Validates parts of a tree and collects what is wrong with them."""

    problems: list[Problem] = field(default_factory=list)

    def add(self, mark: Mark, message: str, hint: str = "") -> None:
        self.problems.append(Problem(mark, message, hint))

    def unknown_keys(self, node: Marked, known: Sequence[str], path: str) -> None:
        """Reports keys that do not exist, with a close spelling."""
        for key in node.value:
            if key not in known:
                close = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
                hint = f"Did you mean {close[0]}?" if close else f"The keys here are: {', '.join(known)}."
                self.add(place(node, key), f"unknown key {join(path, key)!r}", hint)

    def scalar(self, tree: Marked, key: str, kind: type, default: Any) -> Any:
        node = tree.value.get(key)
        if node is None:
            return default
        if type(node.value) is not kind:
            self.add(node.mark, f"{key}: {describe(node.value)} is not {article(kind.__name__)}")
            return None
        return node.value

    def section(self, tree: Marked, key: str, cls: type) -> Any:
        """A key with fixed keys of its own; None where it is absent."""
        node = tree.value.get(key)
        if node is None:
            return None
        if not isinstance(node.value, dict):
            self.add(node.mark, f"{key} is a mapping of keys, not {describe(node.value)}")
            return None
        names = [f.name for f in fields(cls)]
        self.unknown_keys(node, names, key)
        return self.params(cls, node, {name: item for name, item in node.value.items() if name in names}, key)

    def components(self, node: Marked | None, kind: str, key: str, registry: Registry) -> tuple[Component, ...]:
        """One component or a list of them, with ids that differ."""
        if node is None:
            return ()
        items = node.value if isinstance(node.value, list) else [node]
        if not items and kind == "degradation":
            self.add(node.mark, f"{key} is an empty list")
        found = [
            self.component(item, kind, f"{key}[{i}]" if len(items) > 1 else key, registry)
            for i, item in enumerate(items)
        ]
        built = [item for item in found if item]
        ids = [item.id for item in built]
        for twice in sorted({name for name in ids if ids.count(name) > 1}):
            self.add(node.mark, f"{key}: two items have the id {twice!r}", "Give one of them another: id: second")
        return tuple(built)

    def component(self, node: Marked, kind: str, path: str, registry: Registry) -> Component | None:
        """`use` plus flat parameters, or just a name."""
        if isinstance(node.value, str):
            node = Marked({"use": node}, node.mark, {"use": node.mark})
        if not isinstance(node.value, dict) or not isinstance(getattr(node.value.get("use"), "value", None), str):
            self.add(
                node.mark,
                f"{path}: say which {kind}",
                f"Write {{use: NAME}}; `rethaw plugins list --kind {kind}` lists them.",
            )
            return None
        use = node.value["use"]
        try:
            full, spec = registry.find(kind, use.value)
        except RethawError as error:
            self.add(use.mark, f"{path}: {error.message}", error.hint)
            return None
        host_cls = host_of(path, kind)
        host_keys = {f.name for f in fields(host_cls)}
        own_keys = {f.name for f in fields(spec.params)}
        self.unknown_keys(node, ["use", *sorted(own_keys), *sorted(host_keys - own_keys)], path)
        given = {key: item for key, item in node.value.items() if key != "use"}
        of: tuple[Component, ...] = ()
        if "of" in own_keys or ("of" in host_keys and "of" in given):
            members = given.pop("of", None)
            of = (
                self.nested(node, members, kind, f"{path}.of", registry)
                if "of" in own_keys
                else self.components(members, "degradation", f"{path}.of", registry)
            )
        host = self.params(host_cls, node, {k: v for k, v in given.items() if k in host_keys}, path)
        params = self.params(spec.params, node, {k: v for k, v in given.items() if k in own_keys}, path)
        if params is None or host is None:
            return None
        host = replace(host, id=host.id or full.rpartition(".")[2])
        if not host.id.isidentifier():
            self.add(
                node.value["id"].mark,
                f"{path}.id: {describe(host.id)} is not a name",
                "Use letters, digits and _ only.",
            )
        return Component(kind, full, params, host, of)

    def nested(
        self, above: Marked, node: Marked | None, kind: str, path: str, registry: Registry
    ) -> tuple[Component, ...]:
        """The members of a component of components, such as a mixture."""
        if node is None or not isinstance(node.value, list) or not node.value:
            self.add((node or above).mark, f"{path}: list the members, such as of: [{{use: …}}, {{use: …}}]")
            return ()
        return self.components(node, kind, path, registry)

    def params(self, cls: type, node: Marked, given: Mapping[str, Marked], path: str) -> Any:
        """Validates parameters with pydantic, strictly: "4" is not a number and true is not 1."""
        endless = {key: item for key, item in given.items() for item in infinite(item)}
        for key, item in endless.items():
            self.add(item.mark, f"{join(path, key)}: {item.value} is not a finite number")
        text = json.dumps({key: item.plain() for key, item in given.items() if key not in endless})
        try:
            return adapter(cls).validate_json(text, strict=True)
        except ValidationError as error:
            for told, where in messages(error):
                if where[:1] not in {(key,) for key in endless}:
                    self.add(locate(given, where, told) or node.mark, f"{join(path, *map(str, where))}{told}")
        except RethawError as error:
            self.add(node.mark, f"{path}: {error.message}", error.hint)
        except Exception as error:  # a plugin's parameter class may do anything in __post_init__
            self.add(node.mark, f"{path}: checking its parameters raised {type(error).__name__}: {error}")
        return None


def infinite(node: Marked) -> Iterator[Marked]:
    """The numbers in a value, to any depth, that are infinite or none."""
    if isinstance(node.value, float) and not math.isfinite(node.value):
        yield node
    for item in node.value if isinstance(node.value, list) else ():
        yield from infinite(item)


STATED = ("value_error", "assertion_error", "too_short", "too_long")
"""Pydantic's errors whose text needs no "not …" after it."""


def messages(error: ValidationError) -> list[tuple[str, tuple[str | int, ...]]]:
    """Pydantic's errors, one for each place: the branches of a union are told in one sentence.

    Where one branch got deeper into a value than the others, it is the one that was meant.
    """
    items = [((*item["loc"][:1], *(w for w in item["loc"][1:] if isinstance(w, int))), item) for item in error.errors()]
    grouped: dict[tuple[str | int, ...], list[Any]] = {}
    for where, item in items:
        if not any(other[:1] == where[:1] and len(other) > len(where) for other, _ in items):
            grouped.setdefault(where, []).append(item)
    return [(sentence(found), where) for where, found in grouped.items()]


def sentence(items: Sequence[Any]) -> str:
    """The errors at one place as one text."""
    if items[0]["type"] == "missing":
        return " is missing"
    value = items[0]["input"]
    words, lists = isinstance(value, str), isinstance(value, list)  # for `word | list`, tell the branch that was meant
    unmeant = "tuple_type" if words else "literal_error" if lists else ""
    items = [item for item in items if item["type"] != unmeant] or items
    texts = [plain_words(item["msg"]) for item in items]
    told = "" if any(item["type"] in STATED for item in items) else f", not {describe(value)}"
    return f": {'; or '.join(dict.fromkeys(texts))}{told}"


def plain_words(message: str) -> str:
    """Pydantic's wording without its jargon."""
    text = message.removeprefix("Value error, ").removeprefix("Assertion failed, ").replace("valid array", "list")
    text = (
        text.replace("Tuple should", "the list should")
        .replace("List should", "the list should")
        .replace(" after validation", "")
    )
    return (text[:1].lower() + text[1:]).replace("valid integer", "whole number").replace("a valid string", "text")


def locate(given: Mapping[str, Marked], where: Sequence[Any], told: str) -> Mark | None:
    """The mark of the value that pydantic's location names, as deep as the tree goes, or that the text speaks of."""
    if not where:
        return next((item.mark for key, item in given.items() if re.search(rf"\b{re.escape(key)}\b", told)), None)
    node = given.get(str(where[0]))
    for step in where[1:]:
        if node is None or not isinstance(node.value, list) or step >= len(node.value):
            break
        node = node.value[step]
    return node.mark if node else None


@cache
def adapter(cls: type) -> TypeAdapter[Any]:
    """Pydantic's validator for a parameter class, made once."""
    try:
        made: TypeAdapter[Any] = TypeAdapter(cls)
        made.rebuild(raise_errors=True)  # pydantic puts off a type that it cannot find
        return made
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise RethawError(
            f"the parameters {cls.__module__}.{cls.__qualname__} cannot be validated: {reason}"
        ) from error


def default_node(key: str) -> Marked | None:
    return marked(DEFAULTS[key], Mark(f"default of {key}")) if key in DEFAULTS else None


def place(tree: Marked, key: str) -> Mark:
    """Where a key stands, or the top of the file."""
    return (tree.keys or {}).get(key, tree.mark)


def join(*parts: str) -> str:
    return ".".join(part for part in parts if part)


def article(name: str) -> str:
    return {"int": "a whole number", "str": "a text"}.get(name, f"a {name}")


def describe(value: Any) -> str:
    """A value in a message."""
    if isinstance(value, (dict, list)):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"
