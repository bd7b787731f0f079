"""`rethaw likelihood`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from rethaw.api import RethawError
from rethaw.cli.common import bar, plural, say, warn, write_json
from rethaw.cli.options import Conditioning, Device, Run, Seed, command, pairs


class Solver(StrEnum):
    """How the flow is solved."""

    rk4 = "rk4"
    heun = "heun"
    euler = "euler"
    adaptive = "adaptive"


@command
def likelihood(
    run: Run,
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
    limit: Annotated[int | None, typer.Option(min=1, help="Take only that many images, from all of them.")] = None,
    seed: Seed = None,
    *,
    conditioning: Conditioning,
    device: Device = None,
) -> None:
    """Exact log-likelihood of images under a run trained on Gaussian noise, in bits a dimension.

    Follows the probability flow from the image to noise. Writes a JSON report with each image's bits and their mean.

    [bold]Examples[/]

        rethaw likelihood runs/noise photos/

        rethaw likelihood runs/noise photos/ --probes 4 --steps 200 --limit 100 --out bits.json
    """
    from rethaw.engine.evaluation.bits import bits_of_files
    from rethaw.engine.pipeline import Pipeline
    from rethaw.engine.sampling.how import How
    from rethaw.images import find_images, some

    walker = Pipeline.load(run, device=device).walker
    files = find_images(images)
    files = some(files, limit) if limit else files
    options: dict[str, Any] = {
        "steps": steps,
        "solver": solver.value,
        "probes": probes,
        "dequantise": dequantise,
        "tolerance": tolerance,
    }
    how = How(cond=pairs(conditioning.cond, "--cond"), guidance=conditioning.guided(walker.parts.config), seed=seed)
    with bar("likelihood", len(files) * steps) as done:
        bits, skipped = bits_of_files(walker, files, how, done, **options)
    for reason in skipped:
        warn(f"skipped: {reason}")
    if not bits:
        raise RethawError("none of the images can be read")
    mean = sum(bits.values()) / len(bits)
    write_json(to, {"run": run, "bits_per_dimension": mean, "images": bits, "skipped": skipped, **options})
    say(f"{mean:.4f} bits a dimension over {plural(len(bits), 'image')}; in {to}")
