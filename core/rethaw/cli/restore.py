"""`rethaw restore`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rethaw.api import RethawError
from rethaw.cli.common import bar, plural, say, spare_inputs, warn, write_json
from rethaw.cli.options import Device, Measured, Run, Sampling, command, pairs


@command
def restore(
    run: Run,
    images: Annotated[list[Path], typer.Argument(help="Image files or folders.")],
    to: Annotated[Path, typer.Option("--out", "-o", help="Where the results go.")] = Path("restored"),
    severity: Annotated[
        float | None,
        typer.Option(help="How degraded the images are, in (0, 1] (default: what the run estimates, or 1)."),
    ] = None,
    degrade: Annotated[bool, typer.Option("--degrade", help="The images are clean: degrade them first.")] = False,
    state: Annotated[
        list[str] | None, typer.Option(help="A known state, KEY=FILE, such as mask=mask.png (white: hidden).")
    ] = None,
    strip: Annotated[bool, typer.Option(help="Write NAME-strip.png, the way there.")] = True,
    animate: Annotated[bool, typer.Option("--animate", help="Also write an animation of each trajectory.")] = False,
    *,
    sampling: Sampling,
    measured: Measured,
    device: Device = None,
) -> None:
    """Restore images that are degraded already (or, with --degrade, clean ones that it degrades first).

    Writes NAME.png in the file's own size, colours and depth, NAME-strip.png (the way there) and report.json.

    [bold]Examples[/]

        rethaw restore runs/deblur blurred.png --severity 0.5

        rethaw restore runs/deblur photos/ --degrade --sampler core.naive --steps 50 --animate

        rethaw restore runs/inpaint holed.png --state mask=mask.png

        rethaw restore runs/noise blurred.png --measurement "{use: kornia.gaussian_blur, bits: 8}" --sampler core.ddrm
    """
    from rethaw.engine.pipeline import Pipeline
    from rethaw.engine.sampling.files import ENDINGS, Job, restore_files, unique_names
    from rethaw.images import find_images

    if degrade and state:
        raise RethawError(
            "--state goes with images that are degraded already; --degrade draws a state of its own",
            "Leave out one of the two.",
        )
    walker = Pipeline.load(run, measured.overrides(), device=device).walker
    files = find_images(images)
    names = unique_names(files)
    spare_inputs((to / (name + ending) for name in names for ending in ENDINGS), files)
    how = sampling.how(walker.parts.config, walker.parts.registry)
    masks = {key: Path(file) for key, file in pairs(state, "--state").items()}
    job = Job(severity, how, degrade, masks, strip, animate)
    with bar("restoring", len(files)) as done:
        report = restore_files(walker, files, names, to, job, done, warn)
    write_json(to / "report.json", {"run": run, **report.as_dict(), "severity": severity})
    for row in report.images:
        if row.get("estimated"):
            say(f"{Path(row['file']).name}: severity {row['severity']:.2f}, as the run estimates it")
    failed = f", {len(report.failed)} could not be restored" if report.failed else ""
    say(f"restored {plural(len(report.images), 'image')} in {to}{failed}")
    if report.stopped:
        say(f"stopped: {len(files) - len(report.images) - len(report.failed)} of {len(files)} images are left")
    if report.failed or report.stopped:
        raise typer.Exit(130 if report.stopped else 2)
