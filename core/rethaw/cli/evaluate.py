"""`rethaw evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rethaw.cli.common import (
    Classifier,
    Conditions,
    Consistency,
    Device,
    Interval,
    Measurement,
    Negative,
    Scale,
    Severity,
    Steps,
    bar,
    guidance,
    pairs,
    restoring,
    say,
    warn,
    write_json,
)

SAMPLERS = ("core.direct", "core.naive", "core.cold")


def evaluate(
    run: Annotated[str, typer.Argument(help="A run folder, or a hub id owner/name.")],
    data: Annotated[list[Path], typer.Option("--data", help="Clean images: a folder, or files (repeat the option).")],
    to: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where the results go (default: RUN/evaluation).")
    ] = None,
    samplers: Annotated[
        list[str] | None,
        typer.Option("--sampler", "-s", help="A sampler to measure (repeat it; default: direct, naive, cold)."),
    ] = None,
    steps: Steps = None,
    severity: Severity = 1.0,
    measurement: Measurement = None,
    consistency: Consistency = None,
    cond: Conditions = None,
    scale: Scale = None,
    negative: Negative = None,
    interval: Interval = None,
    classifier: Classifier = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Take only that many images.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the degradations.")] = 0,
    device: Device = None,
) -> None:
    """Degrade clean images, restore them with each sampler, and measure both (PSNR, SSIM, RMSE).

    Writes results.md, results.json and example.png.

    [bold]Examples[/]

        rethaw evaluate runs/deblur --data photos/

        rethaw evaluate runs/deblur --data photos/ --sampler core.cold --steps 50 --limit 100

        rethaw evaluate runs/cats-and-dogs --data photos/cats --cond label=cat --guidance 2

        rethaw evaluate runs/noise --data photos/ --measurement core.desaturate --sampler core.ddnm
    """
    from rethaw.engine.evaluate import evaluate as measure
    from rethaw.engine.pipeline import Pipeline
    from rethaw.files import write_text
    from rethaw.images import find_images
    from rethaw.pictures import layout as pictures

    files = find_images(data)[:limit]
    pipeline = Pipeline.load(run, restoring(measurement, consistency), device=device)
    folder = to or (pipeline.folder or Path(run)) / "evaluation"
    told, led = pairs(cond, "--cond"), guidance(pipeline.config, scale, negative, interval, classifier)
    with bar("evaluating", len(files)) as done:
        report = measure(pipeline, files, samplers or SAMPLERS, severity, steps, seed, done, told, led)
    for reason in report.skipped:
        warn(f"skipped: {reason}")
    title = f"{report.images} image{'s' * (report.images != 1)}, severity {severity:g}"
    write_text(folder / "results.md", f"{report.markdown()}\n\n{title}\n")
    write_json(folder / "results.json", report.as_dict())
    pictures.save(pictures.strip(list(report.example.values()), list(report.example)), folder / "example.png")
    say(report.markdown())
    say(f"{title}; in {folder}: results.md, results.json, example.png")
