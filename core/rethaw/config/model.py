"""What a pipeline YAML may say, as frozen dataclasses. Each docstring explains its keys; the docs are held to it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Lt

from rethaw.api import RethawError
from rethaw.config.hosts import Knot, Precision
from rethaw.plugins import Policy


@dataclass(frozen=True)
class Component:
    """A component as a YAML names it: full name, validated parameters, host keys, and nested components (`of`)."""

    kind: str
    use: str
    params: Any
    host: Any
    of: tuple[Component, ...] = ()

    @property
    def id(self) -> str:
        """The id given, or the last part of the component's name."""
        return self.host.id or self.use.rpartition(".")[2]

    def walk(self) -> Iterator[Component]:
        """The component and its members, to any depth."""
        yield self
        for member in self.of:
            yield from member.walk()


@dataclass(frozen=True)
class Consistency:
    """Data consistency: each estimate x̂0 is moved, as little as may be, so that it explains a degraded image.

    to: which one: observation (y, which the walk starts from, at its severity), or state (x_t, at each step).
    weight: λ of x̂0 + (AᵀA + λ)⁻¹Aᵀ (y - D(x̂0, t)): less trusts y more; null takes it from the pipeline's observation.
    iterations: of conjugate gradients, where the degradation has no singular value decomposition.
    """

    to: Literal["observation", "state"] = "observation"
    weight: Annotated[float, Gt(0)] | None = None
    iterations: Annotated[int, Ge(1)] = 20


@dataclass(frozen=True)
class RestorerConfig:
    """How the backbone's output is read as an estimate of the clean image.

    prediction: what the network gives: x0 (the clean image) or residual (x0 - x_t); where x_t = α x0 + σ z also
        eps (z), v (α z - σ x0), score (σ ∇log p), flow (z - x0) or edm (x0 by the preconditioning of 2206.00364).
    input: what the network is shown: degraded (x_t), or inverse (x_t + A⁺(x_t - D(x_t, t)) with the regularised
        pseudo-inverse A⁺ of a linear degradation, 1611.03679); a residual is then to that.
    sigma_data: standard deviation of the clean images, for edm.
    variance: fixed, or learned as a second half of the output's channels, for core.ddpm (2102.09672).
    clip: clips the estimate to the range of images when sampling, [-1, 1].
    clip_range: with clip, to [-clip_range, clip_range] instead.
    channels: of the images: 3 for colour, 1 for grey.
    enlarge: how many times as high and wide as its file a picture is made before it is restored, each pixel a square.
    tile: images with a longer side than this are restored in overlapping tiles of this size, in pixels; 0 never tiles.
    """

    prediction: Literal["x0", "residual", "eps", "v", "score", "flow", "edm"] = "x0"
    input: Literal["degraded", "inverse"] = "degraded"
    sigma_data: Annotated[float, Gt(0)] = 0.5
    variance: Literal["fixed", "learned"] = "fixed"
    clip: bool = True
    clip_range: Annotated[float, Gt(0)] = 1.0
    channels: Annotated[int, Ge(1), Le(4)] = 3
    enlarge: Annotated[int, Ge(1), Le(8)] = 1
    tile: Annotated[int, Ge(0)] = 512

    def __post_init__(self) -> None:
        if 0 < self.tile < 64:
            raise ValueError("tile is 0 or at least 64 pixels")
        if self.input == "inverse" and self.prediction not in ("x0", "residual"):
            raise ValueError(f"input: inverse goes with prediction: x0 or residual, not {self.prediction}")

    @property
    def bound(self) -> float:
        """What estimates are clipped to when sampling, [-bound, bound]; infinite if they are not."""
        return self.clip_range if self.clip else math.inf


