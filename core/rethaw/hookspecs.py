"""The hooks, one for each kind of component, and the table of kinds that everything else is driven by.

Each hook takes no argument and returns a list of specs (see `rethaw.api`). None is in a hot path, and the order
in which plugins answer never decides anything.
"""

from __future__ import annotations

from typing import NamedTuple

import pluggy

from rethaw.api import Spec

hookspec = pluggy.HookspecMarker("rethaw")


class Kind(NamedTuple):
    """A kind of component: its hook, the methods that a built component must have, and where a YAML names it, if so."""

    name: str
    hook: str
    methods: tuple[str, ...]
    yaml: str


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("degradation", "rethaw_degradations", ("draw", "degrade"), "degradation"),
        Kind("backbone", "rethaw_backbones", ("forward",), "backbone"),
        Kind("conditioner", "rethaw_conditioners", ("encode", "null", "widths"), "conditioner"),
        Kind("classifier", "rethaw_classifiers", ("forward",), "classifier"),
        Kind("guide", "rethaw_guides", ("guide",), "guide"),
        Kind("sampler", "rethaw_samplers", ("severities", "trajectory"), "sampler"),
        Kind("dataset", "rethaw_datasets", ("__len__", "item"), "data"),
        Kind("metric", "rethaw_metrics", ("update", "compute", "higher_is_better"), "metrics"),
        Kind("prior", "rethaw_priors", ("fit", "sample"), "prior"),
        Kind("importer", "rethaw_importers", ("knows", "read"), ""),
    )
}


@hookspec
def rethaw_degradations() -> list[Spec]:  # type: ignore[empty-body]
    """Degradations: D(x0, t, ξ), declared with `rethaw.api.degradation`."""


@hookspec
def rethaw_backbones() -> list[Spec]:  # type: ignore[empty-body]
    """Backbones: the bare networks of restorers, declared with `rethaw.api.backbone`."""


@hookspec
def rethaw_conditioners() -> list[Spec]:  # type: ignore[empty-body]
    """Conditioners: labels, captions or images as tensors, declared with `rethaw.api.conditioner`."""


@hookspec
def rethaw_classifiers() -> list[Spec]:  # type: ignore[empty-body]
    """Classifiers of degraded images, for classifier guidance, declared with `rethaw.api.classifier`."""


@hookspec
def rethaw_guides() -> list[Spec]:  # type: ignore[empty-body]
    """Guides: what results should fit, by a log-probability and its gradient, declared with `rethaw.api.guide`."""


@hookspec
def rethaw_samplers() -> list[Spec]:  # type: ignore[empty-body]
    """Samplers: the walk from x_1 to an image, declared with `rethaw.api.sampler`."""


@hookspec
def rethaw_datasets() -> list[Spec]:  # type: ignore[empty-body]
    """Datasets: clean images, declared with `rethaw.api.dataset`."""


@hookspec
def rethaw_metrics() -> list[Spec]:  # type: ignore[empty-body]
    """Metrics: restored against clean, declared with `rethaw.api.metric`."""


@hookspec
def rethaw_priors() -> list[Spec]:  # type: ignore[empty-body]
    """Generation priors: distributions of x_1 fitted in training, declared with `rethaw.api.prior`."""


@hookspec
def rethaw_importers() -> list[Spec]:  # type: ignore[empty-body]
    """Importers: trained weights of others as a run, declared with `rethaw.api.importer`."""
