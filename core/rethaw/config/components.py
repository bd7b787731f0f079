"""Components as a YAML or Python values name them: found in the registry, their parameters and host keys validated."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from rethaw.api import RethawError, Spec
from rethaw.config.check import Check
from rethaw.config.hosts import host_of
from rethaw.config.marks import ConfigError, Mark, Marked, Problem, marked
from rethaw.config.messages import describe
from rethaw.config.model import Component
from rethaw.config.yaml import shortened
from rethaw.plugins import PluginError
from rethaw.registry import Registry

MAX_COMPONENTS = 100
"""So many components a pipeline may hold, members of others included."""


@dataclass
class Components:
    """Reads the components of a pipeline.

    optional: keys whose components are left out where their plugin cannot be used; absent: the reasons, by key.
    """

    registry: Registry
    check: Check = field(default_factory=Check)
    optional: Collection[str] = ()
    absent: dict[str, list[Problem]] = field(default_factory=dict)
    count: int = 0

    def several(self, node: Marked | None, kind: str, path: str) -> tuple[Component, ...]:
        """One component or a list of them, with ids that differ."""
        if node is None:
            return ()
        items = node.items if isinstance(node.value, list) else [node]
        if not items and kind == "degradation":
            self.check.add(node.mark, f"{path} is an empty list")
        if self.count + len(items) > MAX_COMPONENTS:
            limit = f"{path} holds {len(items)} components; a pipeline may hold {MAX_COMPONENTS} in all"
            self.check.add(node.mark, limit)
            return ()
        paths = [f"{path}[{i}]" if len(items) > 1 else path for i in range(len(items))]
        found = [self.one(item, kind, at) for item, at in zip(items, paths, strict=True)]
        built = [item for item in found if item]
        ids = [item.id for item in built]
        for twice in sorted({name for name in ids if ids.count(name) > 1}):
            self.check.add(
                node.mark, f"{path}: two items have the id {twice!r}", "Give one of them another: id: second"
            )
        return tuple(built)

    def one(self, node: Marked, kind: str, path: str) -> Component | None:
        """`use` plus flat parameters, or just a name; None where something is wrong with it."""
        self.count += 1
        if isinstance(node.value, str):
            node = Marked({"use": node}, node.mark, {"use": node.mark})
        use = node.entries.get("use")
        if use is None or not isinstance(use.value, str):
            hint = f"Write {{use: NAME}}; `rethaw plugins list --kind {kind}` lists them."
            self.check.refuse(node, f"{path}: say which {kind}", hint)
            return None
        try:
            full, spec = self.registry.find(kind, use.value)
        except RethawError as error:
            key = path.partition("[")[0]
            problems = self.absent.setdefault(key, []) if key in self.optional else self.check.problems
            problems.append(Problem(use.mark, f"{path}: {error.message}", error.hint))
            return None
        return self.parameters(node, full, spec, path)

    def parameters(self, node: Marked, full: str, spec: Spec, path: str) -> Component | None:
        """The component with its own parameters, the host's keys and its members."""
        host_cls = host_of(path, spec.kind)
        host_keys, own_keys = ({f.name for f in fields(cls)} for cls in (host_cls, spec.params))
        self.check.unknown_keys(node, ["use", *sorted(own_keys), *sorted(host_keys - own_keys)], path)
        given = {key: item for key, item in node.entries.items() if key not in ("use", "of")}
        members: tuple[Component, ...] = ()
        if "of" in own_keys:
            members = self.members(node, spec, f"{path}.of")
        elif "of" in host_keys:
            members = self.several(node.entries.get("of"), "degradation", f"{path}.of")
        host = self.check.params(host_cls, node, {k: v for k, v in given.items() if k in host_keys}, path)
        params = self.own_parameters(node, full, spec, {k: v for k, v in given.items() if k in own_keys}, path)
        if params is None or host is None:
            return None
        host = replace(host, id=host.id or full.rpartition(".")[2])
        if not host.id.isidentifier():
            wrong = f"{path}.id: {describe(host.id)} is not a name"
            self.check.add(node.entries["id"].mark, wrong, "Use letters, digits and _ only.")
        return Component(spec.kind, full, params, host, members)

    def own_parameters(self, node: Marked, full: str, spec: Spec, given: Mapping[str, Marked], path: str) -> Any:
        """An instance of the plugin's parameter class, whose code may do anything; None where something is wrong."""
        try:
            with self.registry.guarded(full, f"checking the parameters of {full}"):
                return self.check.params(spec.params, node, given, path)
        except PluginError as error:
            self.check.add(node.mark, f"{path}: {error.message}", error.hint)
            return None

    def members(self, above: Marked, spec: Spec, path: str) -> tuple[Component, ...]:
        """The members of a component of components, such as a mixture; of another kind, there may be none."""
        node, kind = above.entries.get("of"), spec.traits.get("of", spec.kind)
        if kind != spec.kind:
            return self.several(node, kind, path)
        if node is None or not node.items:
            self.check.refuse(node or above, f"{path}: list the members, such as of: [{{use: …}}, {{use: …}}]")
            return ()
        return self.several(node, kind, path)


def parse_component(
    name: str, kind: str, registry: Registry, given: Mapping[str, Any] | None = None, key: str = ""
) -> Component:
    """One validated component from Python values, as it may stand under a key of the pipeline."""
    read = Components(registry)
    node = marked({"use": name, **(given or {})}, Mark(f"{kind} {shortened(name)}"))
    component = read.one(node, kind, key or kind)
    if read.check.problems or component is None:
        raise ConfigError(read.check.problems)
    return component
