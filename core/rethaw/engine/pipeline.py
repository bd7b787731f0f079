"""`rethaw.Pipeline`: degradation, restorer and sampler as one, from a YAML file or a run folder."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from rethaw.api import Observation, Restore, RethawError, Rng, Sampler, State, Step
from rethaw.config import load_config
from rethaw.config.compose import marked
from rethaw.config.load import Findings
from rethaw.config.model import Component, Config, Guidance
from rethaw.config.yaml import ConfigError, Mark
from rethaw.engine.blind import LEAST
from rethaw.engine.classifier import leading
from rethaw.engine.conditioners import Conditioners, Values, check_read
from rethaw.engine.consistency import consistent
from rethaw.engine.degradation import AnyDegradation, build_degradation, host_component
from rethaw.engine.examples import observe
from rethaw.engine.guidance import bind, under
from rethaw.engine.likelihood import Likelihood, likelihood
from rethaw.engine.measurement import Measurement, keeps_to
from rethaw.engine.parameterization import Parameterization
from rethaw.engine.progress import Outcome, Progress
from rethaw.engine.reference import between, known, noised
from rethaw.engine.restorer import Restorer, build_restorer
from rethaw.engine.run import CONFIG, MODEL, find_run, load_tensors, read_lock, save_tensors, write_description
from rethaw.engine.walk import Walk, along, grid
from rethaw.files import only_one
from rethaw.images import from_pil, read_image
from rethaw.ops import check_severity, expand, generators, mix_seed, needs_coefficients, rand, severity_rows
from rethaw.registry import Registry

Picture = Tensor | Image.Image | str | Path


class Pipeline:
    """A degradation and the restorer that undoes it.

    Made by `from_yaml` (untrained), `load` (a run folder or hub id) or `train`. Images are tensors (B, C, H, W) in
    [-1, 1], or lists of files, PIL images and tensors (C, H, W) of any size.
    """

    def __init__(self, config: Config, registry: Registry, device: str | torch.device | None = None) -> None:
        self.config, self.registry = config, registry
        self.device = usable(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.degradation: AnyDegradation = build_degradation(config, registry)
        self.measurement = Measurement(config.measurement, registry) if config.measurement else None
        self.parameterization = Parameterization(config.restorer, self.degradation)
        self.conditioners = Conditioners(config, registry)
        self.restorer: Restorer | None = None
        self.fitted: dict[str, Tensor] = {}
        self.image_shape: tuple[int, ...] = ()
        self.folder: Path | None = None
        self.data: Any = None

    # --- making one --------------------------------------------------------------------------------------------

    @classmethod
    def from_yaml(cls, name: str | Path, overrides: Sequence[str] = (), device: str | None = None) -> Pipeline:
        """An untrained pipeline from a YAML file or recipe, with `key.path=value` overrides."""
        return cls(*load_config(str(name), overrides), device=device)

    @classmethod
    def load(cls, run: str | Path, overrides: Sequence[str] = (), device: str | None = None) -> Pipeline:
        """A trained pipeline from a run folder, or from the hub by `owner/name`."""
        folder = find_run(run)
        pipeline = cls(*load_config(str(folder / CONFIG), overrides), device=device)
        pipeline.folder = folder
        pipeline.image_shape = tuple(read_lock(folder).get("image_shape", ()))
        tensors = load_tensors(folder / MODEL)
        pipeline.fitted = {k.removeprefix("prior."): v for k, v in tensors.items() if k.startswith("prior.")}
        weights = {k.removeprefix("restorer."): v for k, v in tensors.items() if k.startswith("restorer.")}
        pipeline.restorer = pipeline.new_restorer(initial=False)
        try:
            pipeline.restorer.load_state_dict(weights)
        except RuntimeError as error:
            raise RethawError(f"{folder / MODEL} does not fit the pipeline in {CONFIG}: {str(error).splitlines()[-1].strip()}",
                              "The two must come from one training.") from error  # fmt: skip
        pipeline.restorer.to(pipeline.device).eval()
        return pipeline

    def save(self, folder: str | Path) -> None:
        """Writes resolved.yaml, lock.json and model.safetensors: all that `load` needs."""
        write_description(Path(folder), self.config, self.registry, self.image_shape)
        self.save_weights(Path(folder), self._trained())

    def train(
        self, folder: str | Path, resume: bool = False, watch: Callable[[Progress], None] | None = None
    ) -> Outcome:
        """Trains into a run folder, or takes up an interrupted training there.

        watch: called after every step. SIGINT and SIGTERM end the training between two steps, with a checkpoint.
        Raises RethawError where the data, the degradation or the folder is not fit for it.
        """
        from rethaw.engine.trainer import Trainer, fit_prior, preflight, rehearse

        folder = Path(folder)
        data = self.data = self._prepare_data()
        self.image_shape = preflight(self.config, data, self.degradation)
        restorer = self.new_restorer()
        rehearse(self, restorer)
        if self.config.prior and not hasattr(self.degradation, "prior"):
            prior = self.registry.build("prior", self.config.prior.use, self.config.prior.params)
            self.fitted = fit_prior(self.config, data, self.degradation, prior)
        trainer = Trainer(self, data, restorer, folder)
        if resume:
            trainer.resume()
        if trainer.is_main:
            write_description(folder, self.config, self.registry, self.image_shape)
        with only_one(folder):
            outcome = trainer.run(watch)
        self.folder, self.restorer = (
            folder,
            trainer.accelerator.unwrap_model(trainer.best, keep_fp32_wrapper=False).eval(),
        )
        return outcome

    def build_data(self) -> Any:
        """The training data."""
        if self.config.data is None:
            raise RethawError("the pipeline has no data to train on", "Add data: {use: core.folder, path: photos/}.")
        data = self.registry.build("dataset", self.config.data.use, self.config.data.params)
        if len(data) == 0:
            raise RethawError(f"{self.config.data.use} has no images")
        return data

    def _prepare_data(self) -> Any:
        """Builds the dataset, and completes conditioners from it (which classes there are)."""
        data = self.build_data()
        items = [complete(item, data, self.registry) for item in self.config.conditioner]
        self.config = replace(self.config, conditioner=tuple(items))
        self.conditioners = Conditioners(self.config, self.registry)
        return data

    def new_restorer(self, initial: bool = True) -> Restorer:
        """An untrained restorer. initial: False where weights of a run follow."""
        return build_restorer(
            self.config, self.registry, self.conditioners, self.parameterization.out_channels, initial
        )

    def save_weights(self, folder: Path, restorer: Restorer) -> None:
        """Writes model.safetensors: a restorer's weights and the fitted prior."""
        weights = {f"restorer.{key}": value for key, value in restorer.state_dict().items()}
        save_tensors(folder / MODEL, weights | {f"prior.{key}": value for key, value in self.fitted.items()})

    def _trained(self) -> Restorer:
        if self.restorer is None:
            raise RethawError("this pipeline is not trained", "Train it, or load a run: Pipeline.load('runs/…').")
        return self.restorer

    # --- using it ------------------------------------------------------------------------------------------------

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

    def measured(self, use: str, **given: Any) -> Pipeline:
        """This pipeline, restoring from measurements by a degradation (`use`, its parameters, bits, noise), not its own."""
        component = parse_component(use, "degradation", self.registry, given, "measurement")
        other = copy.copy(self)
        other.config = replace(self.config, measurement=component)
        other.measurement = Measurement(component, self.registry)
        return other

    @torch.no_grad()
    def trajectory(
        self, x: Tensor, severity: float | Tensor | None = 1.0, *, state: State | None = None,
        sampler: str | None = None, steps: int | None = None, cond: Values | None = None, generator: Rng | None = None,
        observation: Observation | None = None, guidance: Guidance | float | None = None,
    ) -> Iterator[Step]:  # fmt: skip
        """Walks from degraded images x (B, C, H, W) at a severity to restored ones; yields each station.

        severity: one for all, one for each image (B,), or None for what `estimate` says. state: ξ where it is known; None
        where nobody knows it ({} is drawn where nothing is random). cond: values by field, one an image. guidance: instead
        of the pipeline's, or just its scale. generator: of samplers that draw. observation: a measurement, for samplers that
        keep to one. Raises RethawError before the first network call where the sampler cannot work with the degradation.
        """
        x = x.to(self.device)
        start = self.estimate(x) if severity is None else severity
        for each in start.tolist() if isinstance(start, Tensor) else (start,):
            if not 0 < each <= 1:
                raise RethawError(f"severity {each} is not in (0, 1]")
        rng = generator or generators(self.config.seed, x.shape[0])
        drawn = self.degradation.draw(x[:1], generators(0, 1))
        check_read("state", state or (), tuple(drawn), f"{self.degradation.name} draws no state.")
        if state is None and not drawn:
            state = {}
        chosen = self.sampler(sampler, steps)
        self._check(chosen, state, observation)
        severities = severity_rows(grid(chosen, self.degradation, start), x)
        degradation = along(self.degradation, severities)
        restore = self.bound(degradation, x, cond, guidance)
        if self.config.consistency:
            precision = self.config.observation
            restore = consistent(restore, self.degradation, state, observation, self.config.consistency, precision)
        yield from chosen.trajectory(restore, x, severities, degradation, state, rng, observation)

    def _check(self, sampler: Sampler, state: State | None, observation: Observation | None) -> None:
        """Refuses a sampler that cannot work with the degradation, the state or the measurement."""
        name = type(sampler).__name__.lower()
        if unfit := keeps_to(sampler, observation):
            raise RethawError(f"{name} sampling cannot do this: {unfit}")
        problem = getattr(sampler, "check", needs_state)(self.degradation, state, observation)
        if problem:
            hint = "Use --sampler core.direct, or give the state (--state mask=FILE)." if observation is None else ""
            raise RethawError(f"{name} sampling cannot undo {self.degradation.name}: {problem}", hint)

    def restoration(
        self, y: Tensor, severity: float | Tensor | None = None, *, state: State | None = None,
        generator: Rng | None = None, **options: Any,
    ) -> Iterator[Step]:  # fmt: skip
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

    @torch.no_grad()
    def encode(
        self,
        x0: Tensor,
        severity: float = 1.0,
        *,
        steps: int | None = None,
        cond: Values | None = None,
    ) -> Tensor:
        """The x_t that DDIM would walk from to images x0 (B, C, H, W): DDIM inversion (2010.02502, section 4.3).

        Restoring it with core.ddim gives x0 back, the closer the more steps. Raises RethawError where the degradation has
        no coefficients.
        """
        check_severity(severity)
        x0, ddim = x0.to(self.device), self.sampler("core.ddim", steps)
        problem = needs_coefficients(self.degradation)
        if problem:
            raise RethawError(f"DDIM inversion cannot encode for {self.degradation.name}: {problem}")
        severities = severity_rows(ddim.severities(self.degradation, severity).flip(0), x0)
        degradation = along(self.degradation, severities)
        return last(ddim.encode(self.bound(degradation, x0, cond), x0, severities, degradation)).x  # type: ignore[attr-defined]

    def bound(
        self, degradation: AnyDegradation | Walk, x: Tensor, cond: Values | None = None,
        guidance: Guidance | float | None = None,
    ) -> Restore:  # fmt: skip
        """The restorer for a walk on images like x, as samplers call it: condition, guidance and prediction type inside."""
        reading = Parameterization(self.config.restorer, degradation)
        config, values = under(self.config, guidance), cond or {}
        led = config.guidance or Guidance()
        shift, values = leading(self, led.classifier_scale, values) if led.classifier_scale else (None, values)
        return bind(self._trained(), reading, config, *self.conditioners.pair(values, led, x), shift)

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
        self, images: Tensor | Sequence[Picture], severity: float | Tensor | None = None, *, state: State | None = None,
        sampler: str | None = None, steps: int | None = None, cond: Values | None = None,
        guidance: Guidance | float | None = None, seed: int | None = None,
    ) -> Any:  # fmt: skip
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

    def makes_colour(self, like: Tensor) -> bool:
        """Whether the degradation leaves no colour in images like (1, 3, H, W), so that a grey file becomes coloured."""
        if like.shape[1] != 3:
            return False
        colours = rand(like, generators(0, 1)) * 2 - 1
        x = self.degradation.degrade(colours, expand(1.0, colours), self.degradation.draw(colours, generators(0, 1)))
        return bool((x - x.mean(1, keepdim=True)).abs().max() < 1e-3)

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
            raise RethawError(f"{self.degradation.name} has no distribution of x_1 to generate from, and the run has no "
                              "fitted prior", "Set prior: {use: core.mixture} and train.")  # fmt: skip
        prior = self.registry.build("prior", self.config.prior.use, self.config.prior.params)
        return prior.sample(self.fitted, like, rng), self.degradation.draw(like, rng)

    def generate(
        self, n: int, *, size: tuple[int, int] | None = None, sampler: str | None = None, steps: int | None = None,
        cond: Values | None = None, guidance: Guidance | float | None = None, seed: int | None = None,
    ) -> Tensor:  # fmt: skip
        """Generates n images (n, C, H, W), from samples of x_1."""
        x, state = self.start(n, size, seed)
        rng = generators((self.config.seed if seed is None else seed) + 1, n)
        options: dict[str, Any] = {"sampler": sampler, "steps": steps, "cond": cond, "guidance": guidance}
        return last(self.trajectory(x, state=state, generator=rng, **options)).x

    @torch.no_grad()
    def edit(
        self, images: Tensor | Sequence[Picture], strength: float = 0.6, *, sampler: str | None = None,
        steps: int | None = None, cond: Mapping[str, Sequence[Any]] | None = None, seed: int | None = None,
    ) -> Tensor:  # fmt: skip
        """New images after references of one size (SDEdit, 2108.01073): degraded to severity `strength`, and restored.

        strength: 0 keeps the reference, 1 leaves nothing of it. Image i depends on (seed, i) alone.
        """
        x0 = images if isinstance(images, Tensor) else torch.stack([self.tensor(image) for image in images])
        x, state = self.reference(x0, strength, seed)
        rng = generators((self.config.seed if seed is None else seed) + 1, len(x))
        walk = self.trajectory(x, strength, state=state, sampler=sampler, steps=steps, cond=cond, generator=rng)
        return last(walk).x

    def reference(
        self, x0: Tensor, strength: float, seed: int | None = None, first: int = 0
    ) -> tuple[Tensor, State | None]:
        """Where `edit` starts: images (B, C, H, W), degraded; the state, or None if samplers are to infer it."""
        rng = generators(self.config.seed if seed is None else seed, len(x0), first)
        x, state = noised(self.degradation, x0.to(self.device), strength, rng)
        return x, known(self.degradation, state)

    @torch.no_grad()
    def interpolate(
        self, first: Picture, second: Picture, count: int = 8, strength: float = 0.6, *, own: bool = False,
        sampler: str | None = None, steps: int | None = None, seed: int | None = None,
    ) -> Tensor:  # fmt: skip
        """`count` images from one picture to another of its size: both degraded, mixed, and restored.

        own: each picture has a state of its own (a noise), and they are mixed spherically; else they share one.
        """
        seed = self.config.seed if seed is None else seed
        a, b = (self.tensor(image).to(self.device) for image in (first, second))
        x, state = between(self.degradation, a, b, count, strength, seed, own)
        rng = [generators(seed + 1, 1)[0] for _ in range(count)]  # the same draws for all: only the mixture differs
        return last(self.trajectory(x, strength, state=state, sampler=sampler, steps=steps, generator=rng)).x

    def log_likelihood(
        self, images: Tensor, *, cond: Mapping[str, Sequence[Any]] | None = None, generator: Rng | None = None,
        **options: Any,
    ) -> Likelihood:  # fmt: skip
        """log p of clean images (B, C, H, W) in nats and in bits a dimension, for degradations α x0 + σ z with Gaussian z.

        See `rethaw.engine.likelihood.likelihood` for the options: steps, solver, probes, dequantise, tolerance, watch.
        """
        x = images.to(self.device)
        rng = generator or generators(self.config.seed, len(x))
        with torch.no_grad():
            return likelihood(self.bound(self.degradation, x, cond), self.degradation, x, rng, **options)

    def tensor(self, image: Picture) -> Tensor:
        """One image of any kind as a tensor (C, H, W) in [-1, 1]."""
        channels = self.config.restorer.channels
        if isinstance(image, Tensor):
            return image
        return (
            from_pil(image, channels) if isinstance(image, Image.Image) else read_image(Path(image), channels)
        ).pixels


