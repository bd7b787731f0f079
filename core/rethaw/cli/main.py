"""`rethaw`: the commands, and how their errors are told."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer
from rich.markup import escape

from rethaw import __version__
from rethaw.api import RethawError
from rethaw.cli import (
    backbones,
    calibrate,
    degrade,
    demo,
    evaluate,
    generate,
    import_,
    interpolate,
    likelihood,
    plugins,
    recipes,
    restore,
    schema,
    serve,
    train,
    train_classifier,
    tune,
    validate,
)
from rethaw.cli.common import err
from rethaw.files import shown

app = typer.Typer(
    name="rethaw",
    help="rethaw inverts image degradations: train a restorer for anything, restore and generate images with it.\n\n"
    "Start with: [bold]rethaw demo[/], then [bold]rethaw recipes[/] and [bold]rethaw plugins list[/].",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("train")(train.train)
app.command("train-classifier")(train_classifier.train_classifier)
app.command("import")(import_.import_)
app.command("restore")(restore.restore)
app.command("generate")(generate.generate)
app.command("interpolate")(interpolate.interpolate)
app.command("degrade")(degrade.degrade)
app.command("calibrate")(calibrate.calibrate)
app.command("evaluate")(evaluate.evaluate)
app.command("tune")(tune.tune)
app.command("likelihood")(likelihood.likelihood)
app.command("validate")(validate.validate)
app.command("recipes")(recipes.recipes)
app.command("backbones")(backbones.backbones)
app.add_typer(plugins.app, name="plugins")
app.command("schema")(schema.schema)
app.command("demo")(demo.demo)
app.command("serve")(serve.serve)


def show_version(value: bool) -> None:
    if value:
        print(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=show_version, is_eager=True, help="Print the version.")
    ] = False,
    block: Annotated[list[str] | None, typer.Option(help="A plugin (namespace or distribution) to keep out.")] = None,
) -> None:
    """Options of every command."""
    if block:
        os.environ["RETHAW_BLOCK"] = ",".join([*filter(None, [os.environ.get("RETHAW_BLOCK")]), *block])


def main() -> None:
    """Runs a command; a mistake of the user is one message and exit code 2, never a traceback."""
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # other packages' plugins of pydantic, perhaps broken
    try:
        app()
    except RethawError as error:
        err.print(f"[bold red]error:[/] {escape(shown(error, lines=True))}")
        sys.exit(2)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
    except Exception as error:
        if os.environ.get("RETHAW_TRACEBACK"):
            raise
        if isinstance(error, OSError):  # a full disk, a folder that may not be written, a name that is too long
            where = f"{error.filename}: " if error.filename else ""
            err.print(f"[bold red]error:[/] {escape(where + (error.strerror or str(error)))}")
            sys.exit(2)
        err.print(
            f"[bold red]error:[/] {type(error).__name__}: {escape(shown(error, lines=True))}\n  This is no mistake of "
            "yours but a defect of rethaw or of a plugin; RETHAW_TRACEBACK=1 shows where."
        )
        sys.exit(3)


if __name__ == "__main__":
    main()
