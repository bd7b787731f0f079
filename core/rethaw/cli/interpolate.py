"""`rethaw interpolate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rethaw.cli.common import free_folder, own_report, say, spare_inputs, write_json
from rethaw.cli.options import Device, Run, Sampling, command


@command
def interpolate(
    run: Run,
    first: Annotated[Path, typer.Argument(help="An image.")],
    second: Annotated[Path, typer.Argument(help="Another image of the same size.")],
    n: Annotated[int, typer.Option("-n", min=2, help="How many images, the two ends included.")] = 8,
    to: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where the results go (default: interpolated/).")
    ] = None,
    strength: Annotated[float, typer.Option(help="The severity at which the two are mixed, in (0, 1].")] = 0.6,
    own: Annotated[
        bool, typer.Option("--own", help="Each image has noise of its own; they are mixed on the arc.")
    ] = False,
    *,
    sampling: Sampling,
    device: Device = None,
) -> None:
    """Go from one image to another: both are degraded, mixed in proportion, and restored.

    Writes 000.png …, strip.png, animation.gif and report.json.

    [bold]Examples[/]

        rethaw interpolate runs/noise photo.png blurred.png -n 6 --strength 0.5

        rethaw interpolate runs/cats-and-dogs cat.png dog.png --cond label=dog --guidance 2
    """
    from rethaw import pictures
    from rethaw.engine.pipeline import Pipeline
    from rethaw.engine.sampling import editing
    from rethaw.engine.sampling.how import described
    from rethaw.images import write_image

    to = to or free_folder(Path("interpolated"))
    own_report(to / "report.json")
    targets = [to / f"{i:03d}.png" for i in range(n)]
    spare_inputs([*targets, to / "strip.png", to / "animation.gif"], [first, second])
    pipeline = Pipeline.load(run, sampling.guides(), device=device)
    how = sampling.how(pipeline.parts.config, pipeline.parts.registry, n)
    ends = (pipeline.tensor(first), pipeline.tensor(second))
    images = editing.interpolate(pipeline.walker, ends, n, strength, how, own).cpu()
    for path, image in zip(targets, images, strict=True):
        write_image(path, image)
    labels = [f"{i / (n - 1):.2f}" for i in range(n)]
    title = f"{first.name} to {second.name}, mixed at t = {strength:g}"
    pictures.save(pictures.strip(list(images), labels, title=title), to / "strip.png")
    pictures.save_animation(images, to / "animation.gif")
    ways = {"from": first, "to": second, "n": n, "strength": strength, "own": own}
    write_json(to / "report.json", {"run": run, **ways, **described(pipeline.parts, how)})
    say(f"wrote {n} images from {first.name} to {second.name} in {to}; look at {to / 'strip.png'}")
