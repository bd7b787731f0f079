"""`rethaw restore`."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rethaw.api import RethawError
from rethaw.cli.common import (
    Classifier,
    Conditions,
    Consistency,
    Device,
    Film,
    Interval,
    Measurement,
    Negative,
    SamplerName,
    Scale,
    Seed,
    Steps,
    bar,
    conditions,
    guidance,
    pairs,
    restoring,
    say,
    spare_inputs,
    warn,
    write_json,
)

if TYPE_CHECKING:
    from torch import Tensor

    from rethaw.engine.pipeline import Pipeline
    from rethaw.images import Picture

STATIONS, FRAMES = 8, 40


def restore(
    run: Annotated[str, typer.Argument(help="A run folder, or a hub id owner/name.")],
    images: Annotated[list[Path], typer.Argument(help="Image files or folders.")],
    to: Annotated[Path, typer.Option("--out", "-o", help="Where the results go.")] = Path("restored"),
    sampler: SamplerName = None,
    steps: Steps = None,
    severity: Annotated[
        float | None,
        typer.Option(help="How degraded the images are, in (0, 1] (default: what the run estimates, or 1)."),
    ] = None,
    degrade: Annotated[bool, typer.Option("--degrade", help="The images are clean: degrade them first.")] = False,
    state: Annotated[
        list[str] | None, typer.Option(help="A known state, KEY=FILE, such as mask=mask.png (white: hidden).")
    ] = None,
    measurement: Measurement = None,
    consistency: Consistency = None,
    cond: Conditions = None,
    scale: Scale = None,
    negative: Negative = None,
    interval: Interval = None,
    classifier: Classifier = None,
    animate: Annotated[bool, typer.Option("--animate", help="Also write an animation of each trajectory.")] = False,
    seed: Seed = None,
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
    from rethaw.images import find_images

    if degrade and state:
        raise RethawError(
            "--state goes with images that are degraded already; --degrade draws a state of its own",
            "Leave out one of the two.",
        )
    pipeline = Pipeline.load(run, restoring(measurement, consistency), device=device)
    files = find_images(images)
    led = guidance(pipeline.config, scale, negative, interval, classifier)
    options = {"sampler": sampler, "steps": steps, "cond": conditions(cond, 1) or {}, "guidance": led}
    job = Job(pipeline, to, severity, seed, degrade, pairs(state, "--state"), animate, options)
    names = unique_names(files)
    spare_inputs((to / (name + ending) for name in names for ending in ENDINGS), files)
    report, failed, stopped = [], [], False
    with bar("restoring", len(files)) as done:
        for i, (file, name) in enumerate(zip(files, names, strict=True)):
            try:
                report.append(job.run(file, name))
            except KeyboardInterrupt:
                stopped = True
                break
            except RethawError as error:
                if len(files) == 1 or not error.message.startswith(("cannot read", str(file))):
                    raise
                failed.append({"file": str(file), "error": error.message})
                warn(error.message)
            done(i + 1)
    write_json(to / "report.json", {"run": run, "severity": severity, "images": report, "failed": failed})
    say(
        f"restored {len(report)} image{'s' * (len(report) != 1)} in {to}"
        + (f", {len(failed)} could not be read" if failed else "")
    )
    if stopped:
        say(f"stopped: {len(files) - len(report) - len(failed)} of {len(files)} images are left")
    if failed or stopped:
        raise typer.Exit(130 if stopped else 2)


ENDINGS = (".png", "-strip.png", "-degraded.png", ".gif")


def unique_names(files: list[Path]) -> list[str]:
    """The files' stems, numbered where anything that is written for two of them would have one name."""
    taken: set[str] = set()
    names = []
    for file in files:
        candidates = (file.stem, *(f"{file.stem}-{n}" for n in range(2, len(files) * 4 + 3)))
        name = next(c for c in candidates if not taken & {c + ending for ending in ENDINGS})
        taken |= {name + ending for ending in ENDINGS}
        names.append(name)
    return names


