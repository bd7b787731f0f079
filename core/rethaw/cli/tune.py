"""`rethaw tune`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from rethaw.api import RethawError
from rethaw.cli.common import bar, plural, say, warn
from rethaw.cli.grid import Grid, NoReference, Seed, Severity, check_metrics, severity_of
from rethaw.cli.options import Device, Overrides, Run, command, component, pairs


@command
def tune(
    run: Run,
    overrides: Overrides = None,
    *,
    data: Annotated[
        list[Path] | None,
        typer.Option("--data", help="Clean images that were not trained on: a folder, or files (repeat the option)."),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric",
            "-m",
            help="What is to be best: an id of the run's metrics, a name, or as in YAML: "
            "'{use: perceptual.kid, features: lite0}' (default: the first of the run's metrics).",
        ),
    ] = None,
    within: Annotated[
        list[str] | None,
        typer.Option(
            help="How many times worse than the best a setting may be by another metric, METRIC=FACTOR: "
            "rmse=1.1 is up to 10 % (repeat the option)."
        ),
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where what was measured goes (default: RUN/tuning).")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Take at most so many images, at random.")] = 500,
    no_reference: NoReference = False,
    severity: Severity = None,
    seed: Seed = 0,
    forget: Annotated[bool, typer.Option("--forget", help="Remove the choice: restore as trained again.")] = False,
    grid: Grid,
    device: Device = None,
) -> None:
    """Choose the sampler, the steps and the consistency that restore best, on images that were not trained on.

    The choice is written into the run (tuned.yaml), so that restore, evaluate and Python use it; what the command line
    or an override says goes before it. Settings that are far behind on some of the images are spared the others.

    [bold]Examples[/]

        rethaw tune runs/deblur --data held-out/ --metric ssim

        rethaw tune runs/deblur --data held-out/ --metric "{use: perceptual.kid, features: lite0}" --within rmse=1.1

        rethaw tune runs/deblur --data held-out/ --sampler core.cold --steps 5,10,20,50 --consistency off,observation

        rethaw tune runs/deblur --data blurred/ --no-reference --metric "{use: core.niqe, pristine: photos/}"

        rethaw tune runs/deblur --forget
    """
    from rethaw.engine.evaluation import tune as engine
    from rethaw.engine.evaluation.aim import Aim
    from rethaw.engine.evaluation.metrics import measuring, without_clean
    from rethaw.engine.evaluation.subjects import subjects
    from rethaw.engine.pipeline import Pipeline
    from rethaw.engine.run import TUNED, TUNING, find_run
    from rethaw.images import find_images, some

    found = find_run(run)
    if forget:
        say(f"{run} restores as it was trained" + ("" if found.forget_tuned() else "; it was not tuned"))
        return
    if not data:
        raise RethawError("there are no images to tune on", "Name them: --data FOLDER; or --forget the choice.")
    given = [*(overrides or ()), *grid.guides()]
    check_metrics(found, given)
    bounds, skipped = factors(within), list[str]()
    walker = Pipeline.load(found.folder, given, device=device).walker
    files = some(list(find_images(data)) if no_reference else subjects(walker.parts, data, skipped), limit)
    config, registry = walker.parts.config, walker.parts.registry
    first = component(metric, "metric", registry) if metric else config.metrics[0].id
    parts, (best, *others) = measuring(walker.parts, [first, *bounds])
    parts = without_clean(parts, [best, *others]) if no_reference else parts
    severity = severity_of(severity, not no_reference, walker.estimates)
    walker, words = walker.of(parts), grid.consistencies(found, given)
    rows = engine.settings(walker, grid.samplers(registry), grid.counts(), words, grid.shared(config))
    aim = Aim(best, dict(zip(others, bounds.values(), strict=True)))
    with bar("tuning", len(files) * len(rows)) as done:
        choice = engine.tune(walker, files, rows, aim, severity, seed, done, not no_reference)
    written = choice.save(found, to)
    for note in [*(f"skipped: {reason}" for reason in [*skipped, *choice.report.skipped]), *choice.report.notes]:
        warn(note)
    say(choice.report.markdown(choice.name))
    where = f"{to or found.path(TUNING)}: {', '.join(written)}"
    say(f"{plural(choice.report.images, 'image')}, {choice.report.how_degraded}; in {where}")
    say(f"chosen: {choice.name}: {choice.why}")
    say(f"it is in {found.path(TUNED)}; back to as trained: rethaw tune {shlex.quote(run)} --forget")


def factors(words: list[str] | None) -> dict[str, float]:
    """METRIC=FACTOR words as numbers."""
    found = {}
    for key, text in pairs(words, "--within").items():
        try:
            found[key] = float(text)
        except ValueError:
            found[key] = 0.0
        if not 1 <= found[key] < float("inf"):
            raise RethawError(f"--within {key} takes a factor from 1 on, not {text!r}", "1.1 is up to 10 % worse.")
    return found
