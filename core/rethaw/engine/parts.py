"""Components from their names: validated parameters, built as the host uses them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rethaw.config.components import parse_component
from rethaw.config.model import Component
from rethaw.engine.degradation.hosted import host_component
from rethaw.registry import Registry


def complete(item: Component, data: Any, registry: Registry) -> Component:
    """A component whose parameters are completed from the training data, where its class knows how."""
    from rethaw.registry import import_target

    resolve = getattr(import_target(registry.find(item.kind, item.use)[1]), "resolve", None)
    return replace(item, params=resolve(item.params, data)) if resolve else item


def build(kind: str, name: str, /, *args: Any, **params: Any) -> Any:
    """Builds one component by kind and name, as the host uses it; a degradation then takes t and the host keys.

    args: what the kind's target takes beside its parameters (a backbone: its `Context`).

    >>> blur = rethaw.build("degradation", "kornia.gaussian_blur", sigma_max=6.0, span=[0, 0.5])
    """
    registry = Registry()
    component = parse_component(name, kind, registry, params)
    if kind == "degradation":
        return host_component(component, registry)
    return registry.build(kind, component.use, component.params, *args)