@dataclass(frozen=True)
class Guidance:
    """How strictly sampling follows its condition: R_null + scale·(R_cond - R_null), at twice the batch.

    scale: 1 is plain conditioning, 0 none; more follows the condition more strictly.
    interval: [low, high], the severities at which it does; plain conditioning at others.
    negative: by field, what to lead away from instead of the null condition.
    classifier_scale: how strongly the gradient of the run's own classifier leads to the label, for Gaussian noise only;
        0 not at all.
    """

    scale: Annotated[float, Ge(0)] = 1.0
    interval: Knot = (0.0, 1.0)
    negative: dict[str, str] = field(default_factory=dict)
    classifier_scale: Annotated[float, Ge(0)] = 0.0

    def __post_init__(self) -> None:
        if self.interval[0] >= self.interval[1]:
            raise ValueError(f"interval is [low, high] with low < high, not {list(self.interval)}")
        if self.negative and self.scale == 1:
            raise ValueError("negative needs a scale other than 1, at which nothing is led away from")

    def problem(self, conditioners: Sequence[Component]) -> tuple[str, str] | None:
        """Why a pipeline with these conditioners cannot be guided so, and how to mend it."""
        if self.scale == 1:
            return None
        if not conditioners:
            return "guidance needs a conditioner", "Add conditioner: [{use: core.label}] and train."
        if all(item.host.drop == 0 for item in conditioners):
            return (
                "guidance needs training with the null condition, but every conditioner has drop: 0",
                "Train with drop: 0.1; a scale of 1 needs none.",
            )
        return None


@dataclass(frozen=True)
class Severity:
    """What is known of how degraded an image is.

    estimate: trains a small network beside the restorer that estimates it, for restoring without saying it.
    width: of that network, in channels.
    """

    estimate: bool = False
    width: Annotated[int, Ge(1)] = 16


@dataclass(frozen=True)
class Unfold:
    """Unfolded training (2211.02527): on images that the network's own walk has brought to a severity.

    share: of each batch that is trained so.
    hops: steps of each walk, from a random higher severity.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    share: Annotated[float, Gt(0), Le(1)] = 0.5
    hops: Annotated[int, Ge(1)] = 3


@dataclass(frozen=True)
class Tune:
    """How sampler, steps and consistency are chosen when a training ends, as `rethaw tune` does it.

    data: clean images that are not trained on, a folder or a file.
    metric: what is to be best: one of `metrics` by its id, or any metric by its name.
    within: by metric, how many times worse than the best may be: {rmse: 1.1} is up to 10 %.
    images: at most so many of them.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    data: Path
    metric: str
    within: dict[str, Annotated[float, Ge(1)]] = field(default_factory=dict)
    images: Annotated[int, Ge(1)] = 500


@dataclass(frozen=True)
class Train:
    """The training loop.

    steps: optimizer steps in all.
    batch_size: images a step and process.
    lr: the highest learning rate of AdamW.
    lr_schedule: constant, or cosine down to 0 at the last step.
    warmup: steps over which the learning rate rises from 0.
    weight_decay: of AdamW.
    loss: l1, l2 or huber (smooth l1: quadratic below 0.1), between the network's output and what it should have given.
    weighting: of the images' losses by severity: uniform, snr, min_snr (2303.09556) or p2 (2204.00227).
    min_snr: γ of min_snr.
    vlb: λ of the variational bound that trains a learned variance (2102.09672, eq. 16).
    severities: uniform; stratified (uniform, the images of a batch spread evenly); heavy (t = √u, u uniform), which
        trains more where there is more to restore; log_normal (log σ/α is normal: EDM); discrete (the levels of the
        degradation).
    log_normal: mean and standard deviation of log σ/α, for log_normal severities (2206.00364, table 1).
    unfold: {share: 0.5, hops: 3} trains that share of each batch on images that cold sampling by the network as it is
        has brought to t, in so many steps (2211.02527); null none.
    ema: decay of the averaged weights that the run is used with; 0 uses the last weights.
    precision: fp32, bf16 or fp16 (mixed).
    clip_grad: largest norm of the gradient; 0 does not clip.
    accumulate: batches whose gradients make one step.
    checkpoint_every: steps between checkpoints.
    workers: processes that load images; 0 loads in the training process.
    tune: chooses how the run restores, on images that are not trained on: {data, metric, within, images}.
    """

    steps: Annotated[int, Ge(1)] = 20_000
    batch_size: Annotated[int, Ge(1)] = 32
    lr: Annotated[float, Gt(0)] = 2e-4
    lr_schedule: Literal["constant", "cosine"] = "cosine"
    warmup: Annotated[int, Ge(0)] = 100
    weight_decay: Annotated[float, Ge(0)] = 0.0
    loss: Literal["l1", "l2", "huber"] = "l1"
    weighting: Literal["uniform", "snr", "min_snr", "p2"] = "uniform"
    min_snr: Annotated[float, Gt(0)] = 5.0
    vlb: Annotated[float, Ge(0)] = 0.001
    severities: Literal["uniform", "stratified", "heavy", "log_normal", "discrete"] = "uniform"
    log_normal: tuple[float, Annotated[float, Gt(0)]] = (-1.2, 1.2)
    unfold: Unfold | None = None
    ema: Annotated[float, Ge(0), Lt(1)] = 0.995
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    clip_grad: Annotated[float, Ge(0)] = 1.0
    accumulate: Annotated[int, Ge(1)] = 1
    checkpoint_every: Annotated[int, Ge(1)] = 1000
    workers: Annotated[int, Ge(0)] = 0
    tune: Tune | None = None


