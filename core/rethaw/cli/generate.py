"""`rethaw generate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rethaw.api import RethawError
from rethaw.cli.common import bar, free_folder, own_report, plural, say, write_json
from rethaw.cli.options import Device, Run, Sampling, command

STRENGTH = 0.6


@command
def generate(
    run: Run,
    n: Annotated[int, typer.Option("-n", min=1, help="How many images.")] = 16,
    to: Annotated[Path | None, typer.Option("--out", "-o", help="Where the results go (default: generated/).")] = None,
    size: Annotated[str | None, typer.Option(help="HEIGHTxWIDTH or one number (default: as in training).")] = None,
    reference: Annotated[
        Path | None, typer.Option("--from", help="A picture to start from, degraded, instead of x_1 (SDEdit).")
    ] = None,
    strength: Annotated[
        float | None,
        typer.Option(help="How far --from is degraded: 0 keeps it, 1 leaves nothing of it (default: 0.6)."),
    ] = None,
    animate: Annotated[bool, typer.Option("--animate", help="Also write an animation of the first batch.")] = False,
    *,
    sampling: Sampling,
    device: Device = None,
) -> None:
    """Generate images from samples of the fully degraded x_1 (noise, or the run's fitted prior), or from a picture.

    Writes 000.png …, grid.png and report.json; image i is the same however many are asked for.

    [bold]Examples[/]

        rethaw generate runs/noise -n 16 --steps 100

        rethaw generate runs/noise -n 4 --cond label=cat --guidance 3 --seed 7 --animate

        rethaw generate runs/noise -n 4 --from photo.png --strength 0.5
    """
    from rethaw.engine.pipeline import Pipeline
    from rethaw.engine.sampling.generating import generate_files

    if (reference and size) or (strength is not None and not reference):
        raise RethawError(
            "--strength goes with --from, and --size without it", "A picture that is started from has its own size."
        )
    walker = Pipeline.load(run, sampling.guides(), device=device).walker
    how = sampling.how(walker.parts.config, walker.parts.registry, n)
    folder = to or free_folder(Path("generated"))
    own_report(folder / "report.json")
    start = (reference, STRENGTH if strength is None else strength) if reference else None
    with bar("generating", n) as done:
        report = generate_files(walker, n, folder, how, parse_size(size), start, animate, done)
    write_json(folder / "report.json", {"run": run, **report})
    say(f"generated {plural(n, 'image')} in {folder}; look at {folder / 'grid.png'}")


def parse_size(text: str | None) -> tuple[int, int] | None:
    """ "64" or "64x96" as (height, width)."""
    if text is None:
        return None
    words = text.lower().split("x")
    if len(words) > 2 or not all(word.isdigit() and int(word) > 0 for word in words):
        raise RethawError(f"--size {text!r} is not a size", "Write 64, or 64x96 for height and width.")
    return int(words[0]), int(words[-1])
