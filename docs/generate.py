"""Writes docs/reference.md from the code: every command, YAML key, hook and component. `make docs` runs it.

A test fails where the page is behind the code, so nothing can stay undocumented.
"""

from __future__ import annotations

import inspect
from pathlib import Path

import typer

from rethaw import hookspecs
from rethaw.api import Spec
from rethaw.cli.main import app
from rethaw.config.hosts import HOSTS, PlainHost
from rethaw.config.model import DEFAULTS, KEYS, SECTIONS, Config
from rethaw.describe import declared, param_docs, param_rows
from rethaw.hookspecs import KINDS
from rethaw.registry import Registry

PAGE = Path(__file__).parent / "reference.md"
FIRST_PARTY = (
    "core",
    "kornia",
    "animals",
    "imagenet_c",
    "text",
    "timm",
    "perceptual",
    "diffusers",
    "spandrel",
    "deepinv",
    "pyiqa",
)


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows] + [""]


def dataclass_table(cls: type) -> list[str]:
    rows = [(f"`{name}`", kind, f"`{default}`", text) for name, kind, default, text in param_rows(cls)]
    return table(("key", "type", "default", "meaning"), rows) if rows else ["No parameters.", ""]


def commands() -> list[str]:
    """Each command with its arguments, options and examples."""
    lines = ["## Commands", ""]
    group = typer.main.get_command(app)
    for name, command in sorted(group.commands.items()):  # type: ignore[attr-defined]
        for path, leaf in [(f"{name} {sub}", c) for sub, c in sorted(getattr(command, "commands", {}).items())] or [
            (name, command)
        ]:
            text = (
                inspect.cleandoc(leaf.help or "")
                .replace("[bold]Examples[/]", "**Examples**")
                .replace("    rethaw", "    rethaw")
            )
            lines += [f"### `rethaw {path}`", "", text, ""]
            rows = [
                (f"`{' '.join(p.opts) if p.param_type_name == 'option' else p.name.upper()}`", p.help or "")
                for p in leaf.params
                if p.name != "help"
            ]
            lines += table(("argument or option", "meaning"), rows)
    return lines


def keys() -> list[str]:
    """Each key of a pipeline YAML."""
    docs = param_docs(Config) | {"extends": "A YAML file beside this one, or a recipe, that this one is laid over."}
    rows = [(f"`{key}`", f"`{DEFAULTS[key]}`" if key in DEFAULTS else "", docs[key]) for key in KEYS]
    lines = ["## Keys of a pipeline", "", *table(("key", "default", "meaning"), rows)]
    for key, cls in SECTIONS.items():
        lines += [f"### `{key}`", "", *dataclass_table(cls)]
    for kind, cls in {**HOSTS, "any other component": PlainHost}.items():
        lines += [f"### Host keys: {kind}", "", (cls.__doc__ or "").partition("\n")[0], "", *dataclass_table(cls)]
    return lines


def hooks() -> list[str]:
    """Each hook."""
    rows = [(f"`{kind.hook}`", kind.name, (getattr(hookspecs, kind.hook).__doc__ or "")) for kind in KINDS.values()]
    return ["## Hooks", "", *table(("hook", "kind", "what it returns"), rows)]


def components() -> list[str]:
    """Each component of the first-party plugins."""
    registry, lines = Registry(), ["## Components", ""]
    for kind in KINDS:
        for namespace in FIRST_PARTY:
            for (of, name), spec in registry.plugins.load(namespace).specs.items():
                if of == kind:
                    lines += component(f"{namespace}.{name}", spec)
    return lines


def component(full: str, spec: Spec) -> list[str]:
    traits = declared(spec)
    about = inspect.cleandoc(spec.params.__doc__ or "").partition("\n")[0]
    return [
        f"### `{full}` ({spec.kind})",
        "",
        about,
        "",
        *([f"Declared: {', '.join(traits)}.", ""] if traits else []),
        *dataclass_table(spec.params),
    ]


def page() -> str:
    """The whole page."""
    head = ["# Reference", "", "Made from the code by `make docs`; a test keeps it complete.", ""]
    return "\n".join([*head, *commands(), *keys(), *hooks(), *components()]).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