@dataclass(frozen=True)
class Absent:
    """What a key names and no plugin here has: why, and how it was written."""

    error: RethawError
    written: Any


@dataclass(frozen=True)
class Config:
    """A whole pipeline.

    version: of this format; 1.
    plugins: which plugins may load: block, allow, require.
    data: the dataset to train on.
    degradation: one degradation, or a list that is applied in order.
    observation: how exactly degraded images are known.
    measurement: what restored images have gone through, where that is not the degradation that the restorer was
        trained on.
    backbone: the network.
    restorer: how the network's output is read.
    conditioner: what else the network is given, a list.
    guidance: how strictly sampling follows the condition.
    guide: what results are to fit beside that, a list; sampling follows the gradient of each.
    consistency: keeps each estimate of the restorer consistent with the degraded image.
    classifier: of degraded images, for classifier guidance; `rethaw train-classifier` trains it.
    severity: whether the run learns to estimate how degraded an image is.
    sampler: the default sampler.
    prior: the distribution of x_1 that generation starts from, where the degradation has none of its own.
    metrics: what `rethaw evaluate` measures, a list.
    seed: of everything random.
    train: the training loop.
    """

    version: Literal[1]
    degradation: tuple[Component, ...]
    composed: bool
    backbone: Component
    sampler: Component
    data: Component | None = None
    observation: Precision = field(default_factory=Precision)
    measurement: Component | None = None
    restorer: RestorerConfig = field(default_factory=RestorerConfig)
    conditioner: tuple[Component, ...] = ()
    guidance: Guidance | None = None
    guide: tuple[Component, ...] = ()
    consistency: Consistency | None = None
    classifier: Component | None = None
    severity: Severity = field(default_factory=Severity)
    prior: Component | None = None
    metrics: tuple[Component, ...] = ()
    seed: int = 0
    train: Train = field(default_factory=Train)
    plugins: Policy = field(default_factory=Policy)

    absent: Mapping[str, Absent] = field(default_factory=dict, compare=False)
    """By key, components that were left out because their plugin cannot be used, and the work does not need them."""

    def need(self, key: str) -> None:
        """Raises RethawError where what the key names was left out."""
        if key in self.absent:
            raise self.absent[key].error

    def components(self) -> Iterator[Component]:
        """Every component of the pipeline, and the members of each."""
        singles = (self.data, self.measurement, self.backbone, self.classifier, self.sampler, self.prior)
        for item in (*singles, *self.degradation, *self.conditioner, *self.guide, *self.metrics):
            if item:
                yield from item.walk()


SECTIONS: dict[str, type] = {
    "plugins": Policy,
    "observation": Precision,
    "restorer": RestorerConfig,
    "guidance": Guidance,
    "consistency": Consistency,
    "severity": Severity,
    "train": Train,
}
"""Keys with a fixed set of keys of their own."""

SINGLE: dict[str, str] = {
    "data": "dataset",
    "measurement": "degradation",
    "backbone": "backbone",
    "classifier": "classifier",
    "sampler": "sampler",
    "prior": "prior",
}
"""Keys that name one component, and its kind."""

LISTS: dict[str, str] = {
    "degradation": "degradation",
    "conditioner": "conditioner",
    "guide": "guide",
    "metrics": "metric",
}
"""Keys that name one component or a list, and their kind."""

DEFAULTS: dict[str, Any] = {
    "backbone": {"use": "core.unet"},
    "sampler": {"use": "core.cold"},
    "prior": {"use": "core.mixture"},
    "metrics": [{"use": "core.psnr"}, {"use": "core.ssim"}, {"use": "core.rmse"}],
}
"""What a pipeline that is silent about a component gets."""

KEYS: tuple[str, ...] = (
    *("version", "extends", "plugins", "data", "degradation", "observation", "measurement"),
    *("backbone", "restorer", "conditioner", "guidance", "guide", "classifier", "severity", "consistency"),
    *("sampler", "prior", "metrics", "seed", "train"),
)
"""All keys, in the order in which a pipeline is written out."""
