"""Finds, vets, imports and isolates plugins. One broken plugin never stops the host or another plugin.

The order: scan metadata (nothing is imported) → policy → the distribution's own requirement on rethaw → import of
the light module → its specs. A component's target is imported when the component is built (`rethaw.registry`).
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import Distribution, EntryPoint, distributions
from types import MappingProxyType
from typing import Any

import pluggy
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from rethaw import __version__, hookspecs
from rethaw.api import RethawError, Spec
from rethaw.hookspecs import KINDS

GROUP = "rethaw.plugins"
CORE = "core"
CORE_MODULE = "rethaw.builtin.plugin"


@dataclass(frozen=True)
class Policy:
    """Which plugins may load, as in the YAML's `plugins:`; names are namespaces or distributions.

    block: never loaded.
    allow: if given, only these load (and the built-in `core`).
    require: requirements such as "rethaw-kornia>=0.1" that must be installed.
    """

    block: tuple[str, ...] = ()
    allow: tuple[str, ...] | None = None
    require: tuple[str, ...] = ()


@dataclass(frozen=True)
class Claim:
    """One installed distribution's entry point: `namespace = module`, known from metadata alone."""

    namespace: str
    module: str
    distribution: str
    version: str
    requires: tuple[str, ...] = ()
    entry_point: EntryPoint | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.distribution} {self.version} (entry point {self.namespace} = {self.module})"


@dataclass(frozen=True)
class Plugin:
    """A plugin that has loaded: its claim and its specs, by (kind, name)."""

    claim: Claim
    specs: Mapping[tuple[str, str], Spec]
    notes: tuple[str, ...] = ()


class PluginError(RethawError):
    """A plugin that cannot be used: not installed, blocked, claimed twice, too new, or broken."""


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
        installed = {canonicalize_name(c.distribution): c for claims in self.claims.values() for c in claims}
        problems = []
        for text in self.policy.require:
            try:
                wanted = Requirement(text)
            except InvalidRequirement as error:
                reason = str(error).splitlines()[0]
                problems.append(
                    f"plugins.require: {text!r} is not a requirement such as 'rethaw-kornia>=0.1' ({reason})"
                )
                continue
            have = installed.get(canonicalize_name(wanted.name))
            if have is None:
                problems.append(f"plugins.require: {wanted} is not installed. Run: pip install '{wanted}'")
            elif not wanted.specifier.contains(have.version, prereleases=True):
                problems.append(
                    f"plugins.require: {wanted} is required, {have.version} is installed. "
                    f"Run: pip install --upgrade '{wanted}'"
                )
        return problems

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
        check_requirement(claim)
        module = import_module(claim)
        try:
            self._pm.register(module, name=namespace)
        except Exception as error:  # pluggy refuses hooks with arguments, for one
            raise failure(claim, f"registering it raised {type(error).__name__}: {error}") from error
        return Plugin(claim, collect(self._pm, claim, module), unknown_hooks(self._pm, namespace))


def scan() -> list[Claim]:
    """Reads the metadata of every installed distribution; imports nothing. Metadata that cannot be read is passed over."""
    claims: dict[tuple[str, str], Claim] = {}  # of two copies of one distribution, Python imports the first
    for dist in distributions():
        try:
            found = [claim_of(dist, point) for point in dist.entry_points if point.group == GROUP]
        except Exception:
            continue
        for claim in found:
            claims.setdefault((canonicalize_name(claim.distribution), claim.namespace), claim)
    return list(claims.values())


def claim_of(dist: Distribution, point: EntryPoint) -> Claim:
    """One entry point of a distribution, whose METADATA may be missing."""
    known: Any = dist.metadata or {}
    name, version = known.get("Name") or "an unknown distribution", known.get("Version") or "of unknown version"
    return Claim(point.name, point.value, name, version, tuple(dist.requires or ()), point)


