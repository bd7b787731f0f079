"""`rethaw recipes`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from rethaw.api import RethawError
from rethaw.cli.common import out


def recipes(name: Annotated[str | None, typer.Argument(help="Print this recipe's YAML.")] = None) -> None:
    """List the recipes that ship with rethaw, or print one.

    [bold]Examples[/]

        rethaw recipes

        rethaw recipes deblur > my.yaml
    """
    from rethaw.config.find import recipe_names, recipe_path, suggest

    if name:
        path = recipe_path(name)
        if not path:
            raise RethawError(f"there is no recipe {name!r}", suggest(name))
        print(path.read_text("utf-8"), end="")
        return
    names = recipe_names()
    widest = max(map(len, names))
    for title, recipes in grouped(names).items():
        out.print(f"[bold]{title}[/]")
        table = Table(box=None, show_header=False)
        table.add_column(min_width=widest)
        for recipe in recipes:
            path = recipe_path(recipe)
            first = path.read_text("utf-8").partition("\n")[0] if path else ""
            table.add_row(recipe, escape(first.lstrip("# ")))
        out.print(table, "")


GROUPS = {
    "": "To start from",
    "cold-": "Cold Diffusion (2208.09392), as published: restoration",
    "cold-generate-": "Cold Diffusion (2208.09392), as published: generation",
}
"""Titles of the groups of recipes, by how their names begin; the longest beginning counts."""


def grouped(names: list[str]) -> dict[str, list[str]]:
    """Recipes by the title of their group, groups in the order above."""
    groups: dict[str, list[str]] = {title: [] for title in GROUPS.values()}
    for name in names:
        groups[GROUPS[max((start for start in GROUPS if name.startswith(start)), key=len)]].append(name)
    return {title: found for title, found in groups.items() if found}
