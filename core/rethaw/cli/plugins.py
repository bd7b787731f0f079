"""`rethaw plugins list` and `rethaw plugins show`."""

from __future__ import annotations

import json
import traceback
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from rethaw.api import RethawError
from rethaw.cli.common import out, say

if TYPE_CHECKING:
    from rethaw.api import Spec
    from rethaw.registry import Registry

app = typer.Typer(help="What is installed: plugins and their components.", no_args_is_help=True, rich_markup_mode="rich")


@app.command("list")
def list_plugins(
    kind: Annotated[str | None, typer.Option(help="Only components of this kind.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of tables.")] = False,
) -> None:
    """List plugins, whether they work, and their components.

    [bold]Examples[/]

        rethaw plugins list

        rethaw plugins list --kind degradation --json
    """
    from rethaw.hookspecs import KINDS
    from rethaw.registry import Registry

    if kind and kind not in KINDS:
        raise RethawError(f"there is no kind {kind!r}", f"The kinds are: {', '.join(KINDS)}.")
    registry = Registry()
    rows = components(registry, kind)
    found = status(registry)
    if as_json:
        print(json.dumps({"plugins": found, "components": rows}, indent=2))
        return
    table = Table("plugin", "distribution", "version", "status", box=None)
    for row in found:
        table.add_row(*(escape(row[key]) for key in ("plugin", "distribution", "version", "status")))
    out.print(table, "")
    table = Table("component", "kind", "what it does", box=None)
    for row in rows:
        table.add_row(row["name"], row["kind"], escape(row["summary"]))
    out.print(table)


def components(registry: Registry, kind: str | None) -> list[dict[str, str]]:
    """A row for each component of the plugins that load."""
    rows = [{"name": f"{plugin.claim.namespace}.{name}", "kind": k, "summary": spec.summary}
            for plugin in registry.plugins.load_all() for (k, name), spec in plugin.specs.items() if kind in (None, k)]  # fmt: skip
    return sorted(rows, key=lambda row: (row["kind"], row["name"]))


def status(registry: Registry) -> list[dict[str, str]]:
    """A row for each installed plugin: `ok`, or why it does not load."""
    rows = []
    for namespace, claims in registry.plugins.claims.items():
        failure = registry.plugins.failures.get(namespace)
        for claim in claims:
            told = failure.message if failure else "; ".join(("ok", *registry.plugins.load(namespace).notes))
            rows.append({"plugin": namespace, "distribution": claim.distribution, "version": claim.version, "status": told})
    return rows


@app.command("show")
def show_plugin(name: Annotated[str, typer.Argument(help="A plugin (kornia) or a component (kornia.gaussian_blur).")]) -> None:
    """Show a plugin's components with their parameters, or why it does not load.

    [bold]Examples[/]

        rethaw plugins show kornia

        rethaw plugins show core.cold
    """
    from rethaw.plugins import CORE, PluginError
    from rethaw.registry import Registry

    registry = Registry()
    namespace, _, short = (name, "", "") if name in registry.plugins.claims else (name if "." in name else f"{CORE}.{name}").rpartition(".")
    if namespace not in registry.plugins.claims:
        raise RethawError(f"no plugin named {namespace!r} is installed", f"Installed: {', '.join(registry.plugins.claims)}.")
    try:
        plugin = registry.plugins.load(namespace)
    except PluginError as error:
        if error.__cause__:
            say("".join(traceback.format_exception(error.__cause__)))
        raise
    found = [spec for (_, n), spec in plugin.specs.items() if short in ("", n)]
    if not found:
        raise RethawError(f"{namespace} has no component {short!r}", f"It has: {', '.join(sorted(n for _, n in plugin.specs))}.")
    if not short:
        say(f"{plugin.claim}\n")
    for spec in found:
        show_spec(f"{namespace}.{spec.name}", spec)


def show_spec(full: str, spec: Spec) -> None:
    """A component: what it is, what it declares, its parameters."""
    from rethaw.registry import param_rows

    traits = ", ".join(f"{key} {value}" for key, value in spec.traits.items() if value not in (None, False, 0.0, ()))
    say(f"{full} ({spec.kind}): {spec.summary}" + (f" [{traits}]" if traits else ""))
    rows = param_rows(spec.params)
    if rows:
        table = Table("parameter", "type", "default", "meaning", box=None, padding=(0, 1, 0, 2))
        for row in rows:
            table.add_row(*map(escape, row))
        out.print(table)
    out.print("")
