"""`rethaw recipes`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from rethaw.api import RethawError
from rethaw.cli.common import out


def recipes(name: Annotated[str | None, typer.Argument(help="Print this recipe's YAML.")] = None) -> None:
    """List the recipes that ship with rethaw, or print one.

    [bold]Examples[/]

        rethaw recipes

        rethaw recipes deblur > my.yaml
    """
    from rethaw.config.compose import recipe_names, recipe_path

    if name:
        path = recipe_path(name)
        if not path:
            raise RethawError(f"there is no recipe {name!r}", f"The recipes are: {', '.join(recipe_names())}.")
        print(path.read_text("utf-8"), end="")
        return
    table = Table("recipe", "what it is", box=None)
    for recipe in recipe_names():
        path = recipe_path(recipe)
        first = path.read_text("utf-8").partition("\n")[0] if path else ""
        table.add_row(recipe, first.lstrip("# "))
    out.print(table)
