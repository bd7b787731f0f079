"""What the commands share: the console, progress bars, and small parsers of options."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from rethaw.api import RethawError

if TYPE_CHECKING:
    from torch import Tensor

    from rethaw.config.model import Config, Guidance
    from rethaw.engine.training.progress import Progress

QUIET = os.environ.get("RANK", "0") != "0"
"""Whether this is one of several processes of a training, and not the one that speaks."""

out = Console(highlight=False, soft_wrap=True, quiet=QUIET)
err = Console(stderr=True, highlight=False, soft_wrap=True, quiet=QUIET)

Overrides = Annotated[
    list[str] | None,
    typer.Argument(help="Overrides: train.steps=1000 degradation.blur.sigma_max=4", metavar="KEY=VALUE"),
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, … (default: a GPU if there is one).")]
Seed = Annotated[int | None, typer.Option(help="Seed (default: the pipeline's).")]
SamplerName = Annotated[
    str | None, typer.Option("--sampler", "-s", help="Sampler by name, such as core.direct (default: the pipeline's).")
]
Steps = Annotated[int | None, typer.Option(min=1, help="Steps of the sampler (default: its own).")]
Severity = Annotated[float, typer.Option(help="How degraded the images are, in (0, 1].")]
Conditions = Annotated[
    list[str] | None, typer.Option("--cond", help="A condition, FIELD=VALUE, such as label=cat or image=small.png.")
]
Scale = Annotated[
    float | None,
    typer.Option(
        "--guidance", min=0, help="How strictly to follow the condition: 1 is plain (default: the pipeline's)."
    ),
]
Negative = Annotated[list[str] | None, typer.Option("--negative", help="What guidance leads away from, FIELD=VALUE.")]
Interval = Annotated[
    tuple[float, float] | None, typer.Option(help="The severities LOW HIGH between which guidance acts.")
]
Classifier = Annotated[
    float | None,
    typer.Option("--classifier-scale", min=0, help="How strongly the run's classifier leads to --cond label=NAME."),
]
Measurement = Annotated[
    str | None,
    typer.Option(help="What the images went through, as in YAML: '{use: kornia.gaussian_blur, noise: 0.05}'."),
]
Consistency = Annotated[
    str | None, typer.Option(help="Keep estimates consistent with x_t: a weight λ, or auto (from the observation).")
]


def restoring(measurement: str | None, consistency: str | None) -> list[str]:
    """Options that change the pipeline, as overrides of it."""
    given = {"measurement": measurement, "consistency.weight": "null" if consistency == "auto" else consistency}
    return [f"{key}={value}" for key, value in given.items() if value]


def pairs(words: Sequence[str] | None, option: str) -> dict[str, str]:
    """KEY=VALUE words as a dict."""
    for word in words or ():
        if "=" not in word:
            raise RethawError(f"{option} takes KEY=VALUE, not {word!r}")
    return dict(word.split("=", 1) for word in words or ())


def conditions(words: Sequence[str] | None, count: int) -> dict[str, list[str]] | None:
    """--cond words as values by field, the same for each image."""
    return {key: [value] * count for key, value in pairs(words, "--cond").items()} or None


def guidance(
    config: Config,
    scale: float | None,
    negative: Sequence[str] | None,
    interval: tuple[float, float] | None,
    classifier: float | None,
) -> Guidance | None:
    """The pipeline's guidance with what the command line says instead; None where it says nothing."""
    from rethaw.config.model import Guidance

    said = {
        "scale": scale,
        "negative": pairs(negative, "--negative"),
        "interval": interval,
        "classifier_scale": classifier,
    }
    given: dict[str, Any] = {key: value for key, value in said.items() if value not in (None, {})}
    try:
        return replace(config.guidance or Guidance(), **given) if given else None
    except ValueError as error:
        raise RethawError(str(error), "See --guidance, --negative and --interval.") from error


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes JSON in one step."""
    from rethaw.files import write_text

    write_text(path, json.dumps(content, indent=2) + "\n")


def spare_inputs(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Refuses to write over what is being read."""
    for path in {path.resolve() for path in outputs} & {path.resolve() for path in inputs}:
        raise RethawError(f"{path} would be written over, and it is an input", "Choose another --out.")


def say(text: str) -> None:
    """One line to standard output; paths and brackets are printed as they are."""
    out.print(escape(text))


def warn(text: str) -> None:
    err.print(f"[yellow]note:[/] {escape(text)}")


@contextlib.contextmanager
def bar(what: str, total: int) -> Iterator[Callable[..., None]]:
    """A progress bar with the time left; the function it gives takes how many are done, and of how many if not `total`."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=err, transient=True) as progress:
        task = progress.add_task(escape(what), total=total)
        yield lambda done, total=total: progress.update(task, completed=done, total=total)


@contextlib.contextmanager
def training_bar(steps: int) -> Iterator[Callable[[Progress], None]]:
    """A progress bar with loss, rate and the time left; on a pipe, a line now and then instead."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    if not err.is_terminal:
        yield lambda p: print_line(p) if p.step % max(1, steps // 20) == 0 else None
        return
    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]}"),
        TextColumn("{task.fields[rate]} images/s"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=err) as progress:
        task = progress.add_task("", total=steps, loss="…", rate="…")
        yield lambda p: progress.update(task, completed=p.step, loss=f"{p.loss:.4f}", rate=f"{p.rate:.1f}")


def print_line(p: Progress) -> None:
    err.print(f"step {p.step}/{p.steps}  loss {p.loss:.4f}  {p.rate:.1f} images/s")


class Film:
    """Stations of one image's trajectory, kept for a strip or an animation: at most `most`, evenly spread."""

    def __init__(self, most: int) -> None:
        self.most, self.every, self.seen = most, 1, 0
        self.frames: list[tuple[float, Tensor, Tensor]] = []

    def add(self, t: float, x: Tensor, x0_hat: Tensor) -> None:
        """Takes in a station; when there are too many, drops every other one from then on."""
        if self.seen % self.every == 0:
            self.frames.append((t, x.cpu(), x0_hat.cpu()))
        if len(self.frames) > self.most:
            self.frames, self.every = self.frames[::2], self.every * 2
        self.seen += 1
