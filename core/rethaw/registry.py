"""From names to components: `kornia.gaussian_blur` to its spec, its validated parameters, the built object.

Only the built-in plugin may be named bare: `cold` is `core.cold`. Every error says what was meant, as far as a close
spelling or the index of known plugins (registry.yaml) tells.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from dataclasses import MISSING, fields
from functools import cache
from inspect import signature
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from rethaw import api
from rethaw.api import RethawError, Spec
from rethaw.hookspecs import KINDS
from rethaw.plugins import CORE, PluginError, Plugins, Policy, failure, policy_from_environment

CLOSE = 0.85
"""The closeness from which a name is suggested; 1.2 is the same name."""


class UnknownComponent(RethawError):
    """A name that no installed plugin offers."""


class ComponentError(RethawError):
    """A component that cannot be imported or built, or that does not keep its contract."""


class Registry:
    """The components of all plugins under one policy."""

    def __init__(self, plugins: Plugins | None = None) -> None:
        self.plugins = plugins or Plugins(policy_from_environment(Policy()))

    @classmethod
    def under(cls, policy: Policy) -> Registry:
        """A registry under this policy and RETHAW_BLOCK."""
        return cls(Plugins(policy_from_environment(policy)))

    def find(self, kind: str, name: str) -> tuple[str, Spec]:
        """The full name and the spec. Loads the one plugin that the name's namespace stands for."""
        namespace, _, short = name.rpartition(".")
        namespace = namespace or CORE
        if namespace not in self.plugins.claims:
            raise self._unknown_namespace(kind, namespace, short, name)
        try:
            specs = self.plugins.load(namespace).specs
        except PluginError as error:
            raise PluginError(f"{name}: {error.message}", error.hint) from error
        if (kind, short) not in specs:
            raise self._unknown_name(kind, namespace, short, name)
        return f"{namespace}.{short}", specs[kind, short]

    def names(self, kind: str) -> list[str]:
        """The full names of all components of a kind in every plugin that loads."""
        return sorted(
            f"{plugin.claim.namespace}.{name}"
            for plugin in self.plugins.load_all()
            for of_kind, name in plugin.specs
            if of_kind == kind
        )

    def build(self, kind: str, name: str, params: Any, *args: Any) -> Any:
        """Imports the target and builds the component from validated parameters."""
        full, spec = self.find(kind, name)
        claim = self.plugins.load(full.rpartition(".")[0]).claim
        try:
            built = import_target(spec)(params, *args)
        except RethawError as error:
            raise ComponentError(f"{full}: {error.message}", error.hint) from error
        except (Exception, SystemExit) as error:
            cause = failure(claim, f"building {full} raised {type(error).__name__}: {error}")
            raise ComponentError(cause.message, cause.hint) from error
        missing = [method for method in KINDS[kind].methods if not hasattr(built, method)]
        if missing:
            cause = failure(claim, f"{full} is a {type(built).__name__} without {', '.join(missing)}, not a {kind}")
            raise ComponentError(cause.message, cause.hint)
        return built

    def _unknown_namespace(self, kind: str, namespace: str, short: str, name: str) -> RethawError:
        for distribution, row in known_plugins().items():
            if row["namespace"] == namespace:
                install = f"Run: pip install {distribution}"
                if short in row["names"].get(kind, []):
                    return UnknownComponent(f"{name} is in {distribution}, which is not installed", install)
                message = f"the plugin {namespace!r} is not installed, and no {kind} {name!r} is known"
                return UnknownComponent(message, self._suggest(kind, name) or install)
        message = f"no installed plugin is named {namespace!r}, so there is no {kind} {name!r}"
        return UnknownComponent(message, self._suggest(kind, name) or "rethaw plugins list shows what is installed.")

    def _unknown_name(self, kind: str, namespace: str, short: str, name: str) -> UnknownComponent:
        specs = self.plugins.load(namespace).specs
        others = [k for k, n in specs if n == short]
        if others:
            return UnknownComponent(f"{namespace}.{short} is a {others[0]}, not a {kind}", self._suggest(kind, name))
        return UnknownComponent(
            f"there is no {kind} {name!r}", self._suggest(kind, name) or self._offer(kind, namespace)
        )

    def _offer(self, kind: str, namespace: str) -> str:
        names = sorted(n for k, n in self.plugins.load(namespace).specs if k == kind)
        return f"{namespace} has: {', '.join(names)}." if names else f"{namespace} has no {kind} at all."

    def _suggest(self, kind: str, name: str) -> str:
        """Names of this kind that are spelt like this one, installed or known."""
        candidates = dict.fromkeys(self.names(kind), "")
        for distribution, row in known_plugins().items():
            for short in row["names"].get(kind, []):
                candidates.setdefault(f"{row['namespace']}.{short}", f" (pip install {distribution})")
        close = sorted((-closeness(name, full), full) for full in candidates)
        best = [full for score, full in close if -score >= CLOSE][:3]
        return f"Did you mean {' or '.join(full + candidates[full] for full in best)}?" if best else ""


def closeness(name: str, full: str) -> float:
    """How alike two names are: their last parts, and for less their namespaces; bare names are core's."""
    (space, _, short), (other_space, _, other_short) = name.rpartition("."), full.rpartition(".")
    alike = difflib.SequenceMatcher(None, short, other_short).ratio()
    return alike + 0.2 * difflib.SequenceMatcher(None, space or CORE, other_space).ratio()


def import_target(spec: Spec) -> Any:
    """The object behind "module:attribute"."""
    module, _, attribute = spec.target.partition(":")
    return getattr(importlib.import_module(module), attribute)


@cache
def known_plugins() -> Mapping[str, Any]:
    """registry.yaml: the plugins that are known to exist, installed or not, by distribution."""
    here = Path(__file__).parent
    places = (here / "registry.yaml", here.parents[1] / "registry.yaml")  # in a wheel, in a checkout
    text = next((place.read_text("utf-8") for place in places if place.is_file()), "{}")
    return yaml.safe_load(text) or {}


def param_docs(params: type) -> dict[str, str]:
    """The line of a parameter class's docstring, or of its bases', that explains each parameter (`name: text`)."""
    docs: dict[str, str] = {}
    names = {f.name for f in fields(params)}
    current = ""
    for line in "\n\n".join(cls.__doc__ or "" for cls in reversed(params.__mro__)).splitlines():
        head, colon, rest = line.strip().partition(":")
        if colon and head in names:
            current = head
            docs[current] = rest.strip()
        elif current and line.strip():
            docs[current] += " " + line.strip()
        else:
            current = ""
    return docs


def param_rows(params: type) -> list[tuple[str, str, str, str]]:
    """(name, type, default, explanation) of each parameter, for people."""
    docs, types = param_docs(params), param_types(params)
    rows = []
    for f in fields(params):
        made = f.default if f.default_factory is MISSING else f.default_factory()
        rows.append((f.name, types[f.name], "required" if made is MISSING else repr(made), docs.get(f.name, "")))
    return rows


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
    said = {key: value for key, value in spec.traits.items() if value != given[key].default}
    return [
        key if value is True else f"not {key}" if value is False else f"{key} {value}" for key, value in said.items()
    ]
