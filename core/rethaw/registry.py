"""From names to components: `kornia.gaussian_blur` to its spec, its validated parameters, the built object.

Only the built-in plugin may be named bare: `cold` is `core.cold`. Every error says what was meant, as far as a close
spelling or the index of known plugins (registry.yaml) tells.
"""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import Any, TypedDict, cast

import yaml

from rethaw.api import RethawError, Spec
from rethaw.claims import Claim
from rethaw.hookspecs import KINDS
from rethaw.isolate import guarded
from rethaw.plugins import CORE, PluginError, Plugins, Policy, failure, guard, policy_from_environment

CLOSE = 0.85
"""The closeness from which a name is suggested; 1.2 is the same name."""
LONGEST = 100
"""Names longer than this are nobody's."""


class UnknownComponent(RethawError):
    """A name that no installed plugin offers.

    name: of the component, as it was asked for.
    requirement: what to install with pip, where that is known; "" elsewhere.
    """

    def __init__(self, message: str, hint: str = "", name: str = "", requirement: str = "") -> None:
        super().__init__(message, hint)
        self.name, self.requirement = name, requirement


class ComponentError(RethawError):
    """A component that cannot be imported or built, or that does not keep its contract."""


class KnownPlugin(TypedDict):
    """A row of registry.yaml: namespace, what the plugin is, and the names of its components by kind."""

    namespace: str
    summary: str
    names: dict[str, list[str]]


class Registry:
    """The components of all plugins under one policy.

    requirements: what to install for plugins that may be absent, by namespace, as a run's lock.json says.
    """

    def __init__(self, plugins: Plugins | None = None, requirements: Mapping[str, str] | None = None) -> None:
        self.plugins = plugins or Plugins(policy_from_environment(Policy()))
        self.requirements = requirements or {}

    @classmethod
    def with_policy(cls, policy: Policy, requirements: Mapping[str, str] | None = None) -> Registry:
        """A registry under this policy and RETHAW_BLOCK."""
        return cls(Plugins(policy_from_environment(policy)), requirements)

    def find(self, kind: str, name: str) -> tuple[str, Spec]:
        """The full name and the spec. Loads the one plugin that the name's namespace stands for."""
        namespace, _, short = name.rpartition(".")
        namespace = namespace or CORE
        if namespace not in self.plugins.claims:
            raise self._unknown_namespace(kind, namespace, name)
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

    def claim(self, full: str) -> Claim:
        """The distribution's entry point that a component, by its full name, belongs to."""
        return self.plugins.load(full.rpartition(".")[0]).claim

    def guarded(self, full: str, what: str) -> AbstractContextManager[None]:
        """Runs a block of a component's code: whatever goes wrong is one PluginError that names the plugin."""
        return guard(self.claim(full), what)

    def build(self, kind: str, name: str, params: object, *args: Any) -> Any:
        """Imports the target and builds the component from validated parameters."""
        full, spec = self.find(kind, name)

        def fault(what: str) -> ComponentError:
            cause = failure(self.claim(full), what)
            return ComponentError(cause.message, cause.hint)

        with guarded(fault, f"building {full}", passing=(ComponentError,)):
            try:
                built = import_target(spec)(params, *args)
            except RethawError as error:
                raise ComponentError(f"{full}: {error.message}", error.hint) from error
            missing = [method for method in KINDS[kind].methods if not hasattr(built, method)]
        if missing:
            raise fault(f"{full} is a {type(built).__name__} without {', '.join(missing)}, not a {kind}")
        return built

    def target(self, kind: str, name: str) -> Any:
        """The class or function that builds a component, imported."""
        full, spec = self.find(kind, name)
        with self.guarded(full, f"importing {full}"):
            return import_target(spec)

    def absent(self, kinds: Iterable[str], name: str) -> UnknownComponent | None:
        """The error for a component or a plugin that is known and not installed, or None."""
        namespace, dot, short = name.rpartition(".")
        requirement, row = self._source(namespace if dot else name)
        if not requirement or (row and dot and not any(short in row["names"].get(kind, []) for kind in kinds)):
            return None
        message = f"{shortened(name)} is in {requirement}, which is not installed"
        return UnknownComponent(message, install(requirement), name, requirement)

    def suggest(self, kinds: Iterable[str], name: str) -> str:
        """ "Did you mean …?" with names of these kinds that are spelt like this one, installed or known; else ""."""
        if len(name) > LONGEST:
            return ""
        candidates = {full: "" for kind in kinds for full in self.names(kind)}
        for distribution, row in known_plugins().items():
            for short in (short for kind in kinds for short in row["names"].get(kind, [])):
                candidates.setdefault(f"{row['namespace']}.{short}", f" (pip install {distribution})")
        close = sorted((-closeness(name, full), full) for full in candidates)
        best = [full for score, full in close if -score >= CLOSE][:3]
        return f"Did you mean {' or '.join(full + candidates[full] for full in best)}?" if best else ""

    def _source(self, namespace: str) -> tuple[str, KnownPlugin | None]:
        """What to install for a plugin that is not there, and what is known of it; "" and None for an unknown one."""
        if namespace in self.plugins.claims:
            return "", None
        if namespace in self.requirements:
            return self.requirements[namespace], None
        rows = ((distribution, row) for distribution, row in known_plugins().items() if row["namespace"] == namespace)
        return next(rows, ("", None))

    def _unknown_namespace(self, kind: str, namespace: str, name: str) -> UnknownComponent:
        if error := self.absent([kind], name):
            return error
        requirement, _ = self._source(namespace)
        hint = self.suggest([kind], name) or (install(requirement) if requirement else LIST_HINT)
        if requirement:
            message = f"the plugin {namespace!r} is not installed, and no {kind} {shortened(name)!r} is known"
        else:
            message = (
                f"no installed plugin is named {shortened(namespace)!r}, so there is no {kind} {shortened(name)!r}"
            )
        return UnknownComponent(message, hint, name, requirement)

    def _unknown_name(self, kind: str, namespace: str, short: str, name: str) -> UnknownComponent:
        specs, hint = self.plugins.load(namespace).specs, self.suggest([kind], name)
        others = [k for k, n in specs if n == short]
        if others:
            return UnknownComponent(f"{namespace}.{short} is a {others[0]}, not a {kind}", hint, name)
        names = sorted(n for k, n in specs if k == kind)
        offer = f"{namespace} has: {', '.join(names)}." if names else f"{namespace} has no {kind} at all."
        return UnknownComponent(f"there is no {kind} {shortened(name)!r}", hint or offer, name)


