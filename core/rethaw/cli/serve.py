"""`rethaw serve`: a playground in the browser."""

from __future__ import annotations

import importlib.util
from typing import Annotated

import typer

from rethaw.api import RethawError
from rethaw.cli.common import say

MEGABYTES = 30


def serve(
    runs: Annotated[list[str] | None, typer.Argument(help="Run folders to restore and generate with.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 7860,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = False,
) -> None:
    """Degrade, restore, compare and generate in the browser; without a run, degrade only.

    The page gives the YAML and the commands of what it shows. Uploads are bounded, visitors wait in a queue.

    [bold]Examples[/]

        rethaw serve

        rethaw serve runs/deblur runs/noise --port 8000
    """
    if importlib.util.find_spec("gradio") is None:
        raise RethawError("the playground needs gradio, which is not installed", "pip install 'rethaw[web]'")
    from rethaw.web.app import CSS, Page
    from rethaw.web.studio import Studio

    page = Page(Studio(runs or [])).blocks()
    say(f"open http://{host}:{port} in a browser; Ctrl-C ends it")
    try:
        page.launch(
            server_name=host,
            server_port=port,
            inbrowser=browser,
            quiet=True,
            css=CSS,
            max_file_size=f"{MEGABYTES}mb",
            footer_links=[],
            ssr_mode=False,
        )
    except OSError as error:
        raise RethawError(
            f"port {port} of {host} cannot be listened on: {error}", "Another one: --port 8000"
        ) from error
