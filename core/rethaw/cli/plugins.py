"""`rethaw plugins list` and `rethaw plugins show`."""

from __future__ import annotations

import difflib
import json
import traceback
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from rethaw.api import RethawError
from rethaw.cli.common import out, say, warn

if TYPE_CHECKING:
    from rethaw.api import Spec
    from rethaw.claims import Claim
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
    out.print(table(("plugin", "distribution", "version", "entry point", "status"), found), "")
    for message in dict.fromkeys(row["told"] for row in found if row["told"]):
        say(f"{message}\n")
    out.print(table({"component": "name", "kind": "kind", "what it does": "summary"}, rows))


def table(columns: Mapping[str, str] | Sequence[str], rows: Sequence[Mapping[str, str]]) -> Table:
    """Rows of text under columns; with a mapping, title → key of the rows."""
    made = Table(*columns, box=None)
    for row in rows:
        made.add_row(*(escape(row[key]) for key in (columns.values() if isinstance(columns, Mapping) else columns)))
    return made


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
    """A row for each installed plugin: whether it is ok, blocked or broken, and what there is to say about that."""
    rows = []
    for namespace, claims in registry.plugins.claims.items():
        for claim in claims:
            word, message = state(registry, claim)
            names = {"plugin": namespace, "distribution": claim.distribution, "version": claim.version}
            rows.append({**names, "entry point": claim.module, "status": word, "told": message})
    return rows


def state(registry: Registry, claim: Claim) -> tuple[str, str]:
    """One word for a plugin's state, and what there is to say about it."""
    if blocked := registry.plugins.blocked(claim):
        return "blocked", f"plugin {claim} is not loaded: {blocked}"
    if failure := registry.plugins.failures.get(claim.namespace):
        return "broken", str(failure)
    notes = registry.plugins.load(claim.namespace).notes
    return "ok", "\n".join(f"plugin {claim} {note}" for note in notes)


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
    plain = name if "." in name or name in registry.plugins.claims else f"{CORE}.{name}"
    namespace, _, short = (plain, "", "") if plain in registry.plugins.claims else plain.rpartition(".")
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
        show_spec(registry, f"{namespace}.{spec.name}", spec)


def not_found(registry: Registry, name: str) -> RethawError:
    """No plugin and no component has that name: how to install it where it is known, else the nearest ones."""
    from rethaw.hookspecs import KINDS
    from rethaw.registry import LIST_HINT, known_plugins, shortened

    if error := registry.absent(KINDS, name):
        return error
    plugins = dict.fromkeys(registry.plugins.claims, "")
    for distribution, row in known_plugins().items():
        plugins.setdefault(row["namespace"], f" (pip install {distribution})")
    near = [f"Did you mean {word}{plugins[word]}?" for word in difflib.get_close_matches(name[:100], plugins, 1, 0.8)]
    hint = near[0] if near else registry.suggest(KINDS, name)
    return RethawError(f"no plugin and no component is named {shortened(name)!r}", hint or LIST_HINT)


def show_spec(registry: Registry, full: str, spec: Spec) -> None:
    """A component: what it is, what it declares, its parameters."""
    from rethaw.describe import declared, param_rows
    from rethaw.plugins import PluginError

    traits = ", ".join(declared(spec))
    say(f"{full} ({spec.kind}): {spec.summary}" + (f" [{traits}]" if traits else ""))
    try:
        with registry.guarded(full, f"describing the parameters of {full}"):
            rows = param_rows(spec.params)
    except PluginError as error:
        warn(str(error))
        rows = []
    if rows:
        table = Table("parameter", "type", "default", "meaning", box=None, padding=(0, 1, 0, 2))
        for row in rows:
            table.add_row(*map(escape, row))
        out.print(table)
    out.print("")