def check_requirement(claim: Claim) -> None:
    """Refuses a plugin that names no rethaw version, or another one than this, before it is imported."""
    try:
        wanted = [r for r in map(Requirement, claim.requires) if canonicalize_name(r.name) == "rethaw"]
    except InvalidRequirement as error:
        raise failure(
            claim, f"its metadata holds a requirement that cannot be read: {str(error).splitlines()[0]}"
        ) from error
    if not wanted:
        raise failure(
            claim,
            "its distribution declares no requirement on rethaw",
            'Its author adds dependencies = ["rethaw>=0.1,<0.2"] to its pyproject.toml.',
        )
    for requirement in wanted:
        if not requirement.specifier.contains(__version__, prereleases=True):
            raise failure(
                claim,
                f"it needs {requirement}, and this is rethaw {__version__}",
                f"Run: pip install '{requirement}', or a {claim.distribution} that fits rethaw {__version__}.",
            )


def import_module(claim: Claim) -> Any:
    """Imports a plugin's light module; whatever it raises becomes one PluginError."""
    try:
        return claim.entry_point.load() if claim.entry_point else importlib.import_module(claim.module)
    except (Exception, SystemExit) as error:
        raise failure(claim, f"importing it raised {type(error).__name__}: {error}") from error


def collect(pm: pluggy.PluginManager, claim: Claim, module: Any) -> Mapping[tuple[str, str], Spec]:
    """Calls this plugin's own hooks (never through one call for all: a broken one must not stop the others)."""
    specs: dict[tuple[str, str], Spec] = {}
    for kind in KINDS.values():
        for impl in getattr(pm.hook, kind.hook).get_hookimpls():
            if impl.plugin is not module:
                continue
            try:
                answer = impl.function()
                entries = list(answer) if isinstance(answer, Iterable) else answer
            except (Exception, SystemExit) as error:
                raise failure(claim, f"its hook {kind.hook} raised {type(error).__name__}: {error}") from error
            if not isinstance(entries, list):
                raise failure(claim, f"its hook {kind.hook} returned a {type(answer).__name__}, not a list of specs")
            for spec in entries:
                problem = check_spec(spec, kind.name, specs)
                if problem:
                    raise failure(claim, f"its hook {kind.hook} returned rubbish: {problem}")
                specs[kind.name, spec.name] = spec
    return MappingProxyType(specs)


def check_spec(spec: Any, kind: str, seen: Mapping[tuple[str, str], Spec]) -> str | None:
    """What is wrong with one entry of a hook's answer, or None."""
    if not isinstance(spec, Spec):
        return f"{spec!r} is a {type(spec).__name__}, not a spec made with rethaw.api.{kind}(…)"
    if spec.kind != kind:
        return f"{spec.name!r} is a {spec.kind}, not a {kind}"
    if not isinstance(spec.name, str) or not spec.name.isidentifier():
        return f"{spec.name!r} is no name: letters, digits and _ only"
    if (kind, spec.name) in seen:
        return f"{spec.name!r} stands there twice"
    if not (isinstance(spec.params, type) and hasattr(spec.params, "__dataclass_fields__")):
        return f"the parameters of {spec.name!r} are not a dataclass"
    if {"use", "id"} & set(spec.params.__dataclass_fields__):
        return f"{spec.name!r} has a parameter named use or id, which are the host's own keys"
    if not isinstance(spec.target, str) or spec.target.count(":") != 1:
        return f"the target of {spec.name!r} is {spec.target!r}, not 'module:attribute'"
    if not isinstance(spec.summary, str):
        return f"the summary of {spec.name!r} is not a text"
    return None


def unknown_hooks(pm: pluggy.PluginManager, namespace: str) -> tuple[str, ...]:
    """Hooks that this plugin implements and this rethaw does not know (it was written for a newer one)."""
    callers = pm.get_hookcallers(pm.get_plugin(namespace)) or []
    return tuple(
        f"implements {caller.name}, which rethaw {__version__} does not know"
        for caller in callers
        if not caller.has_spec()
    )


def failure(claim: Claim, what: str, hint: str = "") -> PluginError:
    """One message that says which plugin, what, how to look closer and how to keep it out."""
    closer = f"rethaw plugins show {claim.namespace} says more; RETHAW_BLOCK={claim.namespace} keeps it out."
    return PluginError(f"plugin {claim} cannot be used: {what}", f"{hint}\n  {closer}" if hint else closer)


def policy_from_environment(policy: Policy) -> Policy:
    """The policy with the names in RETHAW_BLOCK (comma-separated) blocked too."""
    extra = tuple(name.strip() for name in os.environ.get("RETHAW_BLOCK", "").split(",") if name.strip())
    return Policy(policy.block + extra, policy.allow, policy.require)