def needs_state(degradation: AnyDegradation, state: State | None, observation: Observation | None) -> str | None:
    """What is asked of samplers that have no `check` of their own."""
    return "the degradation's random state is not known" if state is None else None


def usable(device: str | torch.device) -> torch.device:
    """A device that exists and works. Raises RethawError for any other."""
    try:
        torch.empty(1, device=device)
        return torch.device(device)
    except (RuntimeError, AssertionError) as error:
        raise RethawError(f"the device {str(device)!r} cannot be used: {str(error).splitlines()[0]}",
                          "Leave --device out to take a GPU if there is one, else the CPU.") from error  # fmt: skip


def last(steps: Iterator[Step]) -> Step:
    """The last station of a trajectory, keeping none of the others."""
    final = None
    for step in steps:
        final = step
    if final is None:
        raise RethawError("the sampler does not keep its contract: its trajectory has no stations")
    return final


def complete(item: Component, data: Any, registry: Registry) -> Component:
    """A component whose parameters are completed from the training data, where its class knows how."""
    from rethaw.registry import import_target

    resolve = getattr(import_target(registry.find(item.kind, item.use)[1]), "resolve", None)
    return replace(item, params=resolve(item.params, data)) if resolve else item


def parse_component(
    name: str, kind: str, registry: Registry, given: Mapping[str, Any] | None = None, key: str = ""
) -> Component:
    """One validated component from Python values, as it may stand under a key of the pipeline."""
    found = Findings()
    node = marked({"use": name, **(given or {})}, Mark(f"{kind} {name}"))
    component = found.component(node, kind, key or kind, registry)
    if found.problems or component is None:
        raise ConfigError(found.problems)
    return component


def build(kind: str, name: str, /, *args: Any, **params: Any) -> Any:
    """Builds one component by kind and name, as the host uses it; a degradation then takes t and the host keys.

    args: what the kind's target takes beside its parameters (a backbone: its `Context`).

    >>> blur = rethaw.build("degradation", "kornia.gaussian_blur", sigma_max=6.0, span=[0, 0.5])
    """
    registry = Registry()
    component = parse_component(name, kind, registry, params)
    if kind == "degradation":
        return host_component(component, registry)
    return registry.build(kind, component.use, component.params, *args)