class Job:
    """Restores one file at a time with the same settings."""

    def __init__(
        self,
        pipeline: Pipeline,
        to: Path,
        severity: float | None,
        seed: int | None,
        degrade: bool,
        state: dict[str, str],
        animate: bool,
        options: dict[str, Any],
    ) -> None:
        self.pipeline, self.to, self.degrade, self.animate = pipeline, to, degrade, animate
        self.severity, self.options = severity, options
        self.seed = pipeline.config.seed if seed is None else seed
        self.state_files = state

    def run(self, file: Path, name: str) -> dict[str, Any]:
        """Restores a file and writes all about it; its row of the report."""
        from rethaw.images import read_image, write_image
        from rethaw.pictures import layout as pictures

        picture = read_image(file, self.pipeline.config.restorer.channels)
        for note in picture.notes:
            warn(f"{file}: {note}")
        began = time.perf_counter()
        x, state, row = self.input(picture, name)
        severity, told = self.severity_of(file, x)
        own = self.pipeline.observed(picture.pixels[None], self.seed) if self.degrade else {}
        options = {**self.options, "state": state, "cond": {**own, **self.options["cond"]}}
        film, final = self.walk(x, severity, name, options)
        colours = picture.grey and self.pipeline.makes_colour(x)
        like = replace(picture, grey=False) if colours else picture
        write_image(self.to / f"{name}.png", final, like=like)
        strip = [x[0].cpu(), *(frame[2] for frame in film), final]
        labels = ["input", *(f"x0 seen at t = {frame[0]:.2f}" for frame in film), "restored"]
        pictures.save(pictures.strip(strip, labels, title=file.name), self.to / f"{name}-strip.png")
        seconds = round(time.perf_counter() - began, 3)
        return {"file": str(file), "restored": f"{name}.png", "severity": severity, **told, **row, "seconds": seconds}

    def severity_of(self, file: Path, x: Tensor) -> tuple[float, dict[str, Any]]:
        """How degraded an image is: as given, else as the run estimates it, else fully; and what the report says of that."""
        if self.severity is not None:
            return self.severity, {}
        if self.degrade or self.pipeline.measurement or not self.pipeline.estimates:
            return 1.0, {}
        severity = float(self.pipeline.estimate(x))
        say(f"{file.name}: severity {severity:.2f}, as the run estimates it")
        return severity, {"estimated": True}

    def input(self, picture: Picture, name: str) -> tuple[Tensor, Any, dict[str, Any]]:
        """The degraded image (1, C, H, W), its state as far as it is known, and what the report says of it."""
        from rethaw.images import write_image

        x = picture.pixels[None].to(self.pipeline.device)
        if not self.degrade:
            return x, self.given_state(x), {}
        x_t, state = self.pipeline.degrade(x, 1.0 if self.severity is None else self.severity, self.seed)
        write_image(self.to / f"{name}-degraded.png", x_t[0].cpu(), like=picture)
        return x_t, self.pipeline.known(state), {"degraded": f"{name}-degraded.png"}

    def given_state(self, x: Tensor) -> dict[str, Tensor] | None:
        """The state that the user gives by file; None without one."""
        from rethaw.images import read_image

        found = {}
        for key, file in self.state_files.items():
            values = (read_image(Path(file), 1).pixels[None].to(x) + 1) / 2
            if values.shape[-2:] != x.shape[-2:]:
                raise RethawError(
                    f"--state {key}: {file} is {values.shape[-1]}×{values.shape[-2]} pixels, "
                    f"the image {x.shape[-1]}×{x.shape[-2]}"
                )
            found[key] = values
        return found or None

    def walk(self, x: Tensor, severity: float, name: str, options: dict[str, Any]) -> tuple[list[Any], Tensor]:
        """The stations of the trajectory that are shown, and the restored image (C, H, W)."""
        from rethaw.ops import generators
        from rethaw.pictures import layout as pictures

        film, frames = Film(STATIONS), Film(FRAMES)
        for step in self.pipeline.restoration(x, severity, generator=generators(self.seed, 1), **options):
            film.add(float(step.t[0]), step.x[0], step.x0_hat[0])
            if self.animate:
                frames.add(float(step.t[0]), step.x[0], step.x0_hat[0])
        final = step.x[0].cpu()
        if self.animate:
            moving = [frame[1] for frame in frames.frames] + [final]
            pictures.save_animation(moving, self.to / f"{name}.gif")
        return [frame for frame in film.frames if frame[0] > 0], final
