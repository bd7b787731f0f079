"""From a pipeline's items to hosted degradations, and the check that they keep their contract."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from rethaw.config.model import Component
from rethaw.engine.degradation.composition import Composition
from rethaw.engine.degradation.hosted import Hosted, HostedComponent
from rethaw.engine.faults import broken, naming
from rethaw.ops import generators
from rethaw.registry import ComponentError, Registry


def build_degradation(items: Sequence[Component], composed: bool, registry: Registry) -> Hosted:
    """The degradation of a pipeline: its items in order, or its single one."""
    members = [host_component(item, registry) for item in items]
    return Composition(members) if composed else members[0]


def host_component(item: Component, registry: Registry) -> HostedComponent:
    """Builds one item, its nested members first, and puts it under its host keys."""
    spec = registry.find("degradation", item.use)[1]
    params = replace(item.params, of=tuple(member(m, registry) for m in item.of)) if item.of else item.params
    if item.host.levels and "levels" in {f.name for f in fields(spec.params)}:
        params = replace(params, levels=item.host.levels)
    return HostedComponent(item.use, registry.build("degradation", item.use, params), item.host, spec.traits)


def member(item: Component, registry: Registry) -> Any:
    """A component that a degradation is made of."""
    if item.kind == "degradation":
        return host_component(item, registry)
    return registry.build(item.kind, item.use, item.params)


def probe(degradation: Hosted, like: Tensor) -> None:
    """Tries a degradation on a small batch before long work, and refuses one that does not keep its contract."""
    x0 = like[:2].clamp(-1, 1)
    with naming(degradation.name, f"on images of shape {tuple(x0.shape)}"):
        state = degradation.draw(x0, generators(0, x0.shape[0]))
        if not isinstance(state, Mapping) or not all(map(batch_first(x0.shape[0]), state.values())):
            raise broken(degradation.name, "draw gave no mapping of tensors, batch first")
        for t in (0.0, 0.25, 0.5, 0.75, 1.0):
            given = x0.clone()
            x = degradation.degrade(given, torch.full((x0.shape[0],), t, dtype=x0.dtype, device=x0.device), state)
            if not torch.equal(given, x0):
                raise broken(degradation.name, "it changes x0 in place")
            if not torch.isfinite(x).all():
                raise ComponentError(f"{degradation.name} gives values that are not finite at severity {t}")
            if t == 0 and (error := (x - x0).abs().max()) > 1e-4:
                raise broken(degradation.name, f"D(x0, 0) is not x0, it differs by up to {error:.3g}")


def batch_first(count: int) -> Callable[[object], bool]:
    """Whether a value is a tensor with one entry for each of so many images."""
    return lambda v: isinstance(v, Tensor) and v.dim() > 0 and len(v) == count
