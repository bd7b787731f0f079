"""What a trained pipeline does: walks from degraded images to restored ones, and draws x_1 to generate from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from rethaw.api import Observation, Restore, RethawError, Rng, Sampler, State, Step, has_prior
from rethaw.config.hosts import GuideHost
from rethaw.config.model import Config, Guidance
from rethaw.engine.classifier.guiding import Classifier
from rethaw.engine.degradation.hosted import Hosted, form_of
from rethaw.engine.parts import Parts
from rethaw.engine.restorer.blind import LEAST
from rethaw.engine.restorer.conditioners import Values
from rethaw.engine.restorer.consistency import consistent, precise
from rethaw.engine.restorer.guidance import clipping, guided, network_call, pipeline_guidance
from rethaw.engine.restorer.guides import Guiding, steered
from rethaw.engine.restorer.network import Restorer
from rethaw.engine.restorer.parameterization import Parameterization
from rethaw.engine.restorer.tiles import tile_size
from rethaw.engine.run import CLASSIFIER, Run
from rethaw.engine.sampling.checks import all_severities, check_start, checked_state, checked_steps, for_walk
from rethaw.engine.sampling.how import AS_PIPELINE, How
from rethaw.ops import expand, generators, severity_rows, through_mask

EXACT = 1 / 255
"""The noise up to which a picture's values count as known."""


