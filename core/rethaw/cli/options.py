"""Options that several commands share, as bundles: a command takes the bundle, its command line has the options."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from rethaw.api import RethawError

if TYPE_CHECKING:
    from rethaw.config.model import Component, Config, Guidance
    from rethaw.engine.sampling.how import How
    from rethaw.registry import Registry

SAMPLING, CONDITION, MEASURED = "Sampling", "Conditions and guidance", "What the images went through"

EXAMPLES = {
    "sampler": "core.ddim, eta: 1",
    "metric": "perceptual.kid, features: lite0",
    "importer": "deepinv.denoiser, model: DRUNet",
}
"""Components with parameters, by kind."""


def complete_runs(incomplete: str) -> list[str]:
    """Run folders, for the shell."""
    found = (path.parent for path in Path().glob("**/resolved.yaml") if len(path.parts) <= 4)
    return sorted(str(path) for path in found if str(path).startswith(incomplete))


def complete_pipelines(incomplete: str) -> list[str]:
    """Recipes and YAML files, for the shell."""
    from rethaw.config.find import recipe_names

    names = [*recipe_names(), *(str(path) for path in sorted(Path().glob("*.yaml")))]
    return [name for name in names if name.startswith(incomplete)]


def complete_samplers(incomplete: str) -> list[str]:
    """Samplers of all plugins, for the shell."""
    from rethaw.registry import Registry

    return [name for name in Registry().names("sampler") if name.startswith(incomplete)]


Run = Annotated[
    str,
    typer.Argument(
        help="A run folder, a hub id owner/name, or a YAML file whose backbone brings its weights.",
        autocompletion=complete_runs,
    ),
]
Pipeline = Annotated[
    str, typer.Argument(help="A YAML file, a recipe or a run folder.", autocompletion=complete_pipelines)
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(help="Overrides: train.steps=1000 degradation.blur.sigma_max=4", metavar="KEY=VALUE"),
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, … (default: a GPU if there is one).")]
Seed = Annotated[int | None, typer.Option(help="Seed (default: the pipeline's).")]
Steps = Annotated[
    int | None, typer.Option(min=1, help="Steps of the sampler (default: its own).", rich_help_panel=SAMPLING)
]
Measurement = Annotated[
    str | None,
    typer.Option(
        help="What the images went through, as in YAML: '{use: kornia.gaussian_blur, noise: 0.05}'.",
        rich_help_panel=MEASURED,
    ),
]


@dataclass(frozen=True)
class Conditioning:
    """What the result is to show, and how strictly."""

    cond: Annotated[
        list[str] | None,
        typer.Option(help="A condition, FIELD=VALUE, such as label=cat or image=small.png.", rich_help_panel=CONDITION),
    ] = None
    guidance: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="How strictly to follow the condition: 1 is plain (default: the pipeline's).",
            rich_help_panel=CONDITION,
        ),
    ] = None
    negative: Annotated[
        list[str] | None, typer.Option(help="What guidance goes away from, FIELD=VALUE.", rich_help_panel=CONDITION)
    ] = None
    interval: Annotated[
        tuple[float, float] | None,
        typer.Option(help="The severities LOW HIGH between which guidance acts.", rich_help_panel=CONDITION),
    ] = None
    classifier_scale: Annotated[
        float | None,
        typer.Option(
            min=0, help="How strongly the run's classifier guides to --cond label=NAME.", rich_help_panel=CONDITION
        ),
    ] = None

    def guided(self, config: Config) -> Guidance | None:
        """The pipeline's guidance with what the command line says instead; None where it says nothing."""
        from rethaw.config.model import Guidance

        options = {
            "scale": self.guidance,
            "negative": pairs(self.negative, "--negative"),
            "interval": self.interval,
            "classifier_scale": self.classifier_scale,
        }
        given: dict[str, Any] = {key: value for key, value in options.items() if value not in (None, {})}
        try:
            return replace(config.guidance or Guidance(), **given) if given else None
        except ValueError as error:
            raise RethawError(str(error), "See --guidance, --negative and --interval.") from error


