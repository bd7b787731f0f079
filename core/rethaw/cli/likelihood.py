"""`rethaw likelihood`."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from rethaw.api import RethawError
from rethaw.cli.common import Conditions, Device, Seed, bar, conditions, say, warn, write_json


class Solver(StrEnum):
    """How the flow is solved."""

    rk4 = "rk4"
    heun = "heun"
    euler = "euler"
    adaptive = "adaptive"


def likelihood(
    run: Annotated[str, typer.Argument(help="A run folder, or a hub id owner/name.")],
    images: Annotated[list[Path], typer.Argument(help="Clean images: files or folders.")],
    to: Annotated[Path, typer.Option("--out", "-o", help="The JSON report.")] = Path("likelihood.json"),
    steps: Annotated[int, typer.Option(min=1, help="Steps of the flow, even in the log of the noise level.")] = 100,
    solver: Annotated[Solver, typer.Option(help="Of the flow; adaptive needs torchdiffeq.")] = Solver.rk4,
    probes: Annotated[
        int | None,
        typer.Option(
            min=0, help="Random probes of the trace; 0: exact (default: exact up to 64 values an image, else 1)."
        ),
    ] = None,
    tolerance: Annotated[float, typer.Option(help="Of the adaptive solver.")] = 1e-5,
    dequantise: Annotated[
        bool, typer.Option(help="Count the bits of 8-bit values, with uniform noise; else the density on [-1, 1].")
    ] = True,
    limit: Annotated[int | None, typer.Option(min=1, help="Take only that many images.")] = None,
    cond: Conditions = None,
    seed: Seed = None,
    device: Device = None,
) -> None:
    """Exact log-likelihood of images under a run trained on Gaussian noise, in bits a dimension.

    Follows the probability flow from the image to noise. Writes a JSON report with each image's bits and their mean.

    [bold]Examples[/]

        rethaw likelihood runs/noise photos/

        rethaw likelihood runs/noise photos/ --probes 4 --steps 200 --limit 100 --out bits.json
    """
    from rethaw.engine.evaluate import batches
    from rethaw.engine.pipeline import Pipeline
    from rethaw.images import find_images
    from rethaw.ops import generators

    pipeline = Pipeline.load(run, device=device)
    files = find_images(images)[:limit]
    skipped: list[str] = []
    bits: list[float] = []
    kept: list[str] = []

    def readable() -> Iterator[Path]:
        for file in files:
            before = len(skipped)
            yield file
            kept.extend([str(file)] * (len(skipped) == before))

    options = {
        "steps": steps,
        "solver": solver.value,
        "probes": probes,
        "dequantise": dequantise,
        "tolerance": tolerance,
    }
    with bar("likelihood", len(files) * steps) as done:
        for x in batches(readable(), pipeline, skipped):
            before, count = len(bits) * steps, len(x)
            rng = generators(pipeline.config.seed if seed is None else seed, count, len(bits))
            found = pipeline.log_likelihood(
                x,
                cond=conditions(cond, count),
                generator=rng,
                watch=lambda k, before=before, count=count: done(before + k * count),
                **options,
            )
            bits += found.bits.tolist()
    for reason in skipped:
        warn(f"skipped: {reason}")
    if not bits:
        raise RethawError("none of the images can be read")
    mean = sum(bits) / len(bits)
    each = dict(zip(kept, bits, strict=True))
    write_json(to, {"run": run, "bits_per_dimension": mean, "images": each, "skipped": skipped, **options})
    say(f"{mean:.4f} bits a dimension over {len(bits)} image{'s' * (len(bits) != 1)}; in {to}")
