"""What a trained pipeline does: walks from degraded images to restored ones, and generation from samples of x_1."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import torch
from PIL import Image
from torch import Tensor

from rethaw.api import Observation, Restore, RethawError, Rng, Sampler, State, Step
from rethaw.config.model import Config, Guidance
from rethaw.engine.classifier.guiding import leading
from rethaw.engine.degradation.hosted import AnyDegradation, Opaque, before_last, told
from rethaw.engine.degradation.walk import Walk, along, grid
from rethaw.engine.parts import parse_component
from rethaw.engine.restorer.blind import LEAST
from rethaw.engine.restorer.conditioners import Conditioners, Values, check_read
from rethaw.engine.restorer.consistency import consistent, precise
from rethaw.engine.restorer.guidance import bind, under
from rethaw.engine.restorer.network import Restorer
from rethaw.engine.restorer.parameterization import Parameterization
from rethaw.engine.sampling.measurement import Measurement, keeps_to
from rethaw.engine.sampling.reference import known, noised
from rethaw.engine.training.examples import observe
from rethaw.images import from_pil, read_image
from rethaw.ops import generators, mix_seed, severity_rows
from rethaw.registry import Registry

Picture = Tensor | Image.Image | str | Path


class Sampling:
    """The half of `Pipeline` that uses a restorer; images are as it says."""

    config: Config
    registry: Registry
    device: torch.device
    degradation: AnyDegradation
    measurement: Measurement | None
    conditioners: Conditioners
    restorer: Restorer | None
    fitted: dict[str, Tensor]
    image_shape: tuple[int, ...]
    folder: Path | None

    def _trained(self) -> Restorer:
        if self.restorer is None:
            raise RethawError("this pipeline is not trained", "Train it, or load a run: Pipeline.load('runs/…').")
        return self.restorer

    def sampler(self, name: str | None = None, steps: int | None = None) -> Sampler:
        """The pipeline's sampler, or another by name; steps: instead of the sampler's own."""
        component = self.config.sampler
        if name and self.registry.find("sampler", name)[0] != component.use:
            component = parse_component(name, "sampler", self.registry)
        if steps is not None and hasattr(component.params, "steps"):
            given = {k: v for k, v in vars(component.params).items() if k != "steps"} | {"steps": steps}
            component = parse_component(component.use, "sampler", self.registry, given)
        built: Sampler = self.registry.build("sampler", component.use, component.params)
        return built

    def measured(self, use: str, **given: Any) -> Self:
        """This pipeline, restoring from measurements by a degradation (`use`, its parameters, bits, noise), not its own."""
        component = parse_component(use, "degradation", self.registry, given, "measurement")
        other = copy.copy(self)
        other.config = replace(self.config, measurement=component)
        other.measurement = Measurement(component, self.registry)
        return other

    @torch.no_grad()
    def trajectory(
        self,
        x: Tensor,
        severity: float | Tensor | None = 1.0,
        *,
        state: State | None = None,
        sampler: str | None = None,
        steps: int | None = None,
        cond: Values | None = None,
        generator: Rng | None = None,
        observation: Observation | None = None,
        guidance: Guidance | float | None = None,
    ) -> Iterator[Step]:
        """Walks from degraded images x (B, C, H, W) at a severity to restored ones; yields each station.

        severity: one for all, one for each image (B,), or None for what `estimate` says. state: ξ where it is known; None
        where nobody knows it ({} is drawn where nothing is random). cond: values by field, one an image. guidance: instead
        of the pipeline's, or just its scale. generator: of samplers that draw. observation: a measurement, for samplers that
        keep to one. Raises RethawError before the first network call where the sampler cannot work with the degradation.
        """
        x = fitting(x, self.config.restorer.channels).to(self.device)
        start = walkable(self.estimate(x) if severity is None else severity, len(x))
        rng = generator or generators(self.config.seed, x.shape[0])
        drawn = self.degradation.draw(x[:1], generators(0, 1))
        check_read("state", state or (), tuple(drawn), f"{self.degradation.name} draws no state.")
        if state is None and not drawn:
            state = {}
        chosen = self.sampler(sampler, steps)
        self._check(chosen, state, observation, before_last(self.degradation, drawn))
        given = x.dtype
        if precise(self.config, self.device):
            x, state = x.double(), state and {k: v.double() if v.is_floating_point() else v for k, v in state.items()}
        severities = severity_rows(grid(chosen, self.degradation, start), x)
        degradation = along(self.degradation, severities)
        restore = self.bound(degradation, x, state, cond, guidance)
        if self.config.consistency:
            precision = self.config.observation
            restore = consistent(restore, self.degradation, state, observation, self.config.consistency, precision)
        for step in chosen.trajectory(restore, x, severities, degradation, state, rng, observation):
            yield step if x.dtype == given else Step(*(each.to(given) for each in step))

    def _check(self, sampler: Sampler, state: State | None, observation: Observation | None, hidden: list[str]) -> None:
        """Refuses a sampler that cannot work with the degradation, the state or the measurement.

        hidden: members whose state only the user can tell.
        """
        name = type(sampler).__name__.lower()
        if unfit := keeps_to(sampler, observation):
            raise RethawError(f"{name} sampling cannot do this: {unfit}")
        seen = Opaque(self.degradation) if hidden and not state else self.degradation
        problem = getattr(sampler, "check", needs_state)(seen, state, observation)
        if problem:
            unknown = observation is None and "state is not known" in problem
            hint = "Use --sampler core.direct, or give the state (--state mask=FILE)." if unknown else ""
            what = f"restore from {observation.degradation.name}" if observation else f"undo {self.degradation.name}"  # type: ignore[attr-defined]
            raise RethawError(f"{name} sampling cannot {what}: {problem}", hint)

    def restoration(
        self,
        y: Tensor,
        severity: float | Tensor | None = None,
        *,
        state: State | None = None,
        generator: Rng | None = None,
        **options: Any,
    ) -> Iterator[Step]:
        """The trajectory from degraded images y to restored ones: from y itself, or from x_1 where y is a measurement.

        severity, state: of the degradation that y went through; None: as `restore` says. See `trajectory` for the rest.
        """
        rng = generator or generators(self.config.seed, len(y))
        if self.measurement is None:
            return self.trajectory(y, severity, state=state, generator=rng, **options)
        y = y.to(self.device)
        observation = self.measurement.observation(y, 1.0 if severity is None else severity, state)
        x, _ = self.first(y, rng)
        return self.trajectory(x, generator=rng, observation=observation, **options)

    def bound(
        self,
        degradation: AnyDegradation | Walk,
        x: Tensor,
        state: State | None,
        cond: Values | None = None,
        guidance: Guidance | float | None = None,
    ) -> Restore:
        """The restorer for a walk on images like x, as samplers call it: condition, guidance and prediction type inside."""
        reading = Parameterization(self.config.restorer, degradation, self.config.observation)
        config, values = under(self.config, guidance), cond or {}
        led = config.guidance or Guidance()
        if guidance is not None and led.scale != 1 and not (values or led.negative):
            raise RethawError(
                "guidance has no condition to follow", "Give one: --cond FIELD=VALUE, or cond={field: […]} in Python."
            )
        shift, values = leading(self, led.classifier_scale, values) if led.classifier_scale else (None, values)
        return bind(self._trained(), reading, config, state, *self.conditioners.pair(values, led, x), shift)

    @property
    def estimates(self) -> bool:
        """Whether the run has learnt to estimate severities."""
        return self._trained().blind is not None

    def estimate(self, x: Tensor) -> Tensor:
        """The severity (B,) of degraded images (B, C, H, W), by the run's own estimate; 1 where it learnt none."""
        head = self._trained().blind
        if head is None:
            return torch.ones(len(x), device=x.device)
        with torch.no_grad():
            return head(x.to(self.device, torch.float32)).clamp_min(LEAST)  # type: ignore[no-any-return]

    def restore(
        self,
        images: Tensor | Sequence[Picture],
        severity: float | Tensor | None = None,
        *,
        state: State | None = None,
        sampler: str | None = None,
        steps: int | None = None,
        cond: Values | None = None,
        guidance: Guidance | float | None = None,
        seed: int | None = None,
    ) -> Any:
        """Restores images that are already degraded, to the given severity: by the measurement, if there is one.

        severity: one for all, one for each image (B,), or None for what the run estimates (1 where it has not learnt to).

        A tensor (B, C, H, W) gives a tensor; a list gives a list of (C, H, W). See `trajectory` for the rest.
        """
        seed = self.config.seed if seed is None else seed
        options: dict[str, Any] = {"state": state, "sampler": sampler, "steps": steps, "guidance": guidance}
        if isinstance(images, Tensor):
            rng = generators(seed, len(images))
            return last(self.restoration(images, severity, cond=cond, generator=rng, **options)).x
        found = []
        for i, image in enumerate(images):
            each = {field: [values[i]] for field, values in cond.items()} if cond else None
            x = self.tensor(image)[None]
            own = severity[i : i + 1] if isinstance(severity, Tensor) else severity
            found.append(last(self.restoration(x, own, cond=each, generator=generators(seed, 1, i), **options)).x[0])
        return found

    def degrade(
        self, x0: Tensor, severity: float = 1.0, seed: int | None = None, first: int = 0
    ) -> tuple[Tensor, State]:
        """Degrades clean images (B, C, H, W) as they are observed, or measured if there is a measurement; x_t and ξ."""
        rng = generators(self.config.seed if seed is None else seed, len(x0), first)
        by = self.measurement
        degradation, how = (by.degradation, by.how) if by else (self.degradation, self.config.observation)
        x_t, state = noised(degradation, x0.to(self.device), severity, rng)
        x_t = observe(x_t, how, rng)
        return (x_t.clamp(-1, 1) if how.bits else x_t), state

    def observed(self, x0: Tensor, seed: int | None = None, first: int = 0) -> Values:
        """The conditions that clean images (B, C, H, W) give of themselves, such as their low resolution; {} if there are none."""
        rng = generators(mix_seed(self.config.seed if seed is None else seed, "observed"), len(x0), first)
        return self.conditioners.seen_in(x0.to(self.device), rng)

    def known(self, state: State) -> State | None:
        """The state that `degrade` drew, as `restoration` should get it: None where samplers are to infer it."""
        return state if self.measurement else known(self.degradation, state)

    @torch.no_grad()
    def start(
        self, n: int, size: tuple[int, int] | None = None, seed: int | None = None, first: int = 0
    ) -> tuple[Tensor, State]:
        """Draws n samples of x_1, with their states, to generate from."""
        shape = (self.config.restorer.channels, *size) if size else self.image_shape
        if not shape:
            raise RethawError("the run does not say how large its images are", "Give a size: --size 64.")
        rng = generators(self.config.seed if seed is None else seed, n, first)
        return self.first(torch.empty(n, *shape, device=self.device), rng)

    def first(self, like: Tensor, rng: Rng) -> tuple[Tensor, State]:
        """Draws as many x_1, and their states, as `like` has images, in its shape."""
        if hasattr(self.degradation, "prior"):
            x, state = self.degradation.prior(like, rng)
            return x, state
        if not self.config.prior or not self.fitted:
            raise RethawError(
                f"{self.degradation.name} has no distribution of x_1 to generate from, and the run has no fitted prior",
                "Set prior: {use: core.mixture} and train.",
            )
        prior = self.registry.build("prior", self.config.prior.use, self.config.prior.params)
        return prior.sample(self.fitted, like, rng), self.degradation.draw(like, rng)

    def generate(
        self,
        n: int,
        *,
        size: tuple[int, int] | None = None,
        sampler: str | None = None,
        steps: int | None = None,
        cond: Values | None = None,
        guidance: Guidance | float | None = None,
        seed: int | None = None,
    ) -> Tensor:
        """Generates n images (n, C, H, W), from samples of x_1."""
        x, state = self.start(n, size, seed)
        rng = generators((self.config.seed if seed is None else seed) + 1, n)
        options: dict[str, Any] = {"sampler": sampler, "steps": steps, "cond": cond, "guidance": guidance}
        return last(self.trajectory(x, state=state, generator=rng, **options)).x

    def tensor(self, image: Picture) -> Tensor:
        """One image of any kind as a tensor (C, H, W) in [-1, 1]."""
        channels = self.config.restorer.channels
        if isinstance(image, Tensor):
            return image
        return (
            from_pil(image, channels) if isinstance(image, Image.Image) else read_image(Path(image), channels)
        ).pixels


