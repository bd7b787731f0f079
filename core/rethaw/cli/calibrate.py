"""`rethaw calibrate`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rethaw.api import RethawError
from rethaw.cli.common import say, spare_inputs
from rethaw.cli.options import Overrides, Pipeline, Seed

if TYPE_CHECKING:
    from torch import Tensor

    from rethaw.engine.degradation.calibrate import Calibration
    from rethaw.engine.parts import Parts

SIDE = 128


def calibrate(
    pipeline: Pipeline,
    overrides: Overrides = None,
    images: Annotated[
        list[Path] | None, typer.Option("--images", "-i", help="Files or folders (default: the pipeline's data).")
    ] = None,
    item: Annotated[
        str | None, typer.Option("--item", help="The id of the one degradation to calibrate, of a list.")
    ] = None,
    metric: Annotated[
        str, typer.Option("--metric", "-m", help="core.rmse, core.ssim, or any other installed metric.")
    ] = "core.rmse",
    knots: Annotated[int, typer.Option(min=2, max=100, help="Knots of the schedule.")] = 11,
    count: Annotated[int, typer.Option("-n", min=1, help="Images to measure on.")] = 16,
    to: Annotated[
        Path | None, typer.Option("--out", "-o", help="A YAML file to write, which extends this one.")
    ] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="A picture of the distances before and after.")] = None,
    seed: Seed = None,
) -> None:
    """Find the schedule whose steps are even to the eye, or to any metric.

    Measures how far each severity takes images, and prints the degradation with the schedule (knots) under which that
    distance grows evenly. In a list, all items share the new pace; with --item, one is calibrated as it is alone.

    [bold]Examples[/]

        rethaw calibrate deblur data.path=photos/ --plot pace.png

        rethaw calibrate my.yaml --item blur --metric core.ssim --out even.yaml
    """
    from rethaw.config import load_config
    from rethaw.engine.degradation import calibrate as engine
    from rethaw.engine.parts import assemble

    spare_inputs(filter(None, (to, plot)), [Path(pipeline), *(images or [])])
    config, registry = load_config(pipeline, [*(overrides or []), *([f"seed={seed}"] if seed is not None else [])])
    parts = assemble(config, registry, "cpu")
    x0, fields = (squares(images, config.restorer.channels, count), {}) if images else examples(parts, count)
    found = engine.calibrate(parts, x0, metric, knots, item, fields)
    say(
        f"# {metric} on {len(x0)} images, "
        + "; ".join(
            f"{when} at most {part:.0%} from even" for when, part in zip(("before", "after"), found.uneven, strict=True)
        )
    )
    say(engine.as_yaml(found.config).rstrip())
    write(found, pipeline, metric, to, plot)


def squares(paths: list[Path], channels: int, count: int) -> Tensor:
    """The first images of files and folders, their middle squares at one size, (B, C, SIDE, SIDE)."""
    import torch
    from torch.nn.functional import interpolate

    from rethaw.images import find_images, read_image

    found = []
    for path in find_images(paths)[:count]:
        x = read_image(path, channels).pixels
        side = min(x.shape[-2:])
        top, left = ((n - side) // 2 for n in x.shape[-2:])
        square = x[None, :, top : top + side, left : left + side]
        found.append(interpolate(square, (SIDE, SIDE), mode="bicubic", antialias=True).clamp(-1, 1))
    return torch.cat(found)


def examples(parts: Parts, count: int) -> tuple[Tensor, dict[str, Tensor]]:
    """The first images of the pipeline's data, (B, C, H, W), and the fields of theirs that its degradation asks for."""
    from rethaw.engine.degradation.fields import asked_of
    from rethaw.engine.training.examples import training_order

    if parts.config.data is None:
        raise RethawError("the pipeline has no data to measure on", "Give images: --images photos/.")
    data = parts.data()
    batch = training_order(data, parts.config, count).batch(0, min(count, len(data)))
    degradation = parts.degradation
    return batch["image"], asked_of(batch, parts.config.data.use, degradation.fields, degradation.name)


def write(found: Calibration, pipeline: str, metric: str, to: Path | None, plot: Path | None) -> None:
    """The YAML file and the picture, where they are asked for."""
    from rethaw import pictures
    from rethaw.engine.degradation import calibrate as engine
    from rethaw.files import write_text

    if to:
        base = os.path.relpath(pipeline, to.parent) if Path(pipeline).exists() else pipeline
        write_text(to, engine.as_yaml(found.config, base))
        say(f"# wrote {to}")
    if plot:
        lines = {"before": found.before, "after": found.after}
        pictures.save(pictures.curves(lines, "how far severity takes images", "severity t", metric), plot)
        say(f"# wrote {plot}")
