"""`rethaw validate`."""

from __future__ import annotations

from typing import Annotated

import typer

from rethaw.cli.common import say
from rethaw.cli.options import Overrides


def validate(
    pipeline: Annotated[str, typer.Argument(help="A YAML file, recipe or run folder.")],
    overrides: Overrides = None,
    show: Annotated[bool, typer.Option("--show", help="Print the pipeline with everything spelt out.")] = False,
) -> None:
    """Check a pipeline without loading torch; every mistake is shown with its file, line and column.

    [bold]Examples[/]

        rethaw validate my.yaml

        rethaw validate deblur data.path=photos/ --show
    """
    from rethaw.config import load_config
    from rethaw.config.dump import dump_config

    config, _ = load_config(pipeline, overrides or ())
    if show:
        print(dump_config(config), end="")
        return
    degradations = " + ".join(item.use for item in config.degradation)
    say(f"{pipeline} is valid: {degradations}, restored by {config.backbone.use} and {config.sampler.use}")
