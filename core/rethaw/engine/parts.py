"""The parts of a pipeline. The registry is entered here and nowhere else in the engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from rethaw.api import Context, Dataset, Metric, Prior, RethawError, Sampler, State
from rethaw.config.components import parse_component
from rethaw.config.model import Component, Config
from rethaw.engine.classifier.guiding import Classifier
from rethaw.engine.degradation.build import build_degradation, host_component
from rethaw.engine.degradation.composition import Composition, known
from rethaw.engine.degradation.fields import NONE, Fields
from rethaw.engine.degradation.hosted import Hosted
from rethaw.engine.degradation.observe import degraded, observe
from rethaw.engine.faults import naming
from rethaw.engine.restorer.blind import SeverityHead
from rethaw.engine.restorer.conditioners import Conditioners, Member, Values
from rethaw.engine.restorer.guides import Guiding
from rethaw.engine.restorer.network import Restorer
from rethaw.engine.restorer.parameterization import Parameterization
from rethaw.engine.sampling.measurement import Measurement
from rethaw.ops import generators, mix_seed, seeded
from rethaw.registry import Registry


@dataclass(frozen=True)
class Parts:
    """All that a pipeline's YAML says, built once, without weights; the methods build what only some work needs."""

    config: Config
    registry: Registry
    device: torch.device
    degradation: Hosted
    measurement: Measurement | None
    parameterization: Parameterization
    conditioners: Conditioners
    guides: tuple[Guiding, ...] = ()

    def build(self, item: Component, *args: Any) -> Any:
        """One component."""
        return self.registry.build(item.kind, item.use, item.params, *args)

    def sampler_item(self, use: str | Component | None = None, steps: int | None = None) -> Component:
        """The pipeline's sampler as YAML names it, or another; steps: instead of the sampler's own."""
        item = self.config.sampler
        if isinstance(use, Component):
            item = use
        elif use and self.registry.find("sampler", use)[0] != item.use:
            item = parse_component(use, "sampler", self.registry)
        if steps is not None and hasattr(item.params, "steps"):
            item = parse_component(item.use, "sampler", self.registry, {**vars(item.params), "steps": steps})
        return item

    def sampler(self, use: str | Component | None = None, steps: int | None = None) -> Sampler:
        """The pipeline's sampler, or another, built."""
        built: Sampler = self.build(self.sampler_item(use, steps))
        return built

    def data(self) -> Dataset:
        """The training data."""
        self.config.need("data")
        if self.config.data is None:
            raise RethawError("the pipeline has no data to train on", "Add data: {use: core.folder, path: photos/}.")
        data: Dataset = self.build(self.config.data)
        with naming(self.config.data.use, "saying how many images it has"):
            count = len(data)
        if count == 0:
            raise RethawError(f"{self.config.data.use} has no images")
        return data

    def completed(self, data: Dataset) -> Parts:
        """These parts with conditioners completed from the training data (which classes there are)."""
        items = tuple(self.resolved(item, data) for item in self.config.conditioner)
        if items == self.config.conditioner:
            return self
        config = replace(self.config, conditioner=items)
        return replace(self, config=config, conditioners=build_conditioners(config, self.registry))

    def resolved(self, item: Component, data: Dataset) -> Component:
        """A component whose parameters are completed from the training data, where its class knows how."""
        resolve = getattr(self.registry.target(item.kind, item.use), "resolve", None)
        return replace(item, params=resolve(item.params, data)) if resolve else item

    def restorer(self, initial: bool = True) -> Restorer:
        """A fresh restorer, from the pipeline's seed; the global random state is left alone.

        initial: False where weights of a run follow.
        """
        item, settings = self.config.backbone, self.config.restorer
        context = Context(settings.channels, self.parameterization.out_channels, self.conditioners.widths, initial)
        accepts = self.registry.find("backbone", item.use)[1].traits["accepts"]
        if refused := sorted(set(context.cond) - set(accepts)):
            raise RethawError(f"{item.use} does not take the condition {', '.join(refused)}")
        with seeded(torch.device("cuda" if torch.cuda.is_available() else "cpu"), self.config.seed):
            network = self.build(item, context)
            blind = self.config.severity
            head = SeverityHead(settings.channels, blind.width) if blind.estimate else None
        return Restorer(network, head)

    def classifier(self, item: Component | None = None) -> Classifier:
        """A fresh classifier of degraded images, where the degradation is Gaussian noise."""
        Classifier.check(self.degradation)
        item = item or self.config.classifier
        if item is None:
            raise RethawError("the run has no classifier", "Train it: rethaw train-classifier RUN.")
        with seeded(self.device, mix_seed(self.config.seed, "classifier")):
            network = self.build(item, Context(self.config.restorer.channels, len(item.params.classes)))
        return Classifier(network, self.degradation, item.params)

    def prior(self) -> Prior | None:
        """The distribution of x_1 that generation starts from, to be fitted, where the pipeline names one."""
        return self.build(self.config.prior) if self.config.prior else None

    def metrics(self) -> dict[str, Metric]:
        """What the pipeline measures, by id, each at its beginning."""
        self.config.need("metrics")
        return {item.id: self.build(item) for item in self.config.metrics}

    def metric(self, use: str) -> Metric:
        """Any metric by name, with its defaults."""
        found: Metric = self.build(parse_component(use, "metric", self.registry))
        return found

    def hosted(self, items: Sequence[Component], composed: bool) -> Hosted:
        """Other degradations than the pipeline's own."""
        return build_degradation(items, composed, self.registry)

    def measured(self, use: str, **given: Any) -> Parts:
        """These parts, restoring from measurements by another degradation: `use`, its parameters, bits, noise."""
        item = parse_component(use, "degradation", self.registry, given, "measurement")
        config = replace(self.config, measurement=item)
        return replace(self, config=config, measurement=build_measurement(config, self.registry))

    # --- what needs no weights: degrading as training, evaluation and `--degrade` do -----------------------------

    @property
    def degrading(self) -> Hosted:
        """What clean images go through: the measurement if there is one, else the degradation."""
        return self.measurement.degradation if self.measurement else self.degradation

    def degrade(
        self, x0: Tensor, severity: float, seed: int, first: int = 0, items: Fields = NONE
    ) -> tuple[Tensor, State]:
        """Degrades clean images as they are observed, or measured if there is a measurement; x_t and ξ.

        items: the fields of the data's items that the degradation asks for.
        """
        rng = generators(seed, len(x0), first)
        precision = self.measurement.precision if self.measurement else self.config.observation
        x_t, state = degraded(self.degrading.for_items(items), x0.to(self.device), severity, rng)
        x_t = observe(x_t, precision, rng)
        return (x_t.clamp(-1, 1) if precision.bits else x_t), state

    def conditions_of(self, x0: Tensor, seed: int, first: int = 0) -> Values:
        """The conditions that clean images give of themselves, such as their low resolution; {} if there are none."""
        rng = generators(mix_seed(seed, "observed"), len(x0), first)
        return self.conditioners.of_images(x0.to(self.device), rng)

    def known(self, state: State) -> State | None:
        """The state that `degrade` drew, as a walk should get it: None where samplers are to infer it."""
        return state if self.measurement else known(self.degradation, state)


