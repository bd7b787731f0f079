"""The options of commands that compare many settings: each takes several values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rethaw.api import RethawError
from rethaw.cli.options import MEASURED, SAMPLING, Guided, complete_samplers, component, consistency, pairs

if TYPE_CHECKING:
    from rethaw.config.model import Component, Config, Consistency
    from rethaw.engine.run import Run as RunFolder
    from rethaw.engine.sampling.how import How
    from rethaw.registry import Registry

Data = Annotated[list[Path], typer.Option("--data", help="Clean images: a folder, or files (repeat the option).")]
Seed = Annotated[int, typer.Option(help="Seed of the degradations.")]
Severity = Annotated[
    float | None,
    typer.Option(help="How degraded the images are, in (0, 1] (default: 1, or what a run that estimates it finds)."),
]
NoReference = Annotated[
    bool,
    typer.Option(
        "--no-reference", help="The images are degraded already, with no clean ones: take metrics that need none."
    ),
]


@dataclass(frozen=True)
class Grid(Guided):
    """Samplers, steps and consistencies, of which every combination is measured."""

    sampler: Annotated[
        list[str] | None,
        typer.Option(
            "--sampler",
            "-s",
            help="A sampler to measure, by name or as in YAML: '{use: core.ddim, eta: 1}' (repeat the option).",
            rich_help_panel=SAMPLING,
            autocompletion=complete_samplers,
        ),
    ] = None
    steps: Annotated[
        str | None,
        typer.Option(
            metavar="N[,N…]",
            help="Steps of samplers, one or several: 1,3,10 (default: their own).",
            rich_help_panel=SAMPLING,
        ),
    ] = None
    consistency: Annotated[
        str | None,
        typer.Option(
            metavar="WORD[,WORD…]",
            help="Keep estimates consistent with the degraded image, one or several of: off, observation (y), state "
            "(x_t), auto, a weight λ, or as in YAML (default: as the run does).",
            rich_help_panel=MEASURED,
        ),
    ] = None

    def samplers(self, registry: Registry) -> list[str | Component]:
        """Those given."""
        return [component(text, "sampler", registry) for text in self.sampler or ()]

    def counts(self) -> list[int]:
        """The numbers of steps."""
        words = self.steps.split(",") if self.steps is not None else []
        if not all(word.strip().isdecimal() and int(word) > 0 for word in words):
            raise RethawError(f"--steps takes whole numbers from 1 on, not {self.steps!r}", "Write --steps 1,3,10.")
        return [int(word) for word in words]

    def consistencies(self, run: RunFolder, overrides: Sequence[str]) -> dict[str, Consistency | None]:
        """What the words stand for in the pipeline of a run."""
        words = re.split(r",\s*(?![^{]*})", self.consistency) if self.consistency else []
        given = {word: [f"{key}={value}" for key, value in consistency(word).items()] for word in words}
        return {word: run.config([*overrides, *own])[0].consistency for word, own in given.items()}

    def shared(self, config: Config) -> How:
        """What all have in common: conditions and guidance."""
        from rethaw.engine.sampling.how import How

        return How(cond=pairs(self.cond, "--cond"), guidance=self.guided(config))


def severity_of(given: float | None, clean: bool, estimates: bool) -> float | None:
    """The severity that is meant; None for what the run estimates of images that are degraded already."""
    return given if given is not None or (estimates and not clean) else 1.0


def check_metrics(run: RunFolder, overrides: Sequence[str]) -> None:
    """Raises RethawError where a metric that the run names is not installed: only restoring does without."""
    from rethaw.config import load_config
    from rethaw.engine.run import CONFIG

    load_config(str(run.path(CONFIG)), overrides, optional=("data",))
