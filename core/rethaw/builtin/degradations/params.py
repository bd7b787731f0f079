"""The parameters and specs of the built-in degradations; neither needs torch."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt

from rethaw.api import Spec, degradation

AT = "rethaw.builtin.degradations"
Unit = Annotated[float, Ge(0), Le(1)]


@dataclass(frozen=True)
class GaussianNoise:
    """Gaussian noise, α x0 + σ z with z ~ N(0, I).

    process: vp (variance-preserving, α² + σ² = 1: DDPM), ve (variance-exploding, α = 1: score SDE), sub_vp (α of
        vp with σ = 1 - α²: 2011.13456) or flow (α = 1 - u, σ = u: rectified flow).
    alpha_bar: α² of vp and sub_vp: cosine (2102.09672), sigmoid (2212.11972) or linear (DDPM's β from 1e-4 to 0.02 at
        1000 levels); or, of vp, its values at each of the levels.
    levels: with it, α² of vp is a table of that length: of cosine and linear the published one.
    sigma_min: of ve, where its geometric growth starts, on the scale of images in [-1, 1].
    sigma_max: of ve, at full strength.
    """

    process: Literal["vp", "ve", "sub_vp", "flow"] = "vp"
    alpha_bar: Literal["cosine", "linear", "sigmoid"] | tuple[Unit, ...] = "cosine"
    levels: Annotated[int, Ge(1)] | None = None
    sigma_min: Annotated[float, Gt(0)] = 0.02
    sigma_max: Annotated[float, Gt(0)] = 100.0

    def __post_init__(self) -> None:
        if self.sigma_min >= self.sigma_max:
            raise ValueError(f"sigma_min {self.sigma_min} must be below sigma_max {self.sigma_max}")
        if isinstance(self.alpha_bar, str):
            return
        if self.process != "vp" or self.levels != len(self.alpha_bar):
            count = len(self.alpha_bar)
            raise ValueError(f"alpha_bar lists {count} values, which goes with process: vp and levels: {count}")
        if any(b > a for a, b in pairwise(self.alpha_bar)):
            raise ValueError("the values of alpha_bar must not rise")


@dataclass(frozen=True)
class PoissonNoise:
    """Photon noise: each value is a whole number of photons, Poisson-distributed about the clean one.

    photons: that a white pixel has at full strength; at strength u it has photons / u².
    grey: share of the images whose noise is that of their luma, alike in all channels.
    """

    photons: Annotated[float, Gt(0)] = 10.0
    grey: Unit = 0.0


@dataclass(frozen=True)
class Blend:
    """Blends images into others, α x0 + σ z with z an image drawn from a folder or from a dataset, the state "z".

    Each is scaled to cover the one it is blended into.

    path: the folder; it is searched to any depth. Without it and `of`, four photographs of scikit-image.
    of: any dataset, or several, whose images are taken instead: {use: core.folder, path: faces/, crop: random}.
    process: flow (α = 1 - u, σ = u) or vp (α² + σ² = 1: animorphosis).
    alpha_bar: α² of vp: cosine, sigmoid or linear, as of gaussian_noise.
    levels: with it, α² of vp is a table of that length: of cosine and linear the published one.
    """

    path: Path | None = None
    of: tuple[Any, ...] = ()
    process: Literal["flow", "vp"] = "flow"
    alpha_bar: Literal["cosine", "linear", "sigmoid"] = "cosine"
    levels: Annotated[int, Ge(1)] | None = None


@dataclass(frozen=True)
class Pair:
    """Goes from images to their observed versions y: (1 - u) x0 + u y (InDI, 2303.11435), y from pairs of files.

    The data give y as a field of their items, as core.pairs does. At full strength y is the file itself, so that a file
    to restore is its own state.

    field: of the items that is y, in the shape of the image; the state has it under this name.
    noise: of a Brownian bridge between the two, of deviation noise·√(u(1 - u)): I²SB (2302.05872, eq. 11) at constant
        β = noise². It is nothing at both ends and noise/2 in the middle.
    """

    field: str = "degraded"
    noise: Annotated[float, Ge(0)] = 0.0


@dataclass(frozen=True)
class Identity:
    """Changes nothing: a place-holder, and a control in experiments."""


@dataclass(frozen=True)
class Fade:
    """Fades to one colour: (1 - u)·x0 + u·colour.

    colour: of each channel in [-1, 1]; without it, each image has a random colour, the state "colour".
    spread: random colours are uniform in [-spread, spread].
    """

    colour: tuple[Annotated[float, Ge(-1), Le(1)], ...] | None = None
    spread: Annotated[float, Gt(0), Le(1)] = 0.5


@dataclass(frozen=True)
class Mask:
    """Hides a part of each image: x0·(1 - u·m) on [0, 1], with m the state "mask", 1 where hidden.

    shape: bump (a Gaussian bump at a random place), box (a square at a random place), half (a random half), strokes
        (free-form lines) or file (the image at `path`, white where hidden; then nothing is random).
    size: width of the bump, side of the box or length of a stroke, as a part of the image's shorter side.
    strokes: how many lines a free-form mask has.
    path: the mask file of shape file, as large as the images.
    """

    shape: Literal["bump", "box", "half", "strokes", "file"] = "box"
    size: Annotated[float, Gt(0), Le(1)] = 0.4
    strokes: Annotated[int, Ge(1), Le(64)] = 8
    path: Path | None = None

    def __post_init__(self) -> None:
        if (self.shape == "file") != (self.path is not None):
            raise ValueError("shape: file and path go together")


@dataclass(frozen=True)
class CumulativeMask:
    """The masks of Cold Diffusion: level i hides by the bumps of steps 0 … i, one after the other, as published.

    routine: width σ of the bump of step i: kernel_std (constant) or kernel_std·(i + initial) (incremental);
        random_incremental is that at a random place.
    kernel_std: the number that σ is made of, in pixels.
    initial: of the incremental routines.
    steps: number of levels T; severity t is level i = T·t - 1, and values between go up to the next level.
    colour: what hidden pixels have, in [-1, 1]: one value, one for each channel, or random, one colour for each image,
        the state "colour".
    spread: random colours are uniform in [-spread, spread].
    reversed: hides from the borders inwards, until at full strength the image is one flat colour, as published for
        generation.
    """

    routine: Literal["incremental", "constant", "random_incremental"] = "incremental"
    kernel_std: Annotated[float, Gt(0)] = 0.2
    initial: Annotated[float, Gt(0)] = 11.0
    steps: Annotated[int, Ge(1), Le(1000)] = 100
    colour: tuple[Annotated[float, Ge(-1), Le(1)], ...] | Literal["random"] = (0.0,)
    spread: Annotated[float, Gt(0), Le(1)] = 0.5
    reversed: bool = False

    def __post_init__(self) -> None:
        if len(self.colour) == 0:
            raise ValueError("colour needs one value, or one for each channel")
        if self.reversed and self.routine == "random_incremental":
            raise ValueError("reversed goes with the routines incremental and constant, whose place is fixed")


@dataclass(frozen=True)
class Desaturate:
    """Fades colours towards grey: (1 - a)·x0 + a·grey, with a = u·amount, or as published.

    amount: of the colour that is gone at full strength.
    weights: grey is the mean of the channels, or luma (Rec. 601).
    keep: with it, each of `steps` steps keeps this part of the colour, a = amount·(1 - keep^(u·steps)): the published
        routine Constant (0.9); without it, `levels` gives the published routine Linear.
    steps: of `keep`; level i is u = (i+1)/steps.
    """

    amount: Unit = 1.0
    weights: Literal["mean", "luma"] = "mean"
    keep: Annotated[float, Gt(0), Lt(1)] | None = None
    steps: Annotated[int, Ge(1)] = 20


@dataclass(frozen=True)
class Mixture:
    """Degrades each image by one of several degradations, drawn at random.

    of: the members, a list of degradations.
    weights: how often each is drawn; by default all alike.
    """

    of: tuple[Any, ...] = ()
    weights: tuple[Annotated[float, Gt(0)], ...] | None = None


@dataclass(frozen=True)
class Chain:
    """Degrades each image by several degradations, one after the other; with `chance` and `strengths` of each, its own.

    of: the members, a list of degradations.
    shuffle: each image meets them in an order of its own, drawn at random (2103.14006).
    """

    of: tuple[Any, ...] = ()
    shuffle: bool = False


SPECS: list[Spec] = [
    degradation(
        "gaussian_noise",
        GaussianNoise,
        target=f"{AT}.noise:GaussianNoise",
        linear=True,
        gaussian=True,
        summary="Gaussian noise: variance-preserving (DDPM), exploding, or rectified flow.",
    ),
    degradation(
        "poisson_noise",
        PoissonNoise,
        target=f"{AT}.photons:PoissonNoise",
        continuous=False,
        differentiable=False,
        memory=10.0,
        range=(0.0, 1.0),
        summary="Photon noise: whole numbers of few photons.",
    ),
    degradation(
        "blend",
        Blend,
        target=f"{AT}.blend:Blend",
        linear=True,
        of="dataset",
        summary="Blends images into those of a folder or a dataset.",
    ),
    degradation(
        "pair",
        Pair,
        target=f"{AT}.pair:Pair",
        linear=True,
        summary="Goes to what was observed of each image: from pairs of files (InDI, I²SB).",
    ),
    degradation(
        "identity", Identity, target=f"{AT}.simple:Identity", linear=True, bounded=True, summary="Changes nothing."
    ),
    degradation("fade", Fade, target=f"{AT}.simple:Fade", linear=True, bounded=True, summary="Fades to one colour."),
    degradation(
        "mask",
        Mask,
        target=f"{AT}.mask:Mask",
        linear=True,
        bounded=True,
        range=(0.0, 1.0),
        summary="Hides a bump, a box, a half or free-form strokes of each image.",
    ),
    degradation(
        "cumulative_mask",
        CumulativeMask,
        target=f"{AT}.cumulative_mask:CumulativeMask",
        linear=True,
        continuous=False,
        bounded=True,
        summary="The published masks of Cold Diffusion, level by level.",
    ),
    degradation(
        "desaturate",
        Desaturate,
        target=f"{AT}.desaturate:Desaturate",
        linear=True,
        bounded=True,
        channels=3,
        summary="Fades colours towards grey.",
    ),
    degradation(
        "mixture", Mixture, target=f"{AT}.members:Mixture", summary="One of several degradations, drawn for each image."
    ),
    degradation(
        "chain", Chain, target=f"{AT}.members:Chain", summary="Several degradations, in an order drawn for each image."
    ),
]
