"""Specs: how a plugin says what it has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Context:
    """What a backbone is built for: channels in and out, and the size of each condition that it will be given.

    initial: false where trained weights of a run follow, so that pretrained ones to start from need not be had.
    """

    in_channels: int
    out_channels: int
    cond: Mapping[str, int] = field(default_factory=dict)
    initial: bool = True


@dataclass(frozen=True)
class Spec:
    """One component of a plugin. `target` ("module:attribute") is imported only when the component is built."""

    kind: str
    name: str
    params: type
    target: str
    summary: str
    traits: Mapping[str, Any] = field(default_factory=dict)


def degradation(
    name: str,
    params: type,
    *,
    target: str,
    summary: str,
    linear: bool = False,
    continuous: bool = True,
    levels: int | None = None,
    gaussian: bool = False,
    t_min: float = 0.0,
    channels: int | None = None,
    range: tuple[float, float] = (-1.0, 1.0),
    bounded: bool = False,
    differentiable: bool = True,
    compilable: bool = True,
    memory: float = 4.0,
    of: str = "degradation",
) -> Spec:
    """Declares a degradation, built as `target(params)`.

    linear: affine in x0; adjoint and svd then describe D - D(0). continuous: no jump in u. levels: of u nothing counts
    but ⌈levels·u⌉, so restorers are shown the severity of that level. gaussian: D = α x0 + σ z with z ~ N(0, I). t_min:
    the least severity at which a restorer is asked. channels: works on that many only. range: the values its formulas
    are written for, (-1, 1) or (0, 1); the host converts. bounded: images in [-1, 1] stay there. differentiable: its
    gradient with respect to the image is right. compilable: made of tensor operations alone, so that it never waits for
    the device and is one graph for torch.compile; False for one that wraps numpy.
    memory: what a call takes at most, its result included, in input batches; above 4, the host calls it with parts of
    the batch. of: the kind of the components that its parameter `of` holds, built, where it has one.
    """
    traits = {
        "linear": linear,
        "continuous": continuous,
        "levels": levels,
        "gaussian": gaussian,
        "t_min": t_min,
        "channels": channels,
        "range": range,
        "bounded": bounded,
        "differentiable": differentiable,
        "compilable": compilable,
        "memory": memory,
        "of": of,
    }
    return Spec("degradation", name, params, target, summary, traits)


def backbone(
    name: str, params: type, *, target: str, summary: str, accepts: tuple[str, ...] = (), variants: str = ""
) -> Spec:
    """Declares a backbone, built as `target(params, context)`.

    accepts: the condition keys it understands. variants: "module:function" that is imported on demand and gives the
    names of the networks it can be, each with its parameters (`Mapping[str, Mapping[str, Any]]`), for `rethaw
    backbones`.
    """
    return Spec("backbone", name, params, target, summary, {"accepts": accepts, "variants": variants})


def conditioner(name: str, params: type, *, target: str, summary: str) -> Spec:
    """Declares a conditioner, built as `target(params)`."""
    return Spec("conditioner", name, params, target, summary)


def classifier(name: str, params: type, *, target: str, summary: str) -> Spec:
    """Declares a classifier of degraded images, built as `target(params, context)`."""
    return Spec("classifier", name, params, target, summary)


def guide(name: str, params: type, *, target: str, summary: str) -> Spec:
    """Declares a guide, built as `target(params)`."""
    return Spec("guide", name, params, target, summary)


def sampler(name: str, params: type, *, target: str, summary: str) -> Spec:
    """Declares a sampler, built as `target(params)`."""
    return Spec("sampler", name, params, target, summary)


def dataset(name: str, params: type, *, target: str, summary: str) -> Spec:
    """Declares a dataset, built as `target(params)`."""
    return Spec("dataset", name, params, target, summary)


def metric(name: str, params: type, *, target: str, summary: str) -> Spec:
    """Declares a metric, built as `target(params)`."""
    return Spec("metric", name, params, target, summary)


def importer(name: str, params: type, *, target: str, summary: str, files: str = "") -> Spec:
    """Declares an importer of trained weights, built as `target(params)`.

    files: what a source of its kind is made of, for messages.
    """
    return Spec("importer", name, params, target, summary, {"files": files})


def prior(name: str, params: type, *, target: str, summary: str) -> Spec:
    """Declares a generation prior, built as `target(params)`."""
    return Spec("prior", name, params, target, summary)
