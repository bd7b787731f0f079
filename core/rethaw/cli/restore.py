"""`rethaw restore`."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rethaw.api import RethawError
from rethaw.cli.common import bar, free_folder, own_report, plural, say, spare_inputs, warn, write_json
from rethaw.cli.options import Device, Measured, Run, Sampling, command, pairs
from rethaw.files import json_text

if TYPE_CHECKING:
    from rethaw.engine.sampling.batch import Report

RESTORED = Path("restored")


@command
def restore(
    run: Run,
    images: Annotated[
        list[Path], typer.Argument(help="Image files or folders; and overrides of the run, such as sampler.eta=1.")
    ],
    to: Annotated[Path | None, typer.Option("--out", "-o", help="Where the results go (default: restored/).")] = None,
    severity: Annotated[
        float | None,
        typer.Option(help="How degraded the images are, in (0, 1] (default: what the run estimates, or 1)."),
    ] = None,
    enlarge: Annotated[
        int | None,
        typer.Option(min=1, max=8, help="Make them so many times as high and wide (default: the pipeline's, or 1)."),
    ] = None,
    degrade: Annotated[bool, typer.Option("--degrade", help="The images are clean: degrade them first.")] = False,
    state: Annotated[
        list[str] | None,
        typer.Option(help="A known state, KEY=FILE, such as mask=mask.png (white: hidden); or drawn, a plausible one."),
    ] = None,
    strip: Annotated[bool, typer.Option(help="Write NAME-strip.png, the way there.")] = True,
    animate: Annotated[bool, typer.Option("--animate", help="Also write an animation of each trajectory.")] = False,
    skip_done: Annotated[
        bool, typer.Option("--skip-done", help="Leave out images whose result is there already, as after Ctrl-C.")
    ] = False,
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

        rethaw restore runs/enlarge small.png --enlarge 2

        rethaw restore runs/inpaint holed.png --state mask=mask.png

        rethaw restore runs/noise blurred.png --measurement "{use: kornia.gaussian_blur, bits: 8}" --sampler core.ddrm
    """
    from rethaw.engine.pipeline import Pipeline
    from rethaw.engine.sampling.batch import ENDINGS, Batch, result_names
    from rethaw.engine.sampling.files import Job
    from rethaw.engine.sampling.how import described, with_drawn_state
    from rethaw.images import search_images

    drawn = state == ["drawn"]
    if degrade:
        check_clean(known_state=bool(state) and not drawn, enlarge=bool(enlarge))
    images, overrides = without_overrides(images)
    loaded = Pipeline.load(run, [*overrides, *measured.overrides(), *sampling.guides()], device=device).walker
    walker = loaded.restoring
    found = search_images(images)
    if note := found.note():
        warn(note)
    files, names = found.files, result_names(found.files, images)
    folder = to or (RESTORED if skip_done else free_folder(RESTORED))
    own_report(folder / "report.json")
    spare_inputs((folder / (name + ending) for name in names for ending in ENDINGS), files)
    left = [i for i, name in enumerate(names) if not (skip_done and (folder / f"{name}.png").is_file())]
    how = sampling.how(walker.parts.config, walker.parts.registry)
    how = with_drawn_state(how, walker.parts) if drawn else how
    masks = {} if drawn else {key: Path(file) for key, file in pairs(state, "--state").items()}
    job = Job(severity, how, degrade, masks, strip, animate, enlarge)
    with bar("restoring", len(left)) as done:
        report = Batch(walker, folder, job, done, warn).run([files[i] for i in left], [names[i] for i in left])
    tuned = loaded.tuned is not None and sampling.sampler is None and sampling.steps is None
    content = {"run": run, "severity": severity, "degraded": degrade, "state": masks, "tuned": tuned}
    content |= {"enlarge": enlarge, **described(walker.parts, how)}
    there = [f"{names[i]}.png" for i in range(len(names)) if i not in set(left)]
    rows = {"images": [*earlier_rows(folder / "report.json", there, content), *report.images], "failed": report.failed}
    write_json(folder / "report.json", {**content, **rows})
    conclude(report, folder, len(files), len(files) - len(left))


def check_clean(known_state: bool, enlarge: bool) -> None:
    """Raises RethawError for options that do not go with clean images."""
    if known_state:
        raise RethawError(
            "--state goes with images that are degraded already; --degrade draws a state of its own",
            "Leave out one of the two.",
        )
    if enlarge:
        raise RethawError(
            "--enlarge goes with small pictures; --degrade takes clean ones, as large as they shall be",
            "Leave out one of the two.",
        )


def earlier_rows(path: Path, there: Collection[str], content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of the report of an earlier call, for results that were there; with its settings where those were others."""
    try:
        report = json.loads(path.read_text("utf-8"))
        rows = [row for row in report["images"] if row["restored"] in there]
    except (OSError, ValueError, LookupError, TypeError):
        return []
    settings = {key: value for key, value in report.items() if key not in ("images", "failed")}
    same = settings == json.loads(json_text(content))
    return [row if same or "settings" in row else {**row, "settings": settings} for row in rows]


def conclude(report: Report, folder: Path, count: int, skipped: int) -> None:
    """Says what became of so many files; the command ends with 2 after a failure, with 130 after Ctrl-C."""
    if count == 1 and report.failed:
        raise RethawError(report.failed[0]["error"], report.failed[0]["hint"])
    for row in report.images:
        if row.get("estimated"):
            say(f"{Path(row['file']).name}: severity {row['severity']:.2f}, as the run estimates it")
    failed = f", {len(report.failed)} could not be restored" if report.failed else ""
    done = f", {skipped} were there already" if skipped else ""
    say(f"restored {plural(len(report.images), 'image')} in {folder}{failed}{done}")
    if report.stopped:
        say(f"stopped: {count - skipped - len(report.images) - len(report.failed)} of {count} images are left")
        say("go on with the same command and --skip-done")
    if report.failed or report.stopped:
        raise typer.Exit(130 if report.stopped else 2)


def without_overrides(words: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """Images, and overrides such as sampler.eta=1: words of that form that are no files."""
    overrides = [str(w) for w in words if re.match(r"[a-z_]+(\.\w+)*=", str(w)) and not w.exists()]
    return [w for w in words if str(w) not in overrides], overrides
