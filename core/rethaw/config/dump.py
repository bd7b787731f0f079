"""A Config back to YAML: every component by its full name, every parameter spelt out."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import yaml

from rethaw.config.model import DEFAULTS, KEYS, LISTS, SECTIONS, SINGLE, Component, Config
from rethaw.config.yaml import Loader


class Dumper(yaml.SafeDumper):
    """Quotes every text that YAML 1.1 or 1.2 would read as something else."""

    yaml_implicit_resolvers: dict[str, Any] = {  # noqa: RUF012 - as in PyYAML
        first: [*yaml.SafeDumper.yaml_implicit_resolvers.get(first, []), *Loader.yaml_implicit_resolvers.get(first, [])]
        for first in {*yaml.SafeDumper.yaml_implicit_resolvers, *Loader.yaml_implicit_resolvers}
    }


def on_one_line(dumper: yaml.SafeDumper, items: list[Any]) -> yaml.Node:
    """A list; one of pairs, such as a schedule's knots, is not spread over lines."""
    pairs = bool(items) and all(isinstance(item, list) and len(item) == 2 for item in items)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=True if pairs else None)


Dumper.add_representer(list, on_one_line)


def dump_config(config: Config) -> str:
    """YAML that loads to the same Config, on any machine that has the same plugins."""
    tree: dict[str, Any] = {}
    for key in KEYS:
        value = getattr(config, key, None)
        if key in config.absent:
            tree[key] = config.absent[key].written
        elif key == "degradation" and not config.composed:
            tree[key] = component_tree(config.degradation[0])
        elif key in LISTS and (value or key in DEFAULTS):
            tree[key] = [component_tree(item) for item in value or ()]
        elif key in SINGLE and value:
            tree[key] = component_tree(value)
        elif key in SECTIONS and value:
            tree[key] = plain(value)
        elif key in ("version", "seed"):
            tree[key] = value
    return dump_tree(tree)


def dump_tree(tree: Any) -> str:
    """Plain data as YAML."""
    return yaml.dump(tree, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)


def component_tree(component: Component) -> dict[str, Any]:
    """`{id, use, …}` with host keys that are not at their defaults."""
    default = type(component.host)()
    host = {k: v for k, v in plain(component.host).items() if v != plain(default)[k] and k not in ("id", "of")}
    params = {k: v for k, v in plain(component.params).items() if k != "of"}
    of = {"of": [component_tree(member) for member in component.of]} if component.of else {}
    return {"id": component.id, "use": component.use, **params, **of, **host}


def plain(value: Any) -> Any:
    """Dataclasses, tuples and paths as what YAML knows; paths become absolute."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value or ()]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return str(value.absolute()) if isinstance(value, Path) else value
