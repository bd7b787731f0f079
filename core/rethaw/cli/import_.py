"""`rethaw import`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from rethaw.cli.common import say, warn
from rethaw.cli.options import Overrides, component


def import_(
    source: Annotated[str, typer.Argument(help="A file or folder with trained weights, or a hub id owner/name.")],
    overrides: Overrides = None,
    to: Annotated[Path | None, typer.Option("--out", "-o", help="The run folder (default: runs/NAME).")] = None,
    importer: Annotated[
        str | None, typer.Option(help="Who reads it, by name or as in YAML: '{use: deepinv.denoiser, model: DRUNet}'.")
    ] = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch a hub id that is not in the cache.")] = False,
) -> None:
    """Make a run from weights that others have trained, with no training; nothing of the source is ever run.

    [bold]Examples[/]

        rethaw import ddpm-cifar10-32/ --out runs/ddpm

        rethaw import RealESRGAN_x4plus.pth --out runs/enlarge

        rethaw import scunet.safetensors --out runs/scunet restorer.tile=256
    """
    from rethaw.engine.importing import import_run
    from rethaw.registry import Registry

    registry, folder = Registry(), to or Path("runs") / (Path(source).stem or "imported")
    by = component(importer, "importer", registry) if importer else None
    walker, notes = import_run(source, folder, overrides or (), by, download, registry)
    for note in notes:
        warn(note)
    config = walker.parts.config
    degradation = " + ".join(item.use for item in config.degradation)
    say(f"imported {source}: {config.backbone.use} against {degradation}, by {config.sampler.use}, in {folder}")
    use = (
        "generate {}"
        if walker.parts.degradation.gaussian and config.sampler.use != "core.direct"
        else "restore {} IMAGE"
    )
    say(f"then: rethaw {use.format(shlex.quote(str(folder)))}")
