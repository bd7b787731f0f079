"""Validates a composed tree into a Config, with every problem found at once and each at its place."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from rethaw.config.check import Check
from rethaw.config.components import Components
from rethaw.config.compose import load_tree, override
from rethaw.config.find import find_file, requirements_of_run
from rethaw.config.marks import ConfigError, Mark, Marked, Problem, marked
from rethaw.config.model import DEFAULTS, KEYS, LISTS, SECTIONS, SINGLE, Absent, Config
from rethaw.config.yaml import parse_yaml
from rethaw.plugins import Policy
from rethaw.registry import Registry


def load_config(
    name: str, overrides: Sequence[str] = (), block: Sequence[str] = (), optional: Collection[str] = ()
) -> tuple[Config, Registry]:
    """A YAML file, recipe or run folder with overrides, validated, and the registry that it names its components in.

    optional: keys, such as metrics, whose components are left out where their plugin is not installed or broken; the
        Config's `absent` has the reasons.
    """
    path = find_file(name)
    return validate(override(load_tree(path), overrides), block, optional, requirements_of_run(path))


def load_text(text: str, overrides: Sequence[str] = (), source: str = "<text>") -> tuple[Config, Registry]:
    """The same from a string; `extends` is not followed."""
    return validate(override(parse_yaml(text, source), overrides))


def validate(
    tree: Marked, block: Sequence[str] = (), optional: Collection[str] = (), known: Mapping[str, str] | None = None
) -> tuple[Config, Registry]:
    """A composed tree to a Config. Raises ConfigError with all problems.

    known: what to install for plugins that may be absent, by namespace.
    """
    check = Check()
    entries = {key: item for key, item in tree.entries.items() if item.value is not None}
    tree = Marked(entries, tree.mark, tree.keys)
    check.unknown_keys(tree, KEYS, "")
    sections = {key: check.section(tree, key, cls) for key, cls in SECTIONS.items()}
    policy = sections["plugins"] or Policy()
    registry = Registry.with_policy(Policy((*policy.block, *block), policy.allow, policy.require), known)
    for text in registry.plugins.check_required():
        check.add(tree.place("plugins"), text)
    read = Components(registry, check, optional)
    values = {**sections, **read_components(tree, read)}
    values["absent"] = {key: Absent(ConfigError(why), entries[key].plain()) for key, why in read.absent.items()}
    values["composed"] = isinstance(entries["degradation"].value, list) if "degradation" in entries else False
    values |= {key: check.whole_number(tree, key, default) for key, default in (("seed", 0), ("version", 1))}
    for problem in cross_checks(tree, values, registry):
        check.problems.append(problem)
    if check.problems:
        raise ConfigError(check.problems)
    return Config(**{key: value for key, value in values.items() if value is not None}), registry


def read_components(tree: Marked, read: Components) -> dict[str, Any]:
    """The keys that name components, with the defaults of those that are absent."""
    values: dict[str, Any] = {}
    for key, kind in SINGLE.items():
        node = tree.entries.get(key) or default_node(key)
        if node and node.entries and "use" not in node.entries and key in DEFAULTS:
            use = marked(DEFAULTS[key]["use"], node.mark)  # `backbone: {width: 64}` is the default one's
            node = Marked({"use": use, **node.entries}, node.mark, node.keys)
        values[key] = read.one(node, kind, key) if node else None
    for key, kind in LISTS.items():
        values[key] = read.several(tree.entries.get(key) or default_node(key), kind, key)
    return values


def default_node(key: str) -> Marked | None:
    """What a pipeline that is silent about a key gets."""
    return marked(DEFAULTS[key], Mark(f"default of {key}")) if key in DEFAULTS else None


def cross_checks(tree: Marked, values: Mapping[str, Any], registry: Registry) -> Iterator[Problem]:
    """What no single key can know."""
    if values["version"] not in (1, None):
        yield Problem(tree.place("version"), f"this rethaw reads version 1, not {values['version']}")
    if "degradation" not in tree.entries:
        hint = "Say what to undo: degradation: {use: core.gaussian_noise}"
        yield Problem(tree.mark, "degradation is missing", hint)
    if values["guidance"] and (problem := values["guidance"].problem(values["conditioner"])):
        yield Problem(tree.place("guidance"), *problem)
    wants = values["sampler"] and getattr(values["sampler"].params, "variance", None) == "learned"
    if wants and getattr(values["restorer"], "variance", "fixed") == "fixed":
        wrong = "variance: learned of the sampler needs a restorer that learns it"
        yield Problem(tree.place("sampler"), wrong, "Set restorer: {variance: learned} and train.")
    yield from channel_checks(tree, values, registry)


def channel_checks(tree: Marked, values: Mapping[str, Any], registry: Registry) -> Iterator[Problem]:
    """Degradations that work on images of so many channels only."""
    channels = getattr(values["restorer"], "channels", 3)
    measured = [values["measurement"]] if values["measurement"] else []
    for key, items in (("degradation", values["degradation"]), ("measurement", measured)):
        for item in (part for above in items for part in above.walk() if part.kind == "degradation"):
            needed = registry.find("degradation", item.use)[1].traits["channels"]
            if needed not in (None, channels):
                wrong = f"{item.use} works on {needed}-channel images, but restorer.channels is {channels}"
                yield Problem(tree.place(key), wrong)
