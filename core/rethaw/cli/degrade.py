"""`rethaw degrade`."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rethaw.api import RethawError
from rethaw.cli.common import say, spare_inputs, warn
from rethaw.cli.options import Overrides, Seed

if TYPE_CHECKING:
    from torch import Tensor

    from rethaw.config.model import Config
    from rethaw.engine.degradation.hosted import Hosted
    from rethaw.registry import Registry

FRAMES = 30
SHEET_SIDE = 64
SHORT = 12
"""Rows of a sheet from which on it is folded in two."""


def degrade(
    pipeline: Annotated[str | None, typer.Argument(help="A YAML file, recipe or run folder; not with --all.")] = None,
    image: Annotated[Path | None, typer.Argument(help="A clean image (with --all: default is a test card).")] = None,
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
    if not to.name:
        raise RethawError(f"{to} is a folder, and the result is a file", "Name it: --out degraded.png.")
    spare_inputs([to, to.with_suffix(".gif")], [Path(word) for word in (pipeline, image) if word])
    if every:
        if image or animate:
            raise RethawError(
                "--all takes one image, and no pipeline, override or --animate",
                "Such as: rethaw degrade --all photo.jpg --out sheet.png",
            )
        contact_sheet(Path(pipeline) if pipeline else None, to, count, seed or 0)
    elif pipeline is None or image is None:
        raise RethawError("name a pipeline and an image", "Such as: rethaw degrade deblur photo.jpg")
    else:
        draw_strip(pipeline, image, overrides or [], to, count, animate, seed)
    say(f"wrote {to}")


def draw_strip(
    pipeline: str, image: Path, overrides: list[str], to: Path, count: int, animate: bool, seed: int | None
) -> None:
    """One pipeline's degradation, as a strip and perhaps an animation."""
    import torch

    from rethaw import pictures
    from rethaw.config import load_config
    from rethaw.engine.degradation.build import build_degradation, probe
    from rethaw.images import read_image
    from rethaw.ops import expand, generators

    config, registry = load_config(pipeline, overrides)
    degradation = build_degradation(config.degradation, config.composed, registry)
    x0 = read_image(image, config.restorer.channels).pixels[None]
    if degradation.fields:
        degradation = degradation.for_items(fields_of(config, registry, degradation, image))
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


def fields_of(config: Config, registry: Registry, degradation: Hosted, image: Path) -> dict[str, Tensor]:
    """The fields that a degradation asks for, of the item of the pipeline's data whose clean image is that file."""
    from rethaw.engine.evaluation.subjects import batches, example_of
    from rethaw.engine.parts import assemble

    found = example_of(assemble(config, registry, "cpu"), image)
    if found is None:
        raise RethawError(
            f"{degradation.name} asks for {', '.join(degradation.fields)} of {image}, and it is no clean image of the "
            "pipeline's data",
            'Name one that is, and the data: rethaw degrade my.yaml pairs/clean/1.png "data.path=pairs/".',
        )
    skipped: list[str] = []
    for found_batch in batches([found], config.restorer.channels, degradation, skipped):
        return dict(found_batch.fields)
    raise RethawError(skipped[0])


def contact_sheet(image: Path | None, to: Path, count: int, seed: int) -> None:
    """Every installed degradation that works with its default parameters, a row each; the others are told."""
    import torch

    from rethaw import pictures
    from rethaw.registry import Registry

    x0 = sheet_image(image)
    ts = torch.linspace(0, 1, count).tolist()
    rows: dict[str, list[Tensor]] = {}
    registry = Registry()
    for name in registry.names("degradation"):
        spec = registry.find("degradation", name)[1]
        if "of" in {f.name for f in fields(spec.params)} and spec.traits["of"] == "degradation":
            continue  # made of others, it has no defaults
        try:
            if images := row(name, x0, ts, seed):
                rows[name.replace(".", " ")] = images
        except RethawError as error:
            warn(f"{name} is left out: {error.message}")
    half = len(rows) if len(rows) <= SHORT else -(-len(rows) // 2)
    labels = [f"t = {t:.2f}" for t in ts]
    parts = [dict(list(rows.items())[i : i + half]) for i in range(0, len(rows), half)]
    pictures.save(pictures.beside([pictures.grid(list(p.values()), list(p), labels, zoom=1) for p in parts]), to)


def sheet_image(image: Path | None) -> Tensor:
    """The image of a sheet, (1, 3, H, W), its shorter side at most SHEET_SIDE; a test card if none is given."""
    from torch.nn.functional import interpolate

    from rethaw.images import read_image
    from rethaw.pictures import testcard

    x0 = (read_image(image).pixels if image else testcard())[None]
    factor = SHEET_SIDE / min(x0.shape[-2:])
    return interpolate(x0, scale_factor=factor, mode="bicubic", antialias=True).clamp(-1, 1) if factor < 1 else x0


def row(name: str, x0: Tensor, ts: list[float], seed: int) -> list[Tensor]:
    """A degradation with its defaults at each severity; [] of one that only data have all of.

    Raises RethawError where it cannot be used.
    """
    import rethaw
    from rethaw.engine.degradation.build import probe
    from rethaw.ops import expand, generators

    degradation = rethaw.build("degradation", name)
    if degradation.fields:
        return []
    probe(degradation, x0)
    state = degradation.draw(x0, generators(seed, 1))
    return [degradation.degrade(x0, expand(t, x0), state)[0] for t in ts]
