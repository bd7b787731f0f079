"""The figures of an exhibit: a row for each contestant, a column for each figure, named with all that it depends on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import rethaw
from rethaw.api import figure
from tests.bench.gallery.judges import SURE
from tests.bench.gallery.scene import Scene

BATCH = 256
READ, AS_TRUE, SPREAD = f"both classifiers sure (> {SURE})", "read as what it is", "images of each class"
REAL, START = "real training images", "the start"
Row = dict[str, Any]
"""By column: a number, a number with its interval [value, low, high], or text."""


def rows(scene: Scene) -> dict[str, Row]:
    """All rows: what walks start from, what each contestant makes of it, and other real images for comparison."""
    made = {"degraded" if scene.exhibit.kind == "restoration" else START: scene.starts, **scene.made}
    if "nearest" in scene.exhibit.pictures:
        made["held-out real images"] = scene.held_out
        return {label: near(scene, images) for label, images in made.items()}
    found = {label: row(scene, images) for label, images in made.items()}
    count = min(len(scene.train), len(scene.held_out))
    found[REAL] = kid(scene.train[:count], scene.held_out[:count], "unbiased") | reading(scene, scene.train, [])
    return found


def row(scene: Scene, images: Tensor) -> Row:
    """The figures of some images: beside their clean ones if they are restored, else beside real ones."""
    if scene.exhibit.kind == "generation":
        return kid(images, scene.held_out, "unbiased") | reading(scene, images, scene.wanted)
    pairs = {name.upper(): compared(f"core.{name}", images, scene.held_out)[1] for name in ("rmse", "ssim")}
    return pairs | kid(images, scene.held_out, "u_statistic") | reading(scene, images, scene.labels)


def reading(scene: Scene, images: Tensor, labels: list[str]) -> Row:
    """What the classifiers read; labels: what there should be, [] where that may be anything."""
    judges = scene.judges
    if judges is None:
        return {}
    found: Row = {AS_TRUE: judges.agreement(images, labels)} if labels else {}
    if scene.exhibit.kind == "generation":
        found[READ] = judges.share(images)
        if not labels:
            found[SPREAD] = " ".join(map(str, judges.spread(images)))
    return found


def kid(images: Tensor, real: Tensor, estimator: str) -> Row:
    """KID with its interval, under the name of its features: one column, whichever estimator the images ask for.

    Restored images and their clean ones are pairs, which only `u_statistic` takes into account.
    """
    label, value, interval = compared("perceptual.kid", images, real, features="lite0", estimator=estimator)
    return {label.replace("kid u-statistic", "kid").replace("kid", "KID"): [value, *(interval or ())]}


def compared(metric: str, images: Tensor, real: Tensor, **params: Any) -> tuple[str, float, tuple[float, float] | None]:
    """A metric's label, figure and interval, of as many images as both have."""
    meter, count = rethaw.build("metric", metric, **params), min(len(images), len(real))
    for a, b in zip(images[:count].split(BATCH), real[:count].split(BATCH), strict=True):
        meter.update(a, b.to(a.device))
    found = figure(meter, metric)
    return found.label, found.value, found.interval


def near(scene: Scene, images: Tensor) -> Row:
    """Where there are too few images for a distribution: how far they are from those learnt from."""
    return {"RMSE to the nearest training image": float(to_nearest(images, scene.train)[1].mean())}


def to_nearest(images: Tensor, among: Tensor) -> tuple[Tensor, Tensor]:
    """For each image the nearest of others, mirrored ones included, and its distance (RMSE on [0, 1])."""
    both = torch.cat([among, among.flip(3)]).to(images.device)
    distances = torch.cdist(images.clamp(-1, 1).flatten(1), both.flatten(1)) / (2 * images[0].numel() ** 0.5)
    least, at = distances.min(1)
    return both[at], least