def fitting(x: Tensor, channels: int) -> Tensor:
    """Images as a walk takes them. Raises RethawError for anything but floating-point (B, channels, H, W)."""
    if x.dim() != 4 or not x.is_floating_point() or x.shape[1] != channels or 0 in x.shape:
        raise RethawError(f"images are floating-point tensors (B, {channels}, H, W) in [-1, 1], not {told(x)}")
    return x


def walkable(severity: float | Tensor, count: int) -> float | Tensor:
    """A severity that a walk can begin at. Raises RethawError outside (0, 1], and for a number of them other than the images'."""
    given = severity.tolist() if isinstance(severity, Tensor) and severity.dim() else [float(severity)]
    if isinstance(severity, Tensor) and severity.dim() and len(given) != count:
        raise RethawError(f"{len(given)} severities for {count} images", "Give one for all, or one for each.")
    for each in given:
        if not 0 < each <= 1:
            raise RethawError(
                f"severity {each:g} is not in (0, 1]", "1 is the full degradation; at 0 there is nothing to restore."
            )
    return severity


def needs_state(degradation: Any, state: State | None, observation: Observation | None) -> str | None:
    """What is asked of samplers that have no `check` of their own."""
    return "the degradation's random state is not known" if state is None else None


def last(steps: Iterator[Step]) -> Step:
    """The last station of a trajectory, keeping none of the others."""
    final = None
    for step in steps:
        final = step
    if final is None:
        raise RethawError("the sampler does not keep its contract: its trajectory has no stations")
    return final
