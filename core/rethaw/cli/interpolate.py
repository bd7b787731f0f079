"""`rethaw interpolate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rethaw.cli.common import (
    Classifier,
    Conditions,
    Device,
    Interval,
    Negative,
    SamplerName,
    Scale,
    Seed,
    Steps,
    guidance,
    pairs,
    say,
    spare_inputs,
)


def interpolate(
    run: Annotated[str, typer.Argument(help="A run folder, or a hub id owner/name.")],
    first: Annotated[Path, typer.Argument(help="An image.")],
    second: Annotated[Path, typer.Argument(help="Another image of the same size.")],
    n: Annotated[int, typer.Option("-n", min=2, help="How many images, the two ends included.")] = 8,
    to: Annotated[Path, typer.Option("--out", "-o", help="Where the results go.")] = Path("interpolated"),
    strength: Annotated[float, typer.Option(help="The severity at which the two are mixed, in (0, 1].")] = 0.6,
    own: Annotated[
        bool, typer.Option("--own", help="Each image has noise of its own; they are mixed on the arc.")
    ] = False,
    sampler: SamplerName = None,
    steps: Steps = None,
    cond: Conditions = None,
    scale: Scale = None,
    negative: Negative = None,
    interval: Interval = None,
    classifier: Classifier = None,
    seed: Seed = None,
    device: Device = None,
) -> None:
    """Go from one image to another: both are degraded, mixed in proportion, and restored.

    Writes 000.png …, strip.png and animation.gif.

    [bold]Examples[/]

        rethaw interpolate runs/noise photo.png blurred.png -n 6 --strength 0.5

        rethaw interpolate runs/cats-and-dogs cat.png dog.png --cond label=dog --guidance 2
    """
    from rethaw.engine.pipeline import Pipeline
    from rethaw.images import write_image
    from rethaw.pictures import layout as pictures

    targets = [to / f"{i:03d}.png" for i in range(n)]
    spare_inputs([*targets, to / "strip.png", to / "animation.gif"], [first, second])
    pipeline = Pipeline.load(run, device=device)
    led = guidance(pipeline.config, scale, negative, interval, classifier)
    options: dict[str, Any] = {"sampler": sampler, "steps": steps, "cond": pairs(cond, "--cond"), "guidance": led}
    images = pipeline.interpolate(first, second, n, strength, own=own, seed=seed, **options).cpu()
    for path, image in zip(targets, images, strict=True):
        write_image(path, image)
    labels = [f"{i / (n - 1):.2f}" for i in range(n)]
    title = f"{first.name} to {second.name}, mixed at t = {strength:g}"
    pictures.save(pictures.strip(list(images), labels, title=title), to / "strip.png")
    pictures.save_animation(images, to / "animation.gif")
    say(f"wrote {n} images from {first.name} to {second.name} in {to}; look at {to / 'strip.png'}")