@dataclass(frozen=True)
class Walker:
    """A pipeline's parts with trained weights; fitted: the prior's tensors; image_shape: (C, H, W) in training.

    tuned: the pipeline as `rethaw tune` has chosen it for restoring.
    """

    parts: Parts
    restorer: Restorer
    fitted: Mapping[str, Tensor]
    image_shape: tuple[int, ...]
    classifier: Classifier | None = None
    tuned: Config | None = None

    @classmethod
    def load(cls, parts: Parts, run: Run) -> Walker:
        """The parts with the weights of a run."""
        restorer, classifier = parts.restorer(initial=False), None
        fitted = run.load_model(restorer)
        if parts.config.classifier and run.has(CLASSIFIER):
            classifier = parts.classifier().to(parts.device).eval()
            run.load_classifier(classifier.network)
        return cls(parts, restorer.to(parts.device).eval(), fitted, run.image_shape(), classifier)

    @classmethod
    def untrained(cls, parts: Parts) -> Walker:
        """The parts with the weights that their backbone brings. Raises RethawError where it brings none."""
        restorer, use = parts.restorer(), parts.config.backbone.use
        if not getattr(restorer.backbone, "trained", False) or parts.config.severity.estimate:
            raise RethawError(
                f"this pipeline has to be trained first: {use} brings no weights",
                "rethaw train makes a run of it; a backbone that reads trained weights (path: FILE) needs no run.",
            )
        shape = tuple(getattr(restorer.backbone, "image_shape", ()))
        return cls(parts, restorer.to(parts.device).eval(), {}, shape)

    def save(self, run: Run) -> None:
        """Writes all that `load` needs."""
        run.describe(self.parts.config, self.parts.registry, self.image_shape)
        run.save_model(self.restorer, self.fitted)
        if self.classifier:
            run.save_classifier(self.classifier.network)
        if self.tuned:
            run.save_tuned(self.tuned, "as in the run that this one is a copy of")

    def of(self, parts: Parts) -> Walker:
        """The same weights with other parts."""
        return replace(self, parts=parts, tuned=None)

    @property
    def restoring(self) -> Walker:
        """The walker to restore with: as tuned, where it is."""
        return self.of(replace(self.parts, config=self.tuned)) if self.tuned else self

    def seed(self, how: How) -> int:
        """The seed of a walk."""
        return self.parts.config.seed if how.seed is None else how.seed

    def draws(self, how: How, count: int, first: int = 0) -> list[Generator]:
        """What the sampler draws from, an image each: not what `Parts.degrade` draws from under the same seed."""
        return generators(self.seed(how) + 1, count, first)

    # --- the walk ------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def trajectory(
        self,
        x: Tensor,
        severity: float | Tensor | None = 1.0,
        how: How = AS_PIPELINE,
        *,
        state: State | None = None,
        generator: Rng | None = None,
        observation: Observation | None = None,
        watch: Callable[[int, int], None] = lambda done, of: None,
    ) -> Iterator[Step]:
        """Walks from degraded images x (B, C, H, W) at a severity to restored ones; yields each station.

        severity: one for all, one for each image (B,), or None for what `estimate` says. state: ξ where it is known;
        None where nobody knows it ({} is drawn where nothing is random). generator: of samplers that draw.
        observation: a measurement, for samplers that keep to one. watch: called with the stations done, and of how
        many, at the beginning and after each. Raises RethawError before the first network call
        where the sampler cannot work with the degradation.
        """
        config, degradation = self.parts.config, self.parts.degradation
        x, state = self.fitting(x), on(self.parts.device, state)
        start = check_start(self.estimate(x) if severity is None else severity, len(x))
        rng = generator or self.draws(how, len(x))
        item = self.parts.sampler_item(how.sampler, how.steps)
        sampler: Sampler = self.parts.build(item)
        state = checked_state(sampler, item.use, degradation, x, state, observation)
        degradation = for_walk(degradation, x, expand(start, x), state)
        given = x.dtype
        if precise(config, self.parts.device):
            x, state = x.double(), state and {k: v.double() if v.is_floating_point() else v for k, v in state.items()}
        severities = severity_rows(all_severities(sampler, item.use, degradation, start), x)
        walk = degradation.along(severities)
        x, observation, shown = masked(degradation, x, severities[0], state, observation, config.observation.noise)
        restore = self.bound(walk, x, state, how)
        if config.consistency:
            seen = degradation, x, expand(start, x), state, observation
            restore = consistent(restore, *seen, config.consistency, config.observation)
        steps = sampler.trajectory(restore, x, severities, walk, state, rng, observation)
        watch(0, of := len(severities) - 1)
        for i, step in enumerate(kept(checked_steps(steps, item.use, x), shown), 1):
            watch(min(i, of), of)
            yield step if x.dtype == given else Step(*(each.to(given) for each in step))

    def fitting(self, x: Tensor) -> Tensor:
        """Images on the device. Raises RethawError for anything but floating-point (B, channels, H, W)."""
        channels = self.parts.config.restorer.channels
        if x.dim() != 4 or not x.is_floating_point() or x.shape[1] != channels or 0 in x.shape:
            raise RethawError(f"images are floating-point tensors (B, {channels}, H, W) in [-1, 1], not {form_of(x)}")
        return x.to(self.parts.device)

    def bound(self, degradation: Hosted, x: Tensor, state: State | None, how: How = AS_PIPELINE) -> Restore:
        """The restorer for a walk on images like x, as samplers call it: condition and guidance inside."""
        config, values = self.parts.config, how.values
        guidance = pipeline_guidance(config, how.guidance)
        if how.guidance is not None and guidance.scale != 1 and not (values or guidance.negative):
            raise RethawError(
                "guidance has no condition to follow", "Give one: --cond FIELD=VALUE, or cond={field: […]} in Python."
            )
        guides = self.guides(guidance, values)
        others = {each.field for each in (*guides, *self.parts.guides)} - {*self.parts.conditioners.fields}
        values = {key: value for key, value in values.items() if key not in others}
        reading = Parameterization(config.restorer, degradation, config.observation)
        size = tile_size(self.restorer, config.restorer.tile, self.image_shape)
        call = network_call(self.restorer, config.backbone.use, reading, size, state)
        cond, null = self.parts.conditioners.pair(values, guidance, x)
        restore = guided(call, cond, null, guidance)
        if guides:
            restore = steered(restore, guides, self.parts.degradation)
        bound = config.restorer.bound
        return restore if math.isinf(bound) else clipping(restore, bound)

    def guides(self, guidance: Guidance, values: Values) -> list[Guiding]:
        """What leads to these values of conditions: the pipeline's guides, and the run's classifier where asked for."""
        found = [each for each in self.parts.guides if each.host.scale and (each.field is None or each.field in values)]
        if guidance.classifier_scale:
            classifier, item = self.trained_classifier(), self.parts.config.classifier
            if classifier.field not in values:
                hint = f"Give it: --cond {classifier.field}=VALUE."
                raise RethawError("classifier guidance needs a label to guide to", hint)
            host = GuideHost(scale=guidance.classifier_scale)
            found.append(Guiding(item.use if item else "classifier", classifier, host, classifier.field))
        return [each.toward(values, self.parts.device) for each in found]

    def trained_classifier(self) -> Classifier:
        """The run's classifier. Raises RethawError where it has none."""
        if self.classifier is None:
            self.parts.classifier()  # says so where the degradation has no use for one
            raise RethawError("the run has no trained classifier", "Train it: rethaw train-classifier RUN.")
        return self.classifier

    # --- from degraded images ------------------------------------------------------------------------------------

    def restoration(
        self,
        y: Tensor,
        severity: float | Tensor | None = None,
        how: How = AS_PIPELINE,
        *,
        state: State | None = None,
        generator: Rng | None = None,
        watch: Callable[[int, int], None] = lambda done, of: None,
    ) -> Iterator[Step]:
        """The trajectory from degraded images y to restored ones: from y itself, or from x_1 where y is a measurement.

        severity, state: of the degradation that y went through; severity None: what the run estimates, 1 of a
        measurement. watch: as of `trajectory`.
        """
        rng = generator or self.draws(how, len(y))
        if self.parts.measurement is None:
            return self.trajectory(y, severity, how, state=state, generator=rng, watch=watch)
        y = y.to(self.parts.device)
        state, severity = on(self.parts.device, state), 1.0 if severity is None else severity
        observation = self.parts.measurement.observation(y, severity, state)
        x, _ = self.first(y, rng)
        return self.trajectory(x, 1.0, how, generator=rng, observation=observation, watch=watch)

    @property
    def estimates(self) -> bool:
        """Whether the run has learnt to estimate severities."""
        return self.restorer.blind is not None

    @torch.no_grad()
    def estimate(self, x: Tensor) -> Tensor:
        """The severity (B,) of degraded images (B, C, H, W), by the run's own estimate; 1 where it learnt none."""
        if self.restorer.blind is None:
            return torch.ones(len(x), device=x.device)
        estimated: Tensor = self.restorer.blind(x.to(self.parts.device, torch.float32)).clamp_min(LEAST)
        return estimated

    # --- from nothing ---------------------------------------------------------------------------------------------

    @torch.no_grad()
    def start(self, n: int, size: tuple[int, int] | None, seed: int, first: int = 0) -> tuple[Tensor, State | None]:
        """Draws n samples of x_1, with their states, to generate from; size: (H, W), as in training if None."""
        shape = (self.parts.config.restorer.channels, *size) if size else self.image_shape
        if not shape:
            raise RethawError("the run does not say how large its images are", "Give a size: --size 64.")
        return self.first(torch.empty(n, *shape, device=self.parts.device), generators(seed, n, first))

    def first(self, like: Tensor, rng: Rng) -> tuple[Tensor, State | None]:
        """Draws as many x_1, and their states, as `like` has images, in its shape; None where only data have states."""
        degradation = self.parts.degradation
        if has_prior(degradation):
            return degradation.prior(like, rng)
        prior = self.parts.prior()
        if prior is None or not self.fitted:
            raise RethawError(
                f"{degradation.name} has no distribution of x_1 to generate from, and the run has no fitted prior",
                "Set prior: {use: core.mixture} and train.",
            )
        x = prior.sample(self.fitted, like, rng)
        return x, None if degradation.fields else degradation.draw(like, rng)


