"""The contracts of components, as protocols, and what a degradation can do beyond its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, runtime_checkable

from rethaw.api.values import SVD, Cond, Imported, Item, Prediction, Rng, State, Step

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import Tensor
    from typing_extensions import TypeIs


class Observation(NamedTuple):
    """A measurement y = D(x0, t, ξ) + noise, for samplers that stay consistent with it."""

    y: Tensor
    degradation: Degradation
    t: Tensor
    state: State
    noise: float = 0.0


class Restore(Protocol):
    """The restorer as samplers see it: conditioning and guidance are bound inside. x (B, C, H, W), t (B,)."""

    def __call__(self, x: Tensor, t: Tensor) -> Prediction: ...


@runtime_checkable
class Degradation(Protocol):
    """D(x0, u, ξ): a clean image (B, C, H, W) and strengths u in [0, 1] of shape (B,) to the degraded image.

    D(x0, 0, ξ) = x0. The result is a function of its arguments alone and takes one closed-form step for any u.
    The host has already mapped severity t to strength u (span, schedule, levels) and the values to the declared range.

    A class or an instance may name `fields`, tensors of the dataset's items such as "degraded": the host then puts them
    into the state under these names, batch first and as the dataset gives them, beside what `draw` gives.

    A class may have more methods, which the host finds: see `InfersState`, `HasPrior`, `HasCoefficients`, `HasAdjoint`
    and `HasSVD`.
    """

    def draw(self, like: Tensor, generator: Rng) -> State:
        """Draws ξ for each image of `like`, whose shape, device and dtype alone may matter; {} if nothing is random."""
        ...

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        """Degrades; the same shape, dtype and device as x0, which is left untouched."""
        ...


# --- what a degradation may have beside the contract: methods, and the question whether it has them ------------


class InfersState(Degradation, Protocol):
    """Can find the state that explains a degraded image."""

    def infer(self, x_u: Tensor, x0_hat: Tensor, u: Tensor, state: State) -> State:
        """The state that explains x_u, given the estimate x0_hat of the clean image and what is known of the state."""
        ...


class HasPrior(Degradation, Protocol):
    """Knows the distribution of its fully degraded images."""

    def prior(self, like: Tensor, generator: Rng) -> tuple[Tensor, State]:
        """A sample of x_1 in the shape of `like`, and its state."""
        ...


class HasCoefficients(Degradation, Protocol):
    """D = α x0 + σ z, with the state key "z"."""

    def coefficients(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """α and σ at strengths u (B,), (B,) each."""
        ...


class HasAdjoint(Degradation, Protocol):
    """Affine, D = A x0 + b, with Aᵀ at hand."""

    def adjoint(self, y: Tensor, u: Tensor, state: State) -> Tensor:
        """Aᵀ y, of the linear part."""
        ...


class HasSVD(Degradation, Protocol):
    """Affine, D = A x0 + b, with the singular value decomposition of A at hand."""

    def svd(self, like: Tensor, u: Tensor, state: State) -> SVD:
        """Of the linear part, for images in the shape of `like`."""
        ...


def infers_state(degradation: Degradation) -> TypeIs[InfersState]:
    """Whether it has `infer`."""
    return hasattr(degradation, "infer")


def has_prior(degradation: Degradation) -> TypeIs[HasPrior]:
    """Whether it has `prior`."""
    return hasattr(degradation, "prior")


def has_coefficients(degradation: Degradation) -> TypeIs[HasCoefficients]:
    """Whether it has `coefficients`."""
    return hasattr(degradation, "coefficients")


def has_adjoint(degradation: Degradation) -> TypeIs[HasAdjoint]:
    """Whether it has `adjoint`."""
    return hasattr(degradation, "adjoint")


def has_svd(degradation: Degradation) -> TypeIs[HasSVD]:
    """Whether it has `svd`."""
    return hasattr(degradation, "svd")


# --- the other contracts --------------------------------------------------------------------------------------


class Backbone(Protocol):
    """The bare network, an `nn.Module` built as `target(params, context)`.

    Attributes that the host reads, of the class or of the instance: `accepts`, the condition keys it understands;
    `multiple`, the side of its grid (default 1): the host pads H and W to a multiple of it and lets tiles begin at
    multiples of it; `fixed_size` (default False), true of a network that answers well only at the size that it was
    trained at, as with position embeddings or attention to all pixels: the host shows it larger images in tiles of
    that size.
    """

    def __call__(self, x_t: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """x_t (B, in_channels, H, W) and t (B,) to (B, out_channels, H, W)."""
        ...


class Classifier(Protocol):
    """Says what is in a degraded image: an `nn.Module` built as `target(params, context)`, out_channels its classes.

    Its parameters have `field` (of the dataset's items) and `classes` (names); an optional class method
    `resolve(params, dataset) -> params` completes them from the training data.
    """

    def __call__(self, x_t: Tensor, t: Tensor) -> Tensor:
        """x_t (B, in_channels, H, W), scaled to unit variance, and t (B,) to logits (B, classes)."""
        ...


class Conditioner(Protocol):
    """Turns one field of the dataset's items (a label, a caption, an image) into tensors for the backbone.

    `widths` maps each condition key that it gives to its size (D of a vector or of a token, C of an image); `tokens`
    come with `tokens_mask`, true where a token is one. Its parameters have `field`, the field that it reads. An
    optional class method `resolve(params, dataset) -> params` completes the parameters from the training data.
    """

    widths: Mapping[str, int]

    def encode(self, values: Sequence[Any], device: torch.device, generator: Rng | None) -> Cond:
        """One value an image to a condition of that batch size."""
        ...

    def null(self, like: Cond) -> Cond:
        """The condition that says nothing, in the shape of `like`."""
        ...


@runtime_checkable
class Sampler(Protocol):
    """Walks severities t_N > … > t_0 = 0 from x at t_N to an image.

    `state` is None where an image comes already degraded and nobody knows its ξ: the sampler infers it, or does
    without. A sampler that cannot work with every degradation and state also has
    `check(degradation, state, observation) -> str | None`: what is missing, in words, asked before the first network
    call. One that restores from an observation has `measures = True`; the host refuses it without one, and all others
    with one.
    """

    def severities(self, degradation: Degradation, start: float = 1.0) -> Tensor:
        """(N+1,) or (N+1, B), from `start` to 0."""
        ...

    def trajectory(
        self,
        restore: Restore,
        x: Tensor,
        severities: Tensor,
        degradation: Degradation,
        state: State | None,
        generator: Rng,
        observation: Observation | None = None,
    ) -> Iterator[Step]:
        """N+1 steps, x_t with R(x_t) each; the last is (0, x, x)."""
        ...


class Dataset(Protocol):
    """Clean images. Optional attributes, which the host finds:

    `classes` (sequence of text): class names, perhaps none.
    `skipped` (mapping of text to text): paths that are left out, with reasons, as far as this process knows. It may
    grow. `fingerprint` (text): a digest that changes when the data change (which images there are, what is in them),
    and not when they move; cheap, so made of names, sizes and times of change. `whole(index)`: the item as it is, not
    cut to the size of training, for evaluation; `files` (sequence of text): of each example, its clean image's file.
    """

    def __len__(self) -> int: ...

    def item(self, index: int, generator: torch.Generator) -> Item:
        """Example `index`; all that is random about it (a crop, a flip) comes from the generator."""
        ...


class Metric(Protocol):
    """Compares restored with clean images; `higher_is_better` says which way is up.

    It may have more, which `figure` finds: `label`, the name of its column, with all that figures must share to be
    compared, "kid (lite0@96)"; `kind`, "perception" of one that asks whether all restored images together look like
    real ones, "distortion" (the default) of one that compares each with its own clean one; `images`, how many it has
    seen; `interval() -> (low, high)`, in which its figure lies with 95 % confidence; `note() -> str`, what must be
    known beside the figure.

    One that judges restored images by themselves has `reference = False` and `update(restored)` with nothing else; it
    also works where the images have no clean one.
    """

    higher_is_better: bool

    def update(self, restored: Tensor, clean: Tensor) -> None:
        """Takes in a batch, both (B, C, H, W) in [-1, 1], of any size; they are left untouched."""
        ...

    def compute(self) -> float:
        """The figure for all images so far, however they were batched; NaN where there are too few."""
        ...


class Figure(NamedTuple):
    """What a metric has found, and all that it says of it. Figures of different labels are not comparable."""

    label: str
    value: float
    images: int | None = None
    interval: tuple[float, float] | None = None
    note: str = ""
    kind: Literal["distortion", "perception"] = "distortion"
    higher_is_better: bool = False


def figure(metric: Metric, name: str) -> Figure:
    """A metric's figure; `name` is its label where it has none of its own."""
    interval, note = getattr(metric, "interval", None), getattr(metric, "note", None)
    return Figure(
        getattr(metric, "label", name),
        float(metric.compute()),
        getattr(metric, "images", None),
        interval() if interval else None,
        note() if note else "",
        getattr(metric, "kind", "distortion"),
        metric.higher_is_better,
    )


class Importer(Protocol):
    """Makes a pipeline of weights that others have trained, built as `target(params)`."""

    def knows(self, source: Path) -> bool:
        """Whether it can read that file or folder, by a glance: names, not contents."""
        ...

    def read(self, source: Path) -> Imported:
        """The pipeline and its weights; nothing of the source is run. Raises RethawError for what it cannot take."""
        ...


class Prior(Protocol):
    """A distribution over fully degraded images x_1, fitted in training and stored in the run."""

    def fit(self, batches: Iterator[Tensor]) -> Mapping[str, Tensor]:
        """Degraded training images, (B, C, H, W) each, to the tensors that describe them."""
        ...

    def sample(self, fitted: Mapping[str, Tensor], like: Tensor, generator: Rng) -> Tensor:
        """Draws as many x_1 as `like` has images, in its shape, dtype and device."""
        ...
