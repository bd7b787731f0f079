"""What the commands share: the console, progress bars, small files."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

from rethaw.api import RethawError
from rethaw.files import shown

if TYPE_CHECKING:
    from rethaw.engine.training.progress import Progress

QUIET = os.environ.get("RANK", "0") != "0"
"""Whether this is one of several processes of a training, and not the one that speaks."""

FIRST, LONG = 10, 300.0
"""The step after which the time that a training takes is told, and the seconds from which on."""

PATIENCE = 10.0
"""Seconds between lines that tell progress on a pipe."""

out = Console(highlight=False, soft_wrap=True, quiet=QUIET)
err = Console(stderr=True, highlight=False, soft_wrap=True, quiet=QUIET)


def plural(count: int, word: str) -> str:
    """1 image, 2 images."""
    return f"{count} {word}{'s' * (count != 1)}"


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes JSON in one step."""
    from rethaw.files import json_text, write_text

    write_text(path, json_text(content))


def spare_inputs(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Refuses to write over what is being read."""
    for path in {path.resolve() for path in outputs} & {path.resolve() for path in inputs}:
        raise RethawError(f"{path} would be written over, and it is an input", "Choose another --out.")


def say(text: str) -> None:
    """A text to standard output; brackets are printed as they are, control characters escaped."""
    out.print(escape(shown(text, lines=True)))


def warn(text: str) -> None:
    err.print(f"[yellow]note:[/] {escape(shown(text, lines=True))}")


@contextlib.contextmanager
def bar(what: str, total: int) -> Iterator[Callable[..., None]]:
    """A progress bar with the time left; the function takes how many are done, and of how many if not `total`.

    Parts of one count. On a pipe, a line now and then instead.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    text = (TextColumn("{task.description}"), BarColumn())
    numbers, said = (MofNCompleteColumn(), TaskProgressColumn(), TimeRemainingColumn()), time.monotonic()
    with Bar(*text, *numbers, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task(escape(what), total=total)

        def update(done: float, total: float = total) -> None:
            nonlocal said
            progress.update(task, completed=done, total=total)
            if not err.is_terminal and time.monotonic() - said > PATIENCE:
                said = time.monotonic()
                err.print(f"{escape(what)}: {done / max(total, 1):.0%}")

        yield update


@contextlib.contextmanager
def training_bar(steps: int) -> Iterator[Callable[[Progress], None]]:
    """A progress bar with loss, rate and the time left; on a pipe, a line now and then instead."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    began = time.monotonic()
    left = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    rates = (TextColumn("loss {task.fields[loss]}"), TextColumn("{task.fields[rate]} images/s"))
    with Bar(
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        *rates,
        *left,
        console=err,
        disable=not err.is_terminal,
    ) as progress:
        task = progress.add_task("", total=steps, loss="…", rate="…")

        def step(p: Progress) -> None:
            if p.step == FIRST:
                say_how_long((time.monotonic() - began) / p.step * (p.steps - p.step))
            if not err.is_terminal and p.step % max(1, steps // 20) == 0:
                print_line(p)
            progress.update(task, completed=p.step, loss=f"{p.loss:.4f}", rate=f"{p.rate:.1f}")

        yield step


def say_how_long(seconds: float) -> None:
    """Says what is left of a training, where that is long."""
    if seconds > LONG:
        err.print(f"about {duration(seconds)} on this machine; Ctrl-C saves, and --resume goes on")


def duration(seconds: float) -> str:
    """12 min, 3 h 20 min."""
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def print_line(p: Progress) -> None:
    err.print(f"step {p.step}/{p.steps}  loss {p.loss:.4f}  {p.rate:.1f} images/s")


def free_folder(folder: Path) -> Path:
    """A folder for new results: this one, or the first NAME-2, NAME-3 … that is not there or empty."""
    count, found = 1, folder
    while found.exists() and any(found.iterdir()):
        count += 1
        found = folder.with_name(f"{folder.name}-{count}")
    return found


def own_report(path: Path) -> None:
    """Refuses to write over a report that is not ours, and into a file."""
    if path.parent.exists() and not path.parent.is_dir():
        raise RethawError(f"{path.parent} is a file, and the results need a folder", "Choose another --out.")
    if not path.exists():
        return
    try:
        ours = "rethaw" in json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, TypeError):
        ours = False
    if not ours:
        raise RethawError(f"{path} is there already, and rethaw did not write it", "Choose another --out.")
