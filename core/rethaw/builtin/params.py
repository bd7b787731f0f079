"""The parameters of the built-in components: frozen dataclasses that validate and document without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, MinLen

Unit = Annotated[float, Ge(0), Le(1)]


@dataclass(frozen=True)
class GaussianNoise:
    """Gaussian noise, α x0 + σ z with z ~ N(0, I).

    process: vp (variance-preserving, α² + σ² = 1: DDPM), ve (variance-exploding, α = 1: score SDE) or flow (α = 1 - u,
        σ = u: rectified flow).
    alpha_bar: α² of vp: cosine (2102.09672), sigmoid (2212.11972) or linear (DDPM's β from 1e-4 to 0.02 at 1000 levels).
    levels: with it, α² of vp is the published discrete table of that length, exactly.
    sigma_min: of ve, where its geometric growth starts, on the scale of images in [-1, 1].
    sigma_max: of ve, at full strength.
    """

    process: Literal["vp", "ve", "flow"] = "vp"
    alpha_bar: Literal["cosine", "linear", "sigmoid"] = "cosine"
    levels: Annotated[int, Ge(1)] | None = None
    sigma_min: Annotated[float, Gt(0)] = 0.02
    sigma_max: Annotated[float, Gt(0)] = 100.0

    def __post_init__(self) -> None:
        if self.sigma_min >= self.sigma_max:
            raise ValueError(f"sigma_min {self.sigma_min} must be below sigma_max {self.sigma_max}")


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
class Desaturate:
    """Fades colours towards grey: (1 - u·amount)·x0 + u·amount·grey.

    amount: of the colour that is gone at full strength.
    weights: grey is the mean of the channels, or luma (Rec. 601).
    """

    amount: Unit = 1.0
    weights: Literal["mean", "luma"] = "mean"


@dataclass(frozen=True)
class Mixture:
    """Degrades each image by one of several degradations, drawn at random.

    of: the members, a list of degradations.
    weights: how often each is drawn; by default all alike.
    """

    of: tuple[Any, ...] = ()
    weights: tuple[Annotated[float, Gt(0)], ...] | None = None


@dataclass(frozen=True)
class Direct:
    """One call of the restorer at the severity of the input: x̂0 = R(x_t, t)."""


@dataclass(frozen=True)
class Naive:
    """Restores and degrades a little less in turn, Algorithm 1 of Cold Diffusion: x_s = D(R(x_t, t), s).

    steps: of the walk from the severity of the input to 0.
    """

    steps: Annotated[int, Ge(1)] = 20


@dataclass(frozen=True)
class Cold:
    """Cold sampling, Algorithm 2 of Cold Diffusion (2208.09392): x_s = x_t - D(x̂0, t) + D(x̂0, s).

    steps: of the walk from the severity of the input to 0.
    state: fixed keeps the degradation's state; inferred solves for it at each step, which makes Gaussian noise DDIM.
    """

    steps: Annotated[int, Ge(1)] = 20
    state: Literal["fixed", "inferred"] = "fixed"


@dataclass(frozen=True)
class Folder:
    """The images below a folder; the names of sub-folders are their labels.

    path: the folder; it is searched to any depth.
    size: side of the square that is cut out of each image, in pixels.
    crop: resize scales the shorter side to `size` first; random cuts from the image as it is.
    flip: mirrors half of the images.
    channels: 3 for colour, 1 for grey.
    """

    path: Path
    size: Annotated[int, Ge(1)] = 64
    crop: Literal["resize", "random"] = "resize"
    flip: bool = True
    channels: Literal[1, 3] = 3


@dataclass(frozen=True)
class Photos:
    """Random crops of the photographs that come with scikit-image; `astronaut` and `chelsea` are held out.

    size: side of the square crops, in pixels.
    scale: the photographs are shrunk by a random factor between this and 1 before cropping.
    turn: mirrors the crops and turns them by quarters.
    """

    size: Annotated[int, Ge(8), Le(256)] = 64
    scale: Annotated[float, Gt(0), Le(1)] = 0.5
    turn: bool = True


@dataclass(frozen=True)
class Label:
    """The class of an image as a one-hot vector.

    field: of the dataset's items.
    classes: the names, in order; by default all that the training data has.
    """

    field: str = "label"
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class GaussianMixture:
    """A Gaussian mixture on small thumbnails of x_1, made as large as the image again, with a little noise.

    components: of the mixture.
    size: side of the thumbnails; 1 is one mean colour, as the paper takes for blur.
    noise: standard deviation of white noise on x_1, which breaks its symmetry.
    """

    components: Annotated[int, Ge(1)] = 1
    size: Annotated[int, Ge(1), Le(16)] = 1
    noise: Annotated[float, Ge(0)] = 0.002


@dataclass(frozen=True)
class Psnr:
    """Peak signal-to-noise ratio in dB: the mean over images of 10 log10(1 / MSE), pixels in [0, 1]."""


@dataclass(frozen=True)
class Ssim:
    """Structural similarity (Wang 2004) with an 11-pixel Gaussian window, pixels in [0, 1]."""


@dataclass(frozen=True)
class Rmse:
    """Root of the mean squared error over all images, pixels in [0, 1]."""


@dataclass(frozen=True)
class UNet:
    """A compact U-Net: residual blocks with scale-shift severity embedding, added skips, channels last.

    width: channels at the finest level.
    multipliers: of the width, one for each level; each level halves height and width.
    blocks: residual blocks a level, on each side of the U.
    attention: levels (0 is the finest) with self-attention after their blocks.
    dropout: in the residual blocks.
    patch: side of the square of pixels folded into channels before the first level; a larger one computes less.
    bands: finer and finer bands of x_t, amplified, that the first layer is shown beside x_t.
    """

    width: Annotated[int, Ge(4)] = 32
    multipliers: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] = (1, 2)
    blocks: Annotated[int, Ge(1)] = 2
    attention: tuple[Annotated[int, Ge(0)], ...] = ()
    dropout: Annotated[float, Ge(0), Le(1)] = 0.0
    patch: Annotated[int, Ge(1), Le(8)] = 2
    bands: Annotated[int, Ge(0), Le(8)] = 3
