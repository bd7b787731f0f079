"""`rethaw train`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rethaw.api import RethawError
from rethaw.cli.common import bar, say, training_bar, warn
from rethaw.cli.options import Device, Overrides, Pipeline

if TYPE_CHECKING:
    from rethaw.engine.training.train import Trained


def train(
    pipeline: Pipeline,
    overrides: Overrides = None,
    to: Annotated[Path | None, typer.Option("--out", "-o", help="The run folder (default: runs/NAME).")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Take up an interrupted training.")] = False,
    device: Device = None,
) -> None:
    """Train a restorer; Ctrl-C saves, and --resume goes on in the same weights as if never stopped.

    [bold]Examples[/]

        rethaw train deblur data.path=photos/ train.steps=2000

        rethaw train my.yaml --out runs/mine

        rethaw train runs/mine --resume
    """
    from rethaw.config import load_config
    from rethaw.engine.run import Run

    folder = to or run_folder(pipeline, resume)
    config, registry = load_config(pipeline, overrides or ())  # every mistake in the YAML is told before torch loads
    if not Run(folder).check_free(resume) and resume:
        warn(f"{folder} was stopped before its first checkpoint: it starts from the beginning")

    from rethaw.engine.evaluation.tune import check_tuning
    from rethaw.engine.parts import assemble
    from rethaw.engine.training.train import train as fit

    if unfold := config.train.unfold:
        say(f"train.unfold: {unfold.share * unfold.hops:g} forward passes more for each image, for the walks")
    parts = assemble(config, registry, device)
    check_tuning(parts)
    with training_bar(config.train.steps) as watch:
        trained = fit(parts, folder, resume, watch, warn)
    outcome = trained.outcome
    if not outcome.finished:
        say(f"stopped at step {outcome.step} of {config.train.steps}; everything is saved in {folder}")
        say(f"go on with: rethaw train {shlex.quote(str(folder))} --resume")
        raise typer.Exit(130)
    say(f"trained {outcome.step} steps in {outcome.seconds:.0f} s, loss {outcome.loss:.4f}: {folder}")
    say(f"look at {folder / 'preview.png'} and {folder / 'loss.png'}")
    if config.train.tune:
        tune(trained, folder)
    use = "generate {}" if trained.parts.degradation.gaussian else "restore {} IMAGE"
    say(f"then: rethaw {use.format(shlex.quote(str(folder)))}")


def tune(trained: Trained, folder: Path) -> None:
    """Chooses how the run restores, as `train.tune` says."""
    from rethaw.engine.evaluation.tune import tune_trained
    from rethaw.engine.run import TUNING, Run
    from rethaw.engine.sampling.walking import Walker

    walker = Walker(trained.parts, trained.restorer, trained.fitted, trained.image_shape)
    with bar("tuning", 0) as watch:
        choice = tune_trained(walker, Run(folder), watch)
    if choice:
        say(f"it restores with {choice.name}: {choice.why}; see {folder / TUNING}")


def run_folder(pipeline: str, resume: bool) -> Path:
    """A run folder given as the pipeline, or the first free runs/NAME."""
    if (Path(pipeline) / "resolved.yaml").is_file():
        if not resume:
            raise RethawError(
                f"{pipeline} is a run folder", "Add --resume to go on with it, or --out for a new training."
            )
        return Path(pipeline)
    name = Path(pipeline).stem
    folder, count = Path("runs") / name, 1
    while not resume and folder.exists():
        count += 1
        folder = Path("runs") / f"{name}-{count}"
    return folder
