"""`rethaw evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rethaw.cli.common import bar, free_folder, plural, say, warn, write_json
from rethaw.cli.options import Conditioning, Device, Measured, Run, Severity, Steps, command, pairs, sampler

SAMPLERS = ("core.direct", "core.naive", "core.cold")


@command
def evaluate(
    run: Run,
    data: Annotated[list[Path], typer.Option("--data", help="Clean images: a folder, or files (repeat the option).")],
    to: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Where the results go (default: RUN/evaluation, or the next free one)."),
    ] = None,
    samplers: Annotated[
        list[str] | None,
        typer.Option(
            "--sampler", "-s", help="A sampler to measure (repeat it; default: direct, naive, cold and the run's own)."
        ),
    ] = None,
    steps: Steps = None,
    severity: Severity = 1.0,
    limit: Annotated[int | None, typer.Option(min=1, help="Take only that many images.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the degradations.")] = 0,
    *,
    conditioning: Conditioning,
    measured: Measured,
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
    from rethaw import pictures
    from rethaw.engine.evaluation.evaluate import evaluate as measure
    from rethaw.engine.pipeline import Pipeline
    from rethaw.engine.run import find_run
    from rethaw.engine.sampling.how import How, described
    from rethaw.files import write_text
    from rethaw.images import find_images

    files = find_images(data)[:limit]
    walker = Pipeline.load(run, measured.overrides(), device=device).walker
    config, registry = walker.parts.config, walker.parts.registry
    cond = pairs(conditioning.cond, "--cond")
    guidance = conditioning.guided(config)
    names = samplers or dict.fromkeys([*SAMPLERS, config.sampler.use])
    rows = {name: How(sampler(name, registry), steps, cond, guidance) for name in names}
    folder = to or free_folder(find_run(run).path("evaluation"))
    with bar("evaluating", len(files)) as done:
        report = measure(walker, files, rows, severity, seed, done)
    for reason in report.skipped:
        warn(f"skipped: {reason}")
    title = f"{plural(report.images, 'image')}, severity {severity:g}"
    write_text(folder / "results.md", f"{report.markdown()}\n\n{title}\n")
    how = {name: described(walker.parts, each) for name, each in rows.items()}
    write_json(folder / "results.json", {"run": run, **report.as_dict(), "seed": seed, "how": how})
    pictures.save(pictures.strip(list(report.example.values()), list(report.example)), folder / "example.png")
    say(report.markdown())
    say(f"{title}; in {folder}: results.md, results.json, example.png")
