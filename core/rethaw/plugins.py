"""Finds, vets, imports and isolates plugins. One broken plugin never stops the host or another plugin.

The order: scan metadata (nothing is imported) → policy → the distribution's own requirement on rethaw → import of
the light module → its specs. A component's target is imported when the component is built (`rethaw.registry`).
"""

from __future__ import annotations

import importlib
import inspect
import os
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields, is_dataclass
from functools import cache, cached_property, partial
from types import MappingProxyType, NoneType
from typing import Annotated, Any

import pluggy
from annotated_types import MaxLen
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from rethaw import __version__, api, hookspecs
from rethaw.api import Spec
from rethaw.claims import NAMESPACE, Claim, PluginError, applies, check_requirement, failure, scan
from rethaw.hookspecs import KINDS
from rethaw.isolate import guarded, shown

CORE = "core"
CORE_MODULE = "rethaw.builtin.plugin"
MAX_SPECS = 10_000
TRAIT_TYPES: dict[str, Any] = {
    "bool": bool,
    "float": (int, float),
    "int | None": (int, NoneType),
    "str": str,
    "tuple[float, float]": (tuple, list),
    "tuple[str, ...]": (tuple, list),
}
"""What the traits of a spec may be, by the annotation in the helper."""


Names = Annotated[tuple[str, ...], MaxLen(100)]


@dataclass(frozen=True)
class Policy:
    """Which plugins may load, as in the YAML's `plugins:`; names are namespaces or distributions.

    block: never loaded.
    allow: if given, only these load (and the built-in `core`).
    require: requirements such as "rethaw-kornia>=0.1" that must be installed.
    """

    block: Names = ()
    allow: Names | None = None
    require: Names = ()


@dataclass(frozen=True)
class Plugin:
    """A plugin that has loaded: its claim and its specs, by (kind, name)."""

    claim: Claim
    specs: Mapping[tuple[str, str], Spec]
    notes: tuple[str, ...] = ()


class Plugins:
    """The installed plugins under one policy. Nothing of a plugin is imported before it is asked for."""

    def __init__(self, policy: Policy | None = None, claims: Iterable[Claim] | None = None) -> None:
        self.policy = policy or Policy()
        self._given = None if claims is None else tuple(claims)
        self._pm = pluggy.PluginManager("rethaw")
        self._pm.add_hookspecs(hookspecs)
        self._loaded: dict[str, Plugin] = {}
        self.failures: dict[str, PluginError] = {}

    @cached_property
    def claims(self) -> Mapping[str, tuple[Claim, ...]]:
        """Every namespace and who claims it."""
        found: dict[str, list[Claim]] = {CORE: [Claim(CORE, CORE_MODULE, "rethaw", __version__, ("rethaw",))]}
        for claim in scan() if self._given is None else self._given:
            found.setdefault(claim.namespace, []).append(claim)
        return MappingProxyType({name: tuple(claims) for name, claims in sorted(found.items())})

    def blocked(self, claim: Claim) -> str | None:
        """Why the policy keeps this plugin out, or None."""
        if claim.namespace == CORE:
            return None if claim.module == CORE_MODULE else "the namespace core is rethaw's own"
        names = {claim.namespace, canonicalize_name(claim.distribution)}
        if names & {canonicalize_name(name) for name in self.policy.block}:
            return "it is blocked by plugins.block, --block or RETHAW_BLOCK"
        if self.policy.allow is not None and not names & {canonicalize_name(name) for name in self.policy.allow}:
            return f"plugins.allow lists only {', '.join(self.policy.allow) or 'nothing'}"
        return None

    def load(self, namespace: str) -> Plugin:
        """The plugin of that namespace, imported on first use. Raises PluginError, the same one every time."""
        if namespace in self.failures:
            raise self.failures[namespace]
        if namespace not in self._loaded:
            try:
                self._loaded[namespace] = self._load(namespace)
            except PluginError as error:
                self.failures[namespace] = error
                raise
        return self._loaded[namespace]

    def load_all(self) -> list[Plugin]:
        """Every plugin that loads; those that do not are in `failures`."""
        plugins = []
        for namespace in self.claims:
            try:
                plugins.append(self.load(namespace))
            except PluginError:
                continue
        return plugins

    def check_required(self) -> list[str]:
        """What plugins.require asks for and is not installed, one message each."""
        return [f"plugins.require: {text}" for text in map(self._required, self.policy.require) if text]

    def _required(self, text: str) -> str:
        """Why one requirement is not met; "" where it is."""
        try:
            wanted = Requirement(text)
            if not applies(wanted):
                return ""
            have = self._versions.get(canonicalize_name(wanted.name))
            if have is None:
                return f"{wanted} is not installed. Run: pip install '{wanted}'"
            if wanted.specifier.contains(have, prereleases=True):
                return ""
            return f"{wanted} is required, {have} is installed. Run: pip install --upgrade '{wanted}'"
        except (InvalidRequirement, ValueError) as error:  # or a version or marker that cannot be compared
            reason = str(error).partition("\n")[0]
            return f"{text!r} is not a requirement such as 'rethaw-kornia>=0.1' ({reason})"

    @cached_property
    def _versions(self) -> Mapping[str, str]:
        """The versions of the distributions that have plugins."""
        return {canonicalize_name(c.distribution): c.version for claims in self.claims.values() for c in claims}

    def _load(self, namespace: str) -> Plugin:
        claims = self.claims.get(namespace, ())
        allowed = [claim for claim in claims if self.blocked(claim) is None]
        if not claims:
            raise PluginError(f"no plugin named {namespace!r} is installed")
        if not allowed:
            raise PluginError(
                f"plugin {namespace!r} of {claims[0].distribution} is not loaded: {self.blocked(claims[0])}"
            )
        if len(allowed) > 1:
            raise PluginError(
                f"the namespace {namespace!r} is claimed by {len(allowed)} plugins: " + "; ".join(map(str, allowed)),
                f"Uninstall one of them, or block one: RETHAW_BLOCK={allowed[-1].distribution}",
            )
        claim = allowed[0]
        if not NAMESPACE.fullmatch(namespace):
            raise failure(claim, f"the name of its entry point is {namespace!r}: letters, digits, _, - and . only")
        check_requirement(claim)
        module = import_module(claim)
        with guard(claim, "registering it"):  # pluggy refuses hooks with arguments, for one
            self._pm.register(module, name=namespace)
        return Plugin(claim, collect(self._pm, claim, module), unknown_hooks(self._pm, namespace))


