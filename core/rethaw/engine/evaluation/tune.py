"""Tuning: which sampler, how many steps and which consistency restore best, by a metric, on held-out images."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rethaw.api import RethawError
from rethaw.config.model import Component, Config, Consistency, Tune
from rethaw.engine.evaluation.aim import Aim
from rethaw.engine.evaluation.evaluate import Contestant, Evaluation, Watch
from rethaw.engine.evaluation.grid import OFF, grid
from rethaw.engine.evaluation.metrics import measuring
from rethaw.engine.evaluation.report import Report
from rethaw.engine.evaluation.subjects import Subject, subjects
from rethaw.engine.parts import Parts
from rethaw.engine.run import TUNING, Run
from rethaw.engine.sampling.how import AS_PIPELINE, How
from rethaw.engine.sampling.walking import Walker
from rethaw.images import some

SAMPLERS, STEPS = ("core.direct", "core.cold"), (2, 3, 5, 10, 25)
LEAST = 64
"""Images below which no setting is dropped."""


@dataclass(frozen=True)
class Choice:
    """The setting that was chosen, why, and all that was measured."""

    name: str
    why: str
    contestant: Contestant
    report: Report

    def save(self, run: Run, folder: Path | None = None) -> list[str]:
        """Writes what was measured, then the choice into the run; the names of the former."""
        written = self.report.save(folder or run.path(TUNING), self.name, chosen=self.name, why=self.why)
        run.save_tuned(self.config, self.why)
        return written

    @property
    def config(self) -> Config:
        """The pipeline as it was chosen."""
        parts, how = self.contestant.walker.parts, self.contestant.how
        return replace(parts.config, sampler=parts.sampler_item(how.sampler, how.steps))


def tune(
    walker: Walker,
    files: Sequence[Subject],
    contestants: Mapping[str, Contestant],
    aim: Aim,
    severity: float | None = 1.0,
    seed: int = 0,
    watch: Watch | None = None,
    clean: bool = True,
) -> Choice:
    """The best of the contestants by an aim; those that are far behind on a few images are spared the others.

    See `evaluate` for the options.
    """
    evaluation, steps = Evaluation(walker, contestants, severity, seed, watch, clean), {}
    for first, last in rungs(len(files)):
        evaluation.run(files[first:last])
        figures = {name: taken.row().figures for name, taken in evaluation.running.items()}
        steps = {name: contestants[name].steps for name in figures}
        if last < len(files):
            evaluation.running = {name: evaluation.running[name] for name in aim.kept(figures, steps)}
    best = aim.ranked(figures, steps)[0]
    if math.isnan(figures[best][aim.metric].value):
        raise RethawError(f"the metric {aim.metric} has no value for any setting", "Take more images, or another.")
    return Choice(best, aim.why(best, figures), contestants[best], evaluation.report())


def rungs(count: int) -> Iterator[tuple[int, int]]:
    """From which image to which settings are compared: up to an eighth of all, a quarter, a half, all; never to few."""
    ends = [*(end for end in (count // 8, count // 4, count // 2) if end >= LEAST), count]
    return zip([0, *ends], ends, strict=False)


def settings(
    walker: Walker,
    samplers: Sequence[str | Component] = (),
    steps: Sequence[int] = (),
    consistencies: Mapping[str, Consistency | None] | None = None,
    how: How = AS_PIPELINE,
) -> dict[str, Contestant]:
    """What is chosen from; by default one step, cold sampling and the run's own sampler, consistent with y and not."""
    config = walker.parts.config
    walked = getattr(config.sampler.params, "steps", None)
    of_run = {} if config.consistency in (None, Consistency()) else {"of the run": config.consistency}
    return grid(
        walker,
        samplers or list(dict.fromkeys([*SAMPLERS, config.sampler.use])),
        steps or sorted({*STEPS, walked} if walked else STEPS),
        consistencies or {OFF: None, "observation": Consistency(), **of_run},
        how,
    )


# --- at the end of a training -------------------------------------------------------------------------------------


def aimed(parts: Parts, asked: Tune) -> tuple[Parts, Aim]:
    """Parts with the metrics that `train.tune` names, and its aim."""
    parts, ids = measuring(parts, [asked.metric, *asked.within])
    return parts, Aim(ids[0], dict(zip(ids[1:], asked.within.values(), strict=True)))


def check_tuning(parts: Parts) -> None:
    """Raises RethawError, before a training, where its tuning could not be done afterwards."""
    if asked := parts.config.train.tune:
        subjects(parts, [asked.data], [])
        aimed(parts, asked)[0].metrics()


def tune_trained(
    walker: Walker, run: Run, watch: Callable[[float, float], None] = lambda done, total: None
) -> Choice | None:
    """Tunes a run that was trained just now, as its `train.tune` says; in one of several processes only.

    watch: called with the images that are done and the number of all, those of each setting counted.
    """
    asked = walker.parts.config.train.tune
    if asked is None or os.environ.get("RANK", "0") != "0":
        return None
    parts, aim = aimed(walker.parts, asked)
    walker, files = walker.of(parts), some(subjects(walker.parts, [asked.data], []), asked.images)
    contestants = settings(walker)
    total = len(files) * len(contestants)
    choice = tune(walker, files, contestants, aim, watch=lambda done: watch(done, total))
    choice.save(run)
    return choice
