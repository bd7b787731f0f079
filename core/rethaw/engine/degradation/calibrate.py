"""Calibration: the schedule under which equal steps of severity are equal steps of a distance between images.

How far severity t takes images is d(t) = m(D(x0, t), x0) for a metric m. The schedule that makes d rise in a straight
line is its inverse, w(s) = d⁻¹(s·d(1)): severity s then has the strength that used to be at w(s).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import torch
from torch import Tensor

from rethaw.api import RethawError
from rethaw.config.dump import component_tree, dump_tree
from rethaw.config.hosts import DegradationHost
from rethaw.config.model import Component, Config
from rethaw.engine.degradation.build import probe
from rethaw.engine.degradation.fields import NONE, Fields
from rethaw.engine.degradation.hosted import Hosted, interpolate, severity_map
from rethaw.engine.parts import Parts
from rethaw.ops import expand, generators

GRID = 100
"""Severities that are measured, evenly spread and 0 beside them."""
DECIMALS = 4
CLOSE = 0.002
"""A departure from even that needs no further knot, as a part of the whole distance."""
Curve = list[tuple[float, float]]
Distance = Callable[[Tensor], float]


@dataclass(frozen=True)
class Calibration:
    """What was found: the degradations with their new schedules, and (severity, distance) before and after."""

    config: Config
    before: Curve
    after: Curve

    @property
    def uneven(self) -> tuple[float, float]:
        """The largest departure of d from a straight line, as a part of d(1), before and after."""
        return departure(self.before), departure(self.after)


def calibrate(
    parts: Parts, x0: Tensor, metric: str, knots: int, item: str | None, fields: Fields = NONE
) -> Calibration:
    """Measures on clean images x0 (B, C, H, W), and gives the schedules whose steps are even.

    item: the id of the only one to calibrate, as it is alone, within its span; without it, all items together, whose
    order and shares at each station of the way stay as they are. knots: of the schedule, its two ends included. fields:
    of the data's items that x0 are from, which degradations may ask for.
    Raises RethawError where nothing changes with severity, or where there is no such item.
    """
    config = parts.config
    chosen = [c for c in config.degradation if item in (None, c.id)]
    if not chosen:
        ids = ", ".join(c.id for c in config.degradation)
        raise RethawError(f"there is no degradation with the id {item!r}", f"The ids are: {ids}.")
    alone, distance = len(chosen) == 1, distance_from(parts, metric, x0)

    def measured(items: Sequence[Component]) -> Curve:
        degradation = parts.hosted(items, not alone)
        probe(degradation.for_items({key: value[:2] for key, value in fields.items()}), x0)
        return measure(degradation.for_items(fields), x0, config.seed, distance)

    pace = evenly(measured([plain(c) if alone else whole(c) for c in chosen]), knots)
    found = [rescheduled(c, pace, alone) for c in chosen]
    before, after = (measured([filling(c) if alone else c for c in items]) for items in (chosen, found))
    new = {c.id: c for c in found}
    return Calibration(replace(config, degradation=tuple(new.get(c.id, c) for c in config.degradation)), before, after)


def plain(c: Component) -> Component:
    """An item under no host keys, so that severity is strength."""
    return replace(c, host=DegradationHost(id=c.id))


def whole(c: Component) -> Component:
    """An item without levels, which would hide what lies between them."""
    return replace(c, host=replace(c.host, levels=None))


def filling(c: Component) -> Component:
    """An item that works over the whole way."""
    return replace(c, host=replace(c.host, span=(0.0, 1.0)))


def distance_from(parts: Parts, metric: str, x0: Tensor) -> Distance:
    """The distance of images from x0: by how much a metric differs from that of x0 and itself."""

    def value(x: Tensor) -> float:
        meter = parts.metric(metric)
        if not getattr(meter, "reference", True):
            raise RethawError(f"{metric} compares nothing, so it cannot be a distance", "Use core.rmse or core.ssim.")
        meter.update(x, x0)
        return float(meter.compute())

    clean = value(x0)
    if not math.isfinite(clean):
        raise RethawError(
            f"{metric} of an image and itself is {clean}, so it cannot be a distance", "Use core.rmse or core.ssim."
        )
    return lambda x: abs(value(x) - clean)


@torch.no_grad()
def measure(degradation: Hosted, x0: Tensor, seed: int, distance: Distance) -> Curve:
    """(t, d(t)) on a grid of severities."""
    state = degradation.draw(x0, generators(seed, len(x0)))
    grid = torch.linspace(0, 1, GRID + 1).tolist()
    return [(t, distance(degradation.degrade(x0, expand(t, x0), state))) for t in grid]


def evenly(curve: Curve, knots: int) -> Curve:
    """(s, w(s)) at no more than so many places: the measured ones that serve best between them, and both ends."""
    ts, ds = zip(*curve, strict=True)
    risen = list(accumulate(ds, max))
    if risen[-1] <= risen[0]:
        raise RethawError("severity changes nothing that the metric sees, so there is nothing to calibrate")
    shares = {
        round((d - risen[0]) / (risen[-1] - risen[0]), DECIMALS): t
        for t, d in zip(reversed(ts), reversed(risen), strict=True)
    }
    return thinned([*sorted(({**shares, 0.0: 0.0, 1.0: 1.0}).items())], knots)


def thinned(points: Curve, count: int) -> Curve:
    """The points of a rising curve, its ends first, that bring straight lines between them nearest to the others.

    Nearest in s: by how much the distance at a severity departs from even.
    """
    kept = [points[0], points[-1]]
    while len(kept) < count:
        s, w = torch.tensor(points, dtype=torch.float64).T
        error = (interpolate(w, torch.tensor(sorted((b, a) for a, b in kept), dtype=torch.float64)) - s).abs()
        if error.max() < CLOSE:
            break
        kept = sorted([*kept, points[int(error.argmax())]])
    return kept


def rescheduled(c: Component, pace: Curve, alone: bool) -> Component:
    """An item whose schedule is u(w(s)): alone, its strength at w(s) within its span; else over the whole way."""
    s, w = torch.tensor(pace, dtype=torch.float64).T
    warp = None if alone else severity_map(whole(c).host)
    us = (w if warp is None else warp(w)).tolist()
    schedule = tuple((t, round(u, DECIMALS)) for t, u in zip(s.tolist(), us, strict=True))
    return replace(c, host=replace(c.host, schedule=schedule, span=c.host.span if alone else (0.0, 1.0)))


def departure(curve: Curve) -> float:
    """The largest distance of d from the straight line to its end, as a part of that end."""
    end = curve[-1][1]
    return max(abs(d - t * end) for t, d in curve) / end


def as_yaml(config: Config, extends: str | None = None) -> str:
    """The degradations as a YAML text to paste; with `extends`, a whole pipeline that is laid over another."""
    items = [component_tree(c) for c in config.degradation]
    tree = {"extends": extends} if extends else {}
    return dump_tree({**tree, "degradation": items if config.composed else items[0]})