def guard(claim: Claim, what: str) -> AbstractContextManager[None]:
    """Runs a block of a plugin's code: whatever goes wrong is one PluginError that names the plugin."""
    return guarded(partial(failure, claim), what)


def import_module(claim: Claim) -> Any:
    """Imports a plugin's light module, or whatever its entry point names."""
    with guard(claim, "importing it"):
        return claim.entry_point.load() if claim.entry_point else importlib.import_module(claim.module)


def collect(pm: pluggy.PluginManager, claim: Claim, module: Any) -> Mapping[tuple[str, str], Spec]:
    """Calls this plugin's own hooks (never through one call for all: a broken one must not stop the others)."""
    specs: dict[tuple[str, str], Spec] = {}
    for kind in KINDS.values():
        for impl in getattr(pm.hook, kind.hook).get_hookimpls():
            if impl.plugin is module:
                with guard(claim, f"its hook {kind.hook}"):
                    answer = impl.function()
                    problem = take(answer, kind.name, specs)
                if problem:
                    raise failure(claim, f"its hook {kind.hook} returned {problem}")
    return MappingProxyType(specs)


def take(answer: Any, kind: str, specs: dict[tuple[str, str], Spec]) -> str | None:
    """Adds the specs of a hook's answer to others; what is wrong with the answer, or None."""
    if not isinstance(answer, Iterable):
        return f"a {type(answer).__name__}, not a list of specs"
    for spec in answer:
        problem = check_spec(spec, kind, specs)
        if problem:
            return f"rubbish: {problem}"
        if len(specs) == MAX_SPECS:
            return f"more than {MAX_SPECS} specs"
        specs[kind, spec.name] = spec
    return None


def check_spec(spec: Any, kind: str, seen: Mapping[tuple[str, str], Spec]) -> str | None:
    """What is wrong with one entry of a hook's answer, or None."""
    if not isinstance(spec, Spec):
        return f"{shown(spec)} is a {type(spec).__name__}, not a spec made with rethaw.api.{kind}(…)"
    name = shown(spec.name)
    if spec.kind != kind:
        return f"{name} is a {spec.kind}, not a {kind}"
    if type(spec.name) is not str or not spec.name.isidentifier():
        return f"{name} is no name: letters, digits and _ only"
    if (kind, spec.name) in seen:
        return f"{name} stands there twice"
    if not (isinstance(spec.params, type) and is_dataclass(spec.params)):
        return f"the parameters of {name} are not a dataclass"
    if {"use", "id"} & {f.name for f in fields(spec.params)}:
        return f"{name} has a parameter named use or id, which are the host's own keys"
    if type(spec.target) is not str or spec.target.count(":") != 1:
        return f"the target of {name} is {shown(spec.target)}, not 'module:attribute'"
    if type(spec.summary) is not str:
        return f"the summary of {name} is not a text"
    return check_traits(spec, name)


def check_traits(spec: Spec, name: str) -> str | None:
    """What is wrong with what a spec declares, or None: the helper of its kind knows which traits there are."""
    known = traits_of(spec.kind)
    if not isinstance(spec.traits, Mapping) or set(spec.traits) != set(known):
        return f"{name} was not made with rethaw.api.{spec.kind}(…)"
    for trait, value in spec.traits.items():
        if not isinstance(value, TRAIT_TYPES.get(known[trait], object)):
            return f"{trait} of {name} is {shown(value)}, not a {known[trait]}"
    return None


@cache
def traits_of(kind: str) -> Mapping[str, str]:
    """The traits of a kind and their annotations, as the helper of that kind in `rethaw.api` takes them."""
    helper = inspect.signature(getattr(api, kind)).parameters
    return {
        name: str(helper[name].annotation) for name in helper if name not in ("name", "params", "target", "summary")
    }


def unknown_hooks(pm: pluggy.PluginManager, namespace: str) -> tuple[str, ...]:
    """Hooks that this plugin implements and this rethaw does not know (it was written for a newer one)."""
    callers = pm.get_hookcallers(pm.get_plugin(namespace)) or []
    return tuple(
        f"implements {caller.name}, which rethaw {__version__} does not know"
        for caller in callers
        if not caller.has_spec()
    )


def policy_from_environment(policy: Policy) -> Policy:
    """The policy with the names in RETHAW_BLOCK (comma-separated) blocked too."""
    extra = tuple(name.strip() for name in os.environ.get("RETHAW_BLOCK", "").split(",") if name.strip())
    return Policy(policy.block + extra, policy.allow, policy.require)
