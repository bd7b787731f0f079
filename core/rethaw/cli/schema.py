"""`rethaw schema`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from rethaw.cli.common import say


def schema(
    to: Annotated[Path | None, typer.Option("--out", "-o", help="A file instead of standard output.")] = None,
) -> None:
    """Print the JSON Schema of a pipeline YAML, with every installed component, for editors.

    [bold]Examples[/]

        rethaw schema --out rethaw.schema.json

    and, as the first line of a YAML: # yaml-language-server: $schema=rethaw.schema.json
    """
    from rethaw.config.schema import json_schema
    from rethaw.files import write_text
    from rethaw.registry import Registry

    text = json.dumps(json_schema(Registry()), indent=2)
    if to:
        write_text(to, text + "\n")
        say(f"wrote {to}")
    else:
        print(text)
