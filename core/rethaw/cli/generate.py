"""`rethaw generate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rethaw.api import RethawError
from rethaw.cli.common import (
    Classifier,
    Conditions,
    Device,
    Film,
    Interval,
    Negative,
    SamplerName,
    Scale,
    Seed,
    Steps,
    bar,
    conditions,
    guidance,
    say,
    write_json,
)

if TYPE_CHECKING:
    from torch import Tensor

BATCH = 16
FRAMES = 40
STRENGTH = 0.6


def generate(
    run: Annotated[str, typer.Argument(help="A run folder, or a hub id owner/name.")],
    n: Annotated[int, typer.Option("-n", min=1, help="How many images.")] = 16,
    to: Annotated[Path, typer.Option("--out", "-o", help="Where the results go.")] = Path("generated"),
    size: Annotated[str | None, typer.Option(help="HEIGHTxWIDTH or one number (default: as in training).")] = None,
    sampler: SamplerName = None,
    steps: Steps = None,
    cond: Conditions = None,
    scale: Scale = None,
    negative: Negative = None,
    interval: Interval = None,
    classifier: Classifier = None,
    reference: Annotated[
        Path | None, typer.Option("--from", help="A picture to start from, degraded, instead of x_1 (SDEdit).")
    ] = None,
    strength: Annotated[
        float | None,
        typer.Option(help="How far --from is degraded: 0 keeps it, 1 leaves nothing of it (default: 0.6)."),
    ] = None,
    animate: Annotated[bool, typer.Option("--animate", help="Also write an animation of the first batch.")] = False,
    seed: Seed = None,
    device: Device = None,
) -> None:
    """Generate images from samples of the fully degraded x_1 (noise, or the prior that the run has fitted), or from a picture.

    Writes 000.png …, grid.png and report.json; image i is the same however many are asked for.

    [bold]Examples[/]

        rethaw generate runs/noise -n 16 --steps 100

        rethaw generate runs/noise -n 4 --cond label=cat --guidance 3 --seed 7 --animate

        rethaw generate runs/noise -n 4 --from photo.png --strength 0.5
    """
    import torch

    from rethaw.engine.pipeline import Pipeline
    from rethaw.images import write_image
    from rethaw.ops import generators
    from rethaw.pictures import layout as pictures

    if (reference and size) or (strength is not None and not reference):
        raise RethawError(
            "--strength goes with --from, and --size without it", "A picture that is started from has its own size."
        )
    pipeline = Pipeline.load(run, device=device)
    severity = (STRENGTH if strength is None else strength) if reference else 1.0
    seed = pipeline.config.seed if seed is None else seed
    picture = pipeline.tensor(reference) if reference else None
    led = guidance(pipeline.config, scale, negative, interval, classifier)
    made, film = [], Film(FRAMES)
    with bar("generating", n) as done:
        for first in range(0, n, BATCH):
            count = min(BATCH, n - first)
            if picture is not None:
                x, state = pipeline.reference(picture.expand(count, *picture.shape), severity, seed, first)
            else:
                x, state = pipeline.start(count, parse_size(size), seed, first)
            rng = generators(seed + 1, count, first)
            for step in pipeline.trajectory(
                x,
                severity,
                state=state,
                sampler=sampler,
                steps=steps,
                cond=conditions(cond, count),
                guidance=led,
                generator=rng,
            ):
                if animate and not first:
                    film.add(float(step.t[0]), step.x, step.x0_hat)
            made.append(step.x.cpu())
            done(first + count)
    images = torch.cat(made)
    for i, image in enumerate(images):
        write_image(to / f"{i:03d}.png", image)
    pictures.save(pictures.sheet(images), to / "grid.png")
    if animate:
        pictures.save_animation((tile(frame[1]) for frame in film.frames), to / "animation.gif")
    write_json(
        to / "report.json", {"run": run, "n": n, "seed": seed, "sampler": sampler or pipeline.config.sampler.use}
    )
    say(f"generated {n} image{'s' * (n != 1)} in {to}; look at {to / 'grid.png'}")


def tile(images: Tensor) -> Tensor:
    """A batch (B, C, H, W) as one image, four to a row."""
    import torch

    rows = [torch.cat(list(images[i : i + 4]), -1) for i in range(0, len(images) - len(images) % 4 or len(images), 4)]
    return torch.cat(rows, -2) if len({row.shape for row in rows}) == 1 else rows[0]


def parse_size(text: str | None) -> tuple[int, int] | None:
    """ "64" or "64x96" as (height, width)."""
    if text is None:
        return None
    words = text.lower().split("x")
    if len(words) > 2 or not all(word.isdigit() and int(word) > 0 for word in words):
        raise RethawError(f"--size {text!r} is not a size", "Write 64, or 64x96 for height and width.")
    return int(words[0]), int(words[-1])
