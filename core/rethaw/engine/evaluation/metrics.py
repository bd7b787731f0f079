"""Which metrics are measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rethaw.config.components import parse_component
from rethaw.config.model import Component
from rethaw.engine.parts import Parts


def measuring(parts: Parts, names: Sequence[str | Component], only: bool = False) -> tuple[Parts, list[str]]:
    """Parts that also (or only) measure what is named, and the ids of that.

    A name is the id or the name of one of the pipeline's metrics, or the name of any other.
    """
    own, chosen = parts.config.metrics, []
    for name in names:
        item = name if isinstance(name, Component) else next((m for m in own if name in (m.id, m.use)), None)
        chosen.append(item or parse_component(str(name), "metric", parts.registry))
    metrics = {item.id: item for item in ([] if only else own)} | {item.id: item for item in chosen}
    config = replace(parts.config, metrics=tuple(metrics.values()))
    return replace(parts, config=config), [item.id for item in chosen]
