"""`rethaw degrade`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rethaw.cli.common import Overrides, Seed, say

FRAMES = 30


def degrade(
    pipeline: Annotated[str, typer.Argument(help="A YAML file, recipe or run folder.")],
    image: Annotated[Path, typer.Argument(help="A clean image.")],
    overrides: Overrides = None,
    to: Annotated[Path, typer.Option("--out", "-o", help="The picture to write.")] = Path("degraded.png"),
    count: Annotated[int, typer.Option("-n", min=2, help="Severities shown, from 0 to 1.")] = 6,
    animate: Annotated[bool, typer.Option("--animate", help="Write an animation too, beside the picture.")] = False,
    seed: Seed = None,
) -> None:
    """Show what a pipeline's degradation does to an image: a strip from severity 0 to 1.

    [bold]Examples[/]

        rethaw degrade deblur photo.jpg

        rethaw degrade my.yaml photo.jpg degradation.blur.sigma_max=8 --out blur.png --animate
    """
    import torch

    from rethaw.config import load_config
    from rethaw.engine import pictures
    from rethaw.engine.degradation import build_degradation, probe
    from rethaw.images import read_image
    from rethaw.ops import expand, generators

    config, registry = load_config(pipeline, overrides or ())
    degradation = build_degradation(config, registry)
    x0 = read_image(image, config.restorer.channels).pixels[None]
    probe(degradation, x0)
    state = degradation.draw(x0, generators(config.seed if seed is None else seed, 1))
    ts = torch.linspace(0, 1, count).tolist()
    shown = [degradation.degrade(x0, expand(t, x0), state)[0] for t in ts]
    pictures.save(pictures.strip(shown, [f"t = {t:.2f}" for t in ts], title=degradation.name), to)
    say(f"wrote {to}")
    if animate:
        times = torch.linspace(0, 1, FRAMES).tolist()
        moving = to.with_suffix(".gif")
        pictures.save_animation((degradation.degrade(x0, expand(t, x0), state)[0] for t in times), moving)
        say(f"wrote {moving}")