def assemble(config: Config, registry: Registry, device: str | torch.device | None = None) -> Parts:
    """Builds the parts of a pipeline, on a GPU if there is one and no device is named."""
    degradation = build_degradation(config.degradation, config.composed, registry)
    return Parts(
        config,
        registry,
        usable(device or ("cuda" if torch.cuda.is_available() else "cpu")),
        degradation,
        build_measurement(config, registry),
        Parameterization(config.restorer, degradation, config.observation),
        build_conditioners(config, registry),
        tuple(build_guide(item, registry) for item in config.guide),
    )


def build_measurement(config: Config, registry: Registry) -> Measurement | None:
    """What restored images have gone through, where the pipeline names it."""
    item = config.measurement
    return Measurement(host_component(item, registry), item.host) if item else None


def build_conditioners(config: Config, registry: Registry) -> Conditioners:
    """The conditioners, each with the degradations that make its image in training."""
    return Conditioners(
        [
            Member(
                item,
                registry.build("conditioner", item.use, item.params),
                Composition([host_component(d, registry) for d in item.of]) if item.of else None,
            )
            for item in config.conditioner
        ]
    )


def build_guide(item: Component, registry: Registry) -> Guiding:
    """A guide; one that leads towards values has `field` among its parameters."""
    built = registry.build("guide", item.use, item.params)
    return Guiding(item.use, built, item.host, getattr(item.params, "field", None))


def usable(device: str | torch.device) -> torch.device:
    """A device that exists and works. Raises RethawError for any other."""
    try:
        torch.empty(1, device=device)
        return torch.device(device)
    except (RuntimeError, AssertionError) as error:
        raise RethawError(
            f"the device {str(device)!r} cannot be used: {str(error).splitlines()[0]}",
            "Leave --device out to take a GPU if there is one, else the CPU.",
        ) from error


def build(kind: str, name: str, /, *args: Any, **params: Any) -> Any:
    """Builds one component by kind and name, as the host uses it; a degradation then takes t and the host keys.

    args: what the kind's target takes beside its parameters (a backbone: its `Context`).

    >>> blur = rethaw.build("degradation", "kornia.gaussian_blur", sigma_max=6.0, span=[0, 0.5])
    """
    registry = Registry()
    item = parse_component(name, kind, registry, params)
    if kind == "degradation":
        return host_component(item, registry)
    return registry.build(kind, item.use, item.params, *args)