LIST_HINT = "rethaw plugins list shows what is installed."


def install(requirement: str) -> str:
    """How to get a plugin."""
    return f"Run: pip install {requirement if re.fullmatch('[A-Za-z0-9._=-]+', requirement) else repr(requirement)}"


def shortened(name: str) -> str:
    """A name that fits into a message."""
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"


def closeness(name: str, full: str) -> float:
    """How alike two names are: their last parts, and for less their namespaces; bare names are core's."""
    (space, _, short), (other_space, _, other_short) = name.rpartition("."), full.rpartition(".")
    last = difflib.SequenceMatcher(None, short, other_short)
    if last.real_quick_ratio() + 0.2 < CLOSE or last.quick_ratio() + 0.2 < CLOSE:  # can only be less alike
        return 0.0
    return last.ratio() + 0.2 * difflib.SequenceMatcher(None, space or CORE, other_space).ratio()


def import_target(spec: Spec) -> Any:
    """The object behind "module:attribute"."""
    module, _, attribute = spec.target.partition(":")
    return getattr(importlib.import_module(module), attribute)


@cache
def known_plugins() -> Mapping[str, KnownPlugin]:
    """registry.yaml: the plugins that are known to exist, installed or not, by distribution."""
    here = Path(__file__).parent
    places = (here / "registry.yaml", here.parents[1] / "registry.yaml")  # in a wheel, in a checkout
    text = next((place.read_text("utf-8") for place in places if place.is_file()), "{}")
    return cast("Mapping[str, KnownPlugin]", yaml.safe_load(text) or {})
