"""`rethaw evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rethaw.cli.common import bar, free_folder, plural, say, warn
from rethaw.cli.grid import Data, Grid, NoReference, Seed, Severity, check_metrics, severity_of
from rethaw.cli.options import Device, Measurement, Overrides, Run, command, component

SAMPLERS = ("core.direct", "core.naive", "core.cold")


@command
def evaluate(
    run: Run,
    overrides: Overrides = None,
    *,
    data: Data,
    to: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Where the results go (default: RUN/evaluation, or the next free one)."),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric",
            "-m",
            help="What to measure: an id of the run's metrics, a name, or as in YAML: "
            "'{use: perceptual.kid, features: lite0}' (repeat the option; default: the run's metrics).",
        ),
    ] = None,
    no_reference: NoReference = False,
    severity: Severity = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Take only that many images, from all of them.")] = None,
    seed: Seed = 0,
    grid: Grid,
    measurement: Measurement = None,
    device: Device = None,
) -> None:
    """Degrade clean images, restore them in every way that is asked for, and measure (PSNR, SSIM, RMSE, or --metric).

    Every combination of samplers (default: direct, naive, cold and the run's own), steps and consistencies is a row.
    Writes results.md, results.json, sheet.png (a few images of each row) and, where a metric of distortion and one of
    perception are measured, curve.png.

    [bold]Examples[/]

        rethaw evaluate runs/deblur --data photos/

        rethaw evaluate runs/deblur --data photos/ --steps 3,10,25 --consistency off,observation

        rethaw evaluate runs/deblur --data photos/ -m rmse -m "{use: perceptual.kid, features: lite0}" --limit 500

        rethaw evaluate runs/cats-and-dogs --data photos/cats --cond label=cat --guidance 2

        rethaw evaluate runs/noise --data photos/ --measurement core.desaturate --sampler core.ddnm

        rethaw evaluate runs/deblur --data blurred/ --no-reference -m "{use: core.niqe, pristine: photos/}"
    """
    from rethaw.engine.evaluation import grid as engine
    from rethaw.engine.evaluation.evaluate import evaluate as measure
    from rethaw.engine.evaluation.metrics import measuring, without_clean
    from rethaw.engine.evaluation.subjects import subjects
    from rethaw.engine.pipeline import Pipeline
    from rethaw.engine.run import find_run
    from rethaw.images import find_images, some

    found, skipped = find_run(run), list[str]()
    given = [*(overrides or ()), *grid.guides(), *([f"measurement={measurement}"] if measurement else [])]
    if not metric:
        check_metrics(found, given)
    walker = Pipeline.load(found.folder, given, device=device).walker.restoring
    files = list(find_images(data)) if no_reference else subjects(walker.parts, data, skipped)
    files = some(files, limit) if limit else files
    config, registry = walker.parts.config, walker.parts.registry
    named = [component(text, "metric", registry) for text in metric or ()]
    parts, chosen = measuring(walker.parts, named, only=bool(named))
    walker = walker.of(without_clean(parts, chosen) if no_reference else parts)
    severity = severity_of(severity, not no_reference, walker.estimates)
    samplers = grid.samplers(registry) or list(dict.fromkeys([*SAMPLERS, config.sampler.use]))
    words = grid.consistencies(found, given)
    rows = engine.grid(walker, samplers, grid.counts(), words, grid.shared(config))
    folder = to or free_folder(found.path("evaluation"))
    with bar("evaluating", len(files) * len(rows)) as done:
        report = measure(walker, files, rows, severity, seed, done, not no_reference)
    written = report.save(folder, run=run)
    for note in [*(f"skipped: {reason}" for reason in [*skipped, *report.skipped]), *report.notes]:
        warn(note)
    say(report.markdown())
    say(f"{plural(report.images, 'image')}, {report.how_degraded}; in {folder}: {', '.join(written)}")