def on(device: torch.device, state: State | None) -> State | None:
    """A state that may have been made elsewhere, on the device."""
    return state and {key: value.to(device) for key, value in state.items()}


def last(steps: Iterator[Step]) -> Step:
    """The last station of a trajectory, keeping none of the others."""
    final = None
    for step in steps:
        final = step
    if final is None:
        raise RethawError("the sampler does not keep its contract: its trajectory has no stations")
    return final


def masked(
    degradation: Hosted, x: Tensor, t: Tensor, state: State | None, observation: Observation | None, noise: float
) -> tuple[Tensor, Observation | None, tuple[Tensor, Tensor] | None]:
    """Images x, or the observation, with their holes as a known mask leaves them, whatever was painted there.

    Also where the mask shows their values, (B, C, H, W), and these values; None where it shows none, or no mask is
    known, or they are known but for noise. noise: of x.
    """
    if observation is not None:
        y, measured, t, ξ, noise = observation
        y, shown = through_mask(measured, y, t, ξ)
        observation = observation._replace(y=y)
    elif state is not None and state.keys() >= degradation.stand_in(x).keys():
        x, shown = through_mask(degradation, x, expand(t, x), state)
        y = x
    else:
        return x, None, None
    return x, observation, (shown, y) if noise <= EXACT and bool(shown.any()) else None


def kept(steps: Iterator[Step], shown: tuple[Tensor, Tensor] | None) -> Iterator[Step]:
    """The steps, the last of them with what is shown; it is known as the last because none follows."""
    if shown is None:
        yield from steps
        return
    step = next(steps)
    for following in steps:
        yield step
        step = following
    x = torch.where(shown[0], shown[1].to(step.x.dtype), step.x)
    yield Step(step.t, x, x)
