from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rethaw.config.compose import marked
from rethaw.config.load import Findings, leaves
from rethaw.config.model import Component, Config
from rethaw.config.yaml import ConfigError, Mark
from rethaw.registry import Registry


def parse_component(
    name: str, kind: str, registry: Registry, given: Mapping[str, Any] | None = None, key: str = ""
) -> Component:
    found = Findings()
    node = marked({"use": name, **(given or {})}, Mark(f"{kind} {name}"))
    component = found.component(node, kind, key or kind, registry)
    if found.problems or component is None:
        raise ConfigError(found.problems)
    return component


def every_component(config: Config) -> Iterator[Component]:
    singles = (config.data, config.measurement, config.backbone, config.classifier, config.sampler, config.prior)
    yield from leaves([*filter(None, singles), *config.degradation, *config.conditioner, *config.metrics])
