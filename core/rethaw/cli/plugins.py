"""`rethaw plugins list` and `rethaw plugins show`."""

from __future__ import annotations

import difflib
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

app = typer.Typer(
    help="What is installed: plugins and their components.", no_args_is_help=True, rich_markup_mode="rich"
)


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
    columns = ("plugin", "distribution", "version", "entry point", "status")
    table = Table(*columns, box=None)
    for row in found:
        table.add_row(*(escape(row[column]) for column in columns))
    out.print(table, "")
    for told in dict.fromkeys(row["told"] for row in found if row["told"]):
        say(f"{told}\n")
    table = Table("component", "kind", "what it does", box=None)
    for row in rows:
        table.add_row(row["name"], row["kind"], escape(row["summary"]))
    out.print(table)


def components(registry: Registry, kind: str | None) -> list[dict[str, str]]:
    """A row for each component of the plugins that load."""
    rows = [
        {"name": f"{plugin.claim.namespace}.{name}", "kind": k, "summary": spec.summary}
        for plugin in registry.plugins.load_all()
        for (k, name), spec in plugin.specs.items()
        if kind in (None, k)
    ]
    return sorted(rows, key=lambda row: (row["kind"], row["name"]))


def status(registry: Registry) -> list[dict[str, str]]:
    """A row for each installed plugin: whether it is ok, blocked or broken, and what is to be told about that."""
    rows = []
    for namespace, claims in registry.plugins.claims.items():
        failure = registry.plugins.failures.get(namespace)
        for claim in claims:
            blocked = registry.plugins.blocked(claim)
            if blocked:
                word, told = "blocked", f"plugin {claim} is not loaded: {blocked}"
            elif failure:
                word, told = "broken", str(failure)
            else:
                word, told = (
                    "ok",
                    "\n".join(f"plugin {claim} {note}" for note in registry.plugins.load(namespace).notes),
                )
            rows.append(
                {
                    "plugin": namespace,
                    "distribution": claim.distribution,
                    "version": claim.version,
                    "entry point": claim.module,
                    "status": word,
                    "told": told,
                }
            )
    return rows


@app.command("show")
def show_plugin(
    name: Annotated[str, typer.Argument(help="A plugin (kornia) or a component (kornia.gaussian_blur).")],
) -> None:
    """Show a plugin's components with their parameters, or why it does not load.

    [bold]Examples[/]

        rethaw plugins show kornia

        rethaw plugins show core.cold
    """
    from rethaw.plugins import CORE, PluginError
    from rethaw.registry import Registry

    registry = Registry()
    namespace, _, short = (
        (name, "", "")
        if name in registry.plugins.claims
        else (name if "." in name else f"{CORE}.{name}").rpartition(".")
    )
    if namespace not in registry.plugins.claims:
        raise not_found(registry, name)
    try:
        plugin = registry.plugins.load(namespace)
    except PluginError as error:
        if error.__cause__:
            say("".join(traceback.format_exception(error.__cause__)))
        raise
    found = [spec for (_, n), spec in plugin.specs.items() if short in ("", n)]
    if short and not found:
        raise not_found(registry, name)
    if not short:
        say(f"{plugin.claim}\n")
    for spec in found:
        show_spec(f"{namespace}.{spec.name}", spec)


def not_found(registry: Registry, name: str) -> RethawError:
    """No plugin and no component has that name; the nearest ones that have."""
    from rethaw.hookspecs import KINDS

    names = [full for kind in KINDS for full in registry.names(kind)]
    spelt = {full.rpartition(".")[2]: full for full in names} | {
        full: full for full in (*names, *registry.plugins.claims)
    }
    near = difflib.get_close_matches(name, registry.plugins.claims, n=1, cutoff=0.8) if "." not in name else []
    close = dict.fromkeys(near or (spelt[word] for word in difflib.get_close_matches(name, spelt)))
    hint = f"Did you mean {' or '.join(close)}?" if close else "rethaw plugins list shows what is installed."
    return RethawError(f"no plugin and no component is named {name!r}", hint)


def show_spec(full: str, spec: Spec) -> None:
    """A component: what it is, what it declares, its parameters."""
    from rethaw.describe import declared, param_rows

    traits = ", ".join(declared(spec))
    say(f"{full} ({spec.kind}): {spec.summary}" + (f" [{traits}]" if traits else ""))
    rows = param_rows(spec.params)
    if rows:
        table = Table("parameter", "type", "default", "meaning", box=None, padding=(0, 1, 0, 2))
        for row in rows:
            table.add_row(*map(escape, row))
        out.print(table)
    out.print("")
