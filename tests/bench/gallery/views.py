"""The pictures of an exhibit."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rethaw import pictures
from rethaw.pictures.canvas import Canvas
from tests.bench.gallery.figures import to_nearest
from tests.bench.gallery.scene import SEED, Scene
from tests.bench.iterating import sharpness

ACROSS, STATIONS = 12, 9
SEVERITIES = (0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 1.0)
STRENGTHS = (0.2, 0.35, 0.5, 0.65, 0.8)


def drawn(scene: Scene, rows: list[list[Tensor]], labels: list[str], above: list[str]) -> Canvas:
    """A table of images, enlarged by a whole factor."""
    return pictures.grid(rows, labels, above, zoom=3 if scene.exhibit.size <= 32 else 2)


def samples(scene: Scene) -> Canvas:
    """What walks start from, and what each contestant makes of it."""
    made = {"start": scene.starts, **scene.made}
    return drawn(scene, [list(images[:ACROSS]) for images in made.values()], list(made), [])


def restorations(scene: Scene) -> Canvas:
    """Held-out images: degraded, as each contestant restores them, and clean."""
    made = {"degraded": scene.starts, **scene.made, "clean": scene.held_out}
    chosen = spread_out(len(scene.held_out), ACROSS)
    return drawn(scene, [list(images[chosen]) for images in made.values()], list(made), [])


def spread_out(count: int, most: int) -> list[int]:
    """Indices from the whole range, since images come class by class."""
    return torch.linspace(0, count - 1, min(count, most)).round().long().tolist()


def walk(scene: Scene) -> Canvas:
    """The first contestant's way of one image: x_t above, the restorer's estimate x̂0 below."""
    first = 0 if scene.exhibit.kind == "generation" else len(scene.held_out) // 2
    stations = list(scene.walk(next(iter(scene.exhibit.contestants)), first, 1))
    chosen = [stations[i] for i in spread_out(len(stations), STATIONS)]
    rows = [[step.x[0] for step in chosen], [step.x0_hat[0] for step in chosen]]
    return drawn(scene, rows, ["x_t", "x̂0"], [f"t = {float(step.t[0]):.2f}" for step in chosen])


def severities(scene: Scene) -> Canvas:
    """One step from mild and from heavy degradations, with the estimates' mean sharpness, of clean images = 1."""
    pipeline, clean = scene.pipeline, scene.held_out[spread_out(len(scene.held_out), 64)]
    rows, above = [[clean[0]], [clean[0]], [clean[-1]], [clean[-1]]], ["clean"]
    for t in SEVERITIES:
        x, state = pipeline.degrade(clean, t, SEED)
        restored = pipeline.restore(x, t, state=pipeline.parts.known(state), sampler="core.direct")
        above.append(f"t = {t:g}\nsharpness {sharpness(restored) / sharpness(clean):.2f}")
        for row, image in zip(rows, (x[0], restored[0], x[-1], restored[-1]), strict=True):
            row.append(image)
    return drawn(scene, rows, ["degraded", "in one step"] * 2, above)


def references(scene: Scene) -> Canvas:
    """New images after held-out ones: degraded as far as the label says, and restored."""
    given = scene.held_out[spread_out(len(scene.held_out), 6)]
    made = [given, *(scene.pipeline.edit(given, strength, seed=SEED) for strength in STRENGTHS)]
    rows = [[images[i] for images in made] for i in range(len(given))]
    return drawn(scene, rows, [], ["reference", *(f"strength {strength:g}" for strength in STRENGTHS)])


def captions(scene: Scene) -> Canvas:
    """Some images for each label, by each contestant."""
    assert scene.judges is not None
    classes = scene.judges.classes
    of = {label: [i for i, wanted in enumerate(scene.wanted) if wanted == label][:3] for label in classes}
    rows = [[images[i] for images in scene.made.values() for i in of[label]] for label in classes]
    above = [name if k == 0 else "" for name in scene.made for k in range(len(of[classes[0]]))]
    return drawn(scene, rows, list(classes), above)


def nearest(scene: Scene) -> Canvas:
    """What is generated, the training image nearest to it, and how far that is; the same of held-out images."""
    made = next(iter(scene.made.values()))
    rows, labels = [], []
    for name, images in (("generated", made), ("held out", scene.held_out)):
        found, distance = to_nearest(images, scene.train)
        rows += [list(images[:ACROSS]), list(found[:ACROSS])]
        labels += [name, f"nearest in training, RMSE {float(distance.mean()):.3f} on average"]
    return drawn(scene, rows, labels, [])


VIEWS: dict[str, Callable[[Scene], Canvas]] = {
    view.__name__: view for view in (samples, restorations, walk, severities, references, captions, nearest)
}
