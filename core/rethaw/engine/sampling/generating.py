"""Generated images as files: each, a sheet of all, an animation of the first batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rethaw import pictures
from rethaw.api import Step
from rethaw.engine.sampling.editing import generation, variation
from rethaw.engine.sampling.film import Film
from rethaw.engine.sampling.how import How, described
from rethaw.engine.sampling.walking import Walker
from rethaw.images import read_image, write_image

BATCH, FRAMES = 16, 40


def generate_files(
    walker: Walker,
    n: int,
    folder: Path,
    how: How,
    size: tuple[int, int] | None,
    start: tuple[Path, float] | None,
    animate: bool,
    watch: Callable[[int], None],
) -> dict[str, Any]:
    """Writes 000.png …, grid.png and perhaps animation.gif; what a report says of them.

    size: (H, W), as in training if None. start: a picture to start from, and how far it is degraded. watch: called
    with the images done.
    """
    channels = walker.parts.config.restorer.channels
    reference = read_image(start[0], channels).pixels if start else None
    made, film = [], Film(FRAMES * animate)
    for first in range(0, n, BATCH):
        count = min(BATCH, n - first)
        own = how.of_images(first, count)
        steps: Iterator[Step]
        if start and reference is not None:
            steps = variation(walker, reference.expand(count, *reference.shape), start[1], own, first)
        else:
            steps = generation(walker, count, own, size, first)
        for step in steps:
            if not first:
                film.add(step)
        made.append(step.x.cpu())
        watch(first + count)
    images = torch.cat(made)
    for i, image in enumerate(images):
        write_image(folder / f"{i:03d}.png", image)
    pictures.save(pictures.sheet(images), folder / "grid.png")
    if animate:
        pictures.save_animation((in_rows(frame.x) for frame in film.frames), folder / "animation.gif")
    from_picture = {"from": str(start[0]), "strength": start[1]} if start else {}
    return {"n": n, **from_picture, **described(walker.parts, how)}


def in_rows(images: Tensor) -> Tensor:
    """A batch (B, C, H, W) as one image, four to a row; the rest of a last row is left out."""
    whole = images[: len(images) - len(images) % 4 or len(images)]
    return torch.cat([torch.cat(list(row), -1) for row in whole.split(4)], -2)
