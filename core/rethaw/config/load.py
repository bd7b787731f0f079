"""Validates a composed tree into a Config, with every problem found at once and each at its place."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from rethaw.api import RethawError
from rethaw.config.compose import find_file, load_tree, marked, override
from rethaw.config.model import DEFAULTS, HOSTS, KEYS, LISTS, SECTIONS, SINGLE, Component, Config, PlainHost
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
    if values.get("guidance") and not values["conditioner"]:
        found.add(place(tree, "guidance"), "guidance needs a conditioner", "Add conditioner: [{use: core.label}].")
    if values.get("guidance") and any(item.host.drop == 0 for item in values["conditioner"]):
        found.add(place(tree, "guidance"), "guidance needs training with the null condition, but a conditioner has drop: 0")
    channels = getattr(values.get("restorer"), "channels", 3)
    for item in values["degradation"]:
        needed = registry.find("degradation", item.use)[1].traits["channels"]
        if needed not in (None, channels):
            found.add(place(tree, "degradation"), f"{item.use} works on {needed}-channel images, "
                      f"but restorer.channels is {channels}")  # fmt: skip


@dataclass
class Findings:
    """Validates parts of a tree and collects what is wrong with them."""

    problems: list[Problem] = field(default_factory=list)

    def add(self, mark: Mark, message: str, hint: str = "") -> None:
        self.problems.append(Problem(mark, message, hint))

    def unknown_keys(self, node: Marked, known: Iterable[str], path: str) -> bool:
        """Reports keys that do not exist, with a close spelling."""
        unknown = [key for key in node.value if key not in set(known)]
        for key in unknown:
            close = difflib.get_close_matches(key, list(known), n=1, cutoff=0.6)
            hint = f"Did you mean {close[0]}?" if close else f"The keys here are: {', '.join(known)}."
            self.add((node.keys or {}).get(key, node.mark), f"unknown key {join(path, key)!r}", hint)
        return bool(unknown)

    def scalar(self, tree: Marked, key: str, kind: type, default: Any) -> Any:
        node = tree.value.get(key)
        if node is None or node.value is None:
            return default
        if type(node.value) is not kind:
            self.add(node.mark, f"{key}: {describe(node.value)} is not {article(kind.__name__)}")
            return None
        return node.value

    def section(self, tree: Marked, key: str, cls: type) -> Any:
        """A key with fixed keys of its own; an empty one is all defaults."""
        node = tree.value.get(key)
        if node is None or node.value is None:
            return cls() if key != "guidance" else None
        if not isinstance(node.value, dict):
            self.add(node.mark, f"{key} is a mapping of keys, not {describe(node.value)}")
            return None
        wrong = self.unknown_keys(node, [f.name for f in fields(cls)], key)
        return None if wrong else self.params(cls, node, dict(node.value), key)

    def components(self, node: Marked | None, kind: str, key: str, registry: Registry) -> tuple[Component, ...]:
        """One component or a list of them, with ids that differ."""
        if node is None or node.value is None:
            return ()
        items = node.value if isinstance(node.value, list) else [node]
        if not items and kind == "degradation":
            self.add(node.mark, f"{key} is an empty list")
        found = [self.component(item, kind, f"{key}[{i}]" if len(items) > 1 else key, registry)
                 for i, item in enumerate(items)]  # fmt: skip
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
            self.add(node.mark, f"{path}: say which {kind}", f"Write {{use: NAME}}; `rethaw plugins list --kind {kind}` lists them.")
            return None
        use = node.value["use"]
        try:
            full, spec = registry.find(kind, use.value)
        except RethawError as error:
            self.add(use.mark, f"{path}: {error.message}", error.hint)
            return None
        host_cls = HOSTS.get(kind, PlainHost)
        host_keys = {f.name for f in fields(host_cls)}
        own_keys = {f.name for f in fields(spec.params)}
        if self.unknown_keys(node, ["use", *sorted(own_keys), *sorted(host_keys - own_keys)], path):
            return None
        given = {key: item for key, item in node.value.items() if key != "use"}
        of = self.nested(given.pop("of", None), kind, f"{path}.of", registry) if "of" in own_keys else ()
        host = self.params(host_cls, node, {k: v for k, v in given.items() if k in host_keys}, path)
        params = self.params(spec.params, node, {k: v for k, v in given.items() if k in own_keys}, path)
        return Component(kind, full, params, host, of) if params is not None and host is not None else None

    def nested(self, node: Marked | None, kind: str, path: str, registry: Registry) -> tuple[Component, ...]:
        """The members of a component of components, such as a mixture."""
        if node is None or not isinstance(node.value, list) or not node.value:
            self.add(node.mark if node else Mark("?"), f"{path}: list the members, such as of: [{{use: …}}, {{use: …}}]")
            return ()
        return self.components(node, kind, path, registry)

    def params(self, cls: type, node: Marked, given: Mapping[str, Marked], path: str) -> Any:
        """Validates parameters with pydantic, strictly: "4" is not a number and true is not 1."""
        missing = [f.name for f in fields(cls) if f.name not in given and f.name != "of"
                   and f.default is MISSING and f.default_factory is MISSING]  # fmt: skip
        for name in missing:
            self.add(node.mark, f"{join(path, name)} is missing")
        if missing:
            return None
        for key, item in given.items():
            if isinstance(item.value, float) and not math.isfinite(item.value):
                self.add(item.mark, f"{join(path, key)}: {item.value} is not a finite number")
                return None
        try:
            return adapter(cls).validate_json(json.dumps({k: v.plain() for k, v in given.items()}), strict=True)
        except ValidationError as error:
            for text, where in messages(error):
                spot = locate(given, where) or node.mark
                self.add(spot, f"{join(path, *(str(w) for w in where))}: {text}")
        return None


def messages(error: ValidationError) -> list[tuple[str, tuple[Any, ...]]]:
    """Pydantic's errors, one for each place: the branches of a union are told in one sentence."""
    grouped: dict[tuple[Any, ...], list[str]] = {}
    for item in error.errors(include_url=False):
        where = tuple(w for w in item["loc"] if isinstance(w, int) or str(w).isidentifier())[:1 + sum(
            isinstance(w, int) for w in item["loc"])]  # fmt: skip
        text = item["msg"].removeprefix("Value error, ")
        value = item.get("input")
        told = isinstance(value, (str, int, float, bool)) and item["type"] != "value_error"
        grouped.setdefault(where[:1], []).append(lower(text) + (f", not {describe(value)}" if told else ""))
    return [("; or ".join(dict.fromkeys(texts)), where) for where, texts in grouped.items()]


def lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def locate(given: Mapping[str, Marked], where: Sequence[Any]) -> Mark | None:
    """The mark of the value that pydantic's location names, as deep as the tree goes."""
    node: Marked | None = given.get(str(where[0])) if where else None
    for step in where[1:]:
        if node is None or not isinstance(node.value, list) or not isinstance(step, int) or step >= len(node.value):
            break
        node = node.value[step]
    return node.mark if node else None


@cache
def adapter(cls: type) -> TypeAdapter[Any]:
    """Pydantic's validator for a parameter class, made once."""
    try:
        return TypeAdapter(cls)
    except Exception as error:  # noqa: BLE001 - a plugin's parameter class may hold anything
        raise RethawError(f"the parameters {cls.__module__}.{cls.__qualname__} cannot be validated: {error}") from error


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
    if isinstance(value, (dict, list)):
        return "a mapping" if isinstance(value, dict) else "a list"
    return json.dumps(value) if isinstance(value, (str, bool, int, float)) else "nothing"

