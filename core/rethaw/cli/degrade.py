"""`rethaw degrade`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rethaw.api import RethawError
from rethaw.cli.common import Overrides, Seed, say, spare_inputs, warn

if TYPE_CHECKING:
    from torch import Tensor

FRAMES = 30
SHEET_SIDE = 160


def degrade(
    pipeline: Annotated[str, typer.Argument(help="A YAML file, recipe or run folder; with --all, the image.")],
    image: Annotated[Path | None, typer.Argument(help="A clean image.")] = None,
    overrides: Overrides = None,
    to: Annotated[Path, typer.Option("--out", "-o", help="The picture to write.")] = Path("degraded.png"),
    count: Annotated[int, typer.Option("-n", min=2, help="Severities shown, from 0 to 1.")] = 6,
    animate: Annotated[bool, typer.Option("--animate", help="Write an animation too, beside the picture.")] = False,
    every: Annotated[bool, typer.Option("--all", help="A sheet of every installed degradation instead.")] = False,
    seed: Seed = None,
) -> None:
    """Show what a pipeline's degradation does to an image: a strip from severity 0 to 1.

    [bold]Examples[/]

        rethaw degrade deblur photo.jpg

        rethaw degrade my.yaml photo.jpg degradation.blur.sigma_max=8 --out blur.png --animate

        rethaw degrade --all photo.jpg --out sheet.png
    """
    spare_inputs([to, to.with_suffix(".gif")], [Path(pipeline), *([image] if image else [])])
    if every:
        contact_sheet(Path(pipeline), to, count, seed or 0)
    elif image is None:
        raise RethawError("name a pipeline and an image", "Such as: rethaw degrade deblur photo.jpg")
    else:
        draw_strip(pipeline, image, overrides or [], to, count, animate, seed)
    say(f"wrote {to}")


def draw_strip(
    pipeline: str, image: Path, overrides: list[str], to: Path, count: int, animate: bool, seed: int | None
) -> None:
    """One pipeline's degradation, as a strip and perhaps an animation."""
    import torch

    from rethaw.config import load_config
    from rethaw.engine import pictures
    from rethaw.engine.degradation import build_degradation, probe
    from rethaw.images import read_image
    from rethaw.ops import expand, generators

    config, registry = load_config(pipeline, overrides)
    degradation = build_degradation(config, registry)
    x0 = read_image(image, config.restorer.channels).pixels[None]
    probe(degradation, x0)
    state = degradation.draw(x0, generators(config.seed if seed is None else seed, 1))

    def at(t: float) -> Tensor:
        return degradation.degrade(x0, expand(t, x0), state)[0]

    ts = torch.linspace(0, 1, count).tolist()
    pictures.save(pictures.strip([at(t) for t in ts], [f"t = {t:.2f}" for t in ts], title=degradation.name), to)
    if animate:
        moving = to.with_suffix(".gif")
        pictures.save_animation((at(t) for t in torch.linspace(0, 1, FRAMES).tolist()), moving)
        say(f"wrote {moving}")


def contact_sheet(image: Path, to: Path, count: int, seed: int) -> None:
    """Every installed degradation that works with its default parameters, a row each; the others are told."""
    import torch
    from torch.nn.functional import interpolate

    import rethaw
    from rethaw.engine import pictures
    from rethaw.engine.degradation import probe
    from rethaw.images import read_image
    from rethaw.ops import expand, generators
    from rethaw.registry import Registry

    x0 = read_image(image).pixels[None]
    factor = SHEET_SIDE / min(x0.shape[-2:])
    if factor < 1:
        x0 = interpolate(x0, scale_factor=factor, mode="bicubic", antialias=True).clamp(-1, 1)
    ts, rows, names = torch.linspace(0, 1, count).tolist(), [], []
    for name in Registry().names("degradation"):
        try:
            degradation = rethaw.build("degradation", name)
            probe(degradation, x0)
        except RethawError as error:
            warn(f"{name} is left out: {error.message}")
            continue
        state = degradation.draw(x0, generators(seed, 1))
        rows.append([degradation.degrade(x0, expand(t, x0), state)[0] for t in ts])
        names.append(name.replace(".", " "))
    pictures.save(pictures.grid(rows, names, [f"t = {t:.2f}" for t in ts]), to)