@dataclass(frozen=True)
class Guided(Conditioning):
    """And what else it is to fit."""

    guide: Annotated[
        str | None,
        typer.Option(
            help="What results are to fit, as in YAML: '{use: text.clip_guide, model: clip/, scale: 2}'; or off "
            "(default: the pipeline's).",
            rich_help_panel=CONDITION,
        ),
    ] = None

    def guides(self) -> list[str]:
        """The guide as an override of the pipeline."""
        return [f"guide={'null' if self.guide == 'off' else self.guide}"] if self.guide else []


@dataclass(frozen=True)
class Sampling(Guided):
    """How to walk."""

    sampler: Annotated[
        str | None,
        typer.Option(
            "--sampler",
            "-s",
            help="Sampler by name, such as core.direct, or with parameters: '{use: core.ddim, eta: 1}' "
            "(default: the pipeline's).",
            rich_help_panel=SAMPLING,
            autocompletion=complete_samplers,
        ),
    ] = None
    steps: Steps = None
    seed: Seed = None

    def how(self, config: Config, registry: Registry, count: int = 1) -> How:
        """All of it, for so many images."""
        from rethaw.engine.sampling.how import How

        chosen = component(self.sampler, "sampler", registry) if self.sampler else None
        given = How(chosen, self.steps, pairs(self.cond, "--cond"), self.guided(config), self.seed)
        return given.repeated(count)


@dataclass(frozen=True)
class Measured:
    """What the images went through, and how far results keep to it."""

    measurement: Measurement = None
    consistency: Annotated[
        str | None,
        typer.Option(
            help="Keep estimates consistent with the degraded image: auto, a weight λ, to what (observation, or state "
            "for x_t), or as in YAML: '{to: state, weight: 1e-4}'; or off.",
            rich_help_panel=MEASURED,
        ),
    ] = None

    def overrides(self) -> list[str]:
        """These options as overrides of the pipeline."""
        given = {"measurement": self.measurement} | consistency(self.consistency or "")
        return [f"{key}={value}" for key, value in given.items() if value]


def consistency(word: str) -> dict[str, str]:
    """The overrides that --consistency stands for: off, as in YAML, auto, a weight, or what to be consistent with."""
    if not word or word == "off" or word.lstrip().startswith("{"):
        return {"consistency": "null" if word == "off" else word}
    key = "to" if word.isalpha() and word != "auto" else "weight"
    return {f"consistency.{key}": "null" if word == "auto" else word}


def command(function: Callable[..., None]) -> Callable[..., None]:
    """A command whose parameters that are bundles are options of their own on the command line."""
    parameters, bundles = [], {}
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        bundle = parameter.annotation
        if not is_dataclass(bundle):
            parameters.append(parameter)
            continue
        assert isinstance(bundle, type)
        bundles[parameter.name] = bundle
        hints = get_type_hints(bundle, include_extras=True)
        parameters += [
            inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=hints[f.name])
            for f in fields(bundle)
        ]

    @wraps(function)
    def run(**given: Any) -> None:
        for name, bundle in bundles.items():
            given[name] = bundle(**{f.name: given.pop(f.name) for f in fields(bundle)})
        function(**given)

    keyword = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
    run.__signature__ = inspect.Signature(keyword)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in keyword}
    return run


def component(text: str, kind: str, registry: Registry) -> str | Component:
    """A component of a kind by name, or with parameters as in YAML."""
    if not text.lstrip().startswith("{"):
        return text
    from rethaw.config.components import parse_component
    from rethaw.config.yaml import parse_yaml

    given = parse_yaml(text, f"--{kind}").plain()
    if not isinstance(given, dict) or not isinstance(given.get("use"), str):
        raise RethawError(f"--{kind} {text!r} names no {kind}", f"Write --{kind} '{{use: {EXAMPLES[kind]}}}'.")
    return parse_component(given.pop("use"), kind, registry, given)


def pairs(words: Sequence[str] | None, option: str) -> dict[str, str]:
    """KEY=VALUE words as a dict."""
    for word in words or ():
        if "=" not in word:
            raise RethawError(f"{option} takes KEY=VALUE, not {word!r}")
    return dict(word.split("=", 1) for word in words or ())
