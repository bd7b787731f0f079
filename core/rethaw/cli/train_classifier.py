"""`rethaw train-classifier`."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from rethaw.cli.common import say, training_bar
from rethaw.cli.options import Device, Overrides


def train_classifier(
    run: Annotated[str, typer.Argument(help="A run folder, whose training data has labels.")],
    overrides: Overrides = None,
    network: Annotated[str, typer.Option(help="A classifier by name, such as core.convnet.")] = "core.convnet",
    steps: Annotated[int, typer.Option(min=1, help="Optimizer steps.")] = 2000,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted training, as it was started.")
    ] = False,
    device: Device = None,
) -> None:
    """Train a classifier of a run's degraded images, for classifier guidance; the degradation must be Gaussian noise.

    Writes classifier.safetensors into the run; Ctrl-C saves where it is. Overrides are of the classifier
    (classifier.width=64), the data and the training loop (train.lr=0.001).

    [bold]Examples[/]

        rethaw train-classifier runs/noise --steps 1000

        rethaw train-classifier runs/noise --resume

        rethaw generate runs/noise --cond label=cat --classifier-scale 2
    """
    from rethaw.config import load_config
    from rethaw.engine.classifier.training import train_classifier as fit
    from rethaw.engine.parts import assemble
    from rethaw.engine.run import CONFIG, find_run

    folder = find_run(run)
    given = [f"classifier={{use: {network}}}", f"train.steps={steps}", *(overrides or ())]
    config, registry = load_config(str(folder.path(CONFIG)), given)
    with training_bar(steps) as watch:
        found = fit(folder, assemble(config, registry, device), watch, resume)
    if not found.outcome.finished:
        say(f"stopped at step {found.outcome.step} of {found.steps}; everything is saved in {run}")
        say(f"go on with: rethaw train-classifier {shlex.quote(run)} --resume")
        raise typer.Exit(130)
    say(f"trained {found.steps} steps, accuracy {found.accuracy:.1%} on training images at severities from 0 to 1")
    say(f"then: rethaw generate {shlex.quote(run)} --cond label=NAME --classifier-scale 1")
