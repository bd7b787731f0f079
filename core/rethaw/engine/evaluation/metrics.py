"""Which metrics are measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rethaw.api import RethawError
from rethaw.config.components import parse_component
from rethaw.config.model import Component
from rethaw.engine.evaluation.evaluate import needs_clean
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


def without_clean(parts: Parts, chosen: Sequence[str] = ()) -> Parts:
    """Parts that measure what needs no clean images; chosen: ids of metrics that must be among that."""
    needing = [key for key, meter in parts.metrics().items() if needs_clean(meter)]
    kept = tuple(item for item in parts.config.metrics if item.id not in needing)
    hint = "Name one that does not, such as -m '{use: core.niqe, pristine: FOLDER}', with a folder of clean pictures."
    if wrong := [key for key in chosen if key in needing]:
        raise RethawError(f"{', '.join(wrong)} compares with clean images, and there are none", hint)
    if not kept:
        raise RethawError("every metric of the run compares with clean images, and there are none", hint)
    return replace(parts, config=replace(parts.config, metrics=kept))
