"""What a backbone's output stands for, and how it is read as an estimate of the clean image.

For a degradation x_t = α x0 + σ z every prediction type is linear: x̂0 = skip·x_t + scale·out, and the output that would
be right is of_x0·x0 + of_z·z. A `Reading` holds these four; the table below is all that the types differ in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from rethaw.api import Prediction, RethawError, State
from rethaw.config.model import Precision, RestorerConfig
from rethaw.engine.degradation.hosted import Hosted
from rethaw.engine.restorer.consistency import DEGRADED, default_weight, make_consistent, problem
from rethaw.ops import combine, needs_coefficients, per_image

LEAST_ALPHA = 1e-3
"""Below it x_t holds next to nothing of x0: eps and score, which divide by α, take this instead on a curve.

A table of levels ends where its authors meant it to, so there only an α of zero is guarded."""

TINY_ALPHA = 1e-6

LOG_SIGMA = 9.0  # c_noise of edm sees log σ/α within ±9, which float32 images cannot exceed


EXACT = Precision()


class Reading(NamedTuple):
    """x̂0 = skip·x_t + scale·out; the right out is of_x0·x0 + of_z·z. All (B, 1, 1, 1), or numbers."""

    skip: Tensor | float
    scale: Tensor | float
    of_x0: Tensor | float
    of_z: Tensor | float


def eps(α: Tensor, σ: Tensor, σ_data: float) -> Reading:
    """out = z (2006.11239, eq. 15)."""
    return Reading(1 / α, -σ / α, 0.0, 1.0)


def score(α: Tensor, σ: Tensor, σ_data: float) -> Reading:
    """out = σ ∇log p(x_t), which is -z on average; the factor keeps it of order one (2006.09011, technique 3)."""
    return Reading(1 / α, σ / α, 0.0, -1.0)


def v(α: Tensor, σ: Tensor, σ_data: float) -> Reading:
    """out = (α z - σ x0) / r, r² = α² + σ², which is 1 for vp (2202.00512, appendix D)."""
    r = torch.hypot(α, σ)
    return Reading(α / r.square(), -σ / r, -σ / r, α / r)


def flow(α: Tensor, σ: Tensor, σ_data: float) -> Reading:
    """out = z - x0, the velocity of rectified flow (2209.03003, eq. 1), from the severe end's side."""
    return Reading(1 / (α + σ), -σ / (α + σ), -1.0, 1.0)


def edm(α: Tensor, σ: Tensor, σ_data: float) -> Reading:
    """out = F of D = c_skip x + c_out F, x = x_t/α at the noise level σ/α (2206.00364, table 1)."""
    q = torch.hypot(σ, α * σ_data)
    return Reading(σ_data**2 * α / q.square(), σ * σ_data / q, σ / (q * σ_data), -σ_data * α / q)


READINGS: dict[str, Callable[[Tensor, Tensor, float], Reading]] = {
    "eps": eps,
    "score": score,
    "v": v,
    "flow": flow,
    "edm": edm,
}
"""The prediction types that α and σ define; x0 and residual need neither."""


class Parameterization:
    """The prediction type of a restorer, with the degradation whose coefficients it may need.

    Training compares the output with `target`; sampling turns it into x̂0 by `read`. Both call the network on `inputs`,
    and all three get what `shown` gives in place of x_t. Raises RethawError where the degradation lacks what the type
    is defined by. Of a degradation along a walk, it has its readings of all the walk's severities at hand.

    precision: how exactly x_t is known, which regularises its inverse.
    """

    def __init__(self, settings: RestorerConfig, degradation: Hosted, precision: Precision = EXACT) -> None:
        self.prediction, self.degradation, self.settings = settings.prediction, degradation, settings
        self.learned = settings.variance == "learned"
        self.out_channels = settings.channels * (2 if self.learned else 1)
        if self.prediction in READINGS:
            self.need(f"prediction: {self.prediction}", gaussian=self.prediction == "score")
        if self.learned:
            self.need("variance: learned", gaussian=True)
        self.weight = default_weight(precision, DEGRADED)
        if settings.input == "inverse" and (missing := problem(degradation, {}, None)):
            raise RethawError(
                f"restorer.input: inverse does not go with {degradation.name}: {missing}",
                "input: degraded goes with every degradation.",
            )
        walk = degradation.walk if self.prediction in READINGS else None
        self.rows = walk.derive(self.derive) if walk else None

    def need(self, key: str, *, gaussian: bool = False) -> None:
        """Refuses a degradation without coefficients for what `key` of the restorer says."""
        lacking = needs_coefficients(self.degradation, gaussian=gaussian)
        if lacking:
            raise RethawError(
                f"restorer.{key} does not go with {self.degradation.name}: {lacking}",
                "prediction: x0 or residual with variance: fixed goes with every degradation.",
            )

    def reading(self, α: Tensor, σ: Tensor) -> Reading:
        """How outputs are read where x_t = α x0 + σ z; α, σ (B, 1, 1, 1)."""
        if self.prediction in ("eps", "score"):
            α = α.clamp_min(TINY_ALPHA if self.degradation.levels else LEAST_ALPHA)
        return READINGS[self.prediction](α, σ, self.settings.sigma_data)

    def derive(self, α: Tensor, σ: Tensor) -> tuple[Tensor, ...]:
        """skip and scale; of edm also c_in/α and c_noise, with c_in = 1/√(σ² + σ_data²) of the noise level σ/α."""
        reading = self.reading(α, σ)
        found = (torch.as_tensor(reading.skip), torch.as_tensor(reading.scale))
        if self.prediction != "edm":
            return found
        c_noise = (σ.log() - α.log()).clamp(-LOG_SIGMA, LOG_SIGMA) / 4
        return (*found, 1 / torch.hypot(σ, α * self.settings.sigma_data), c_noise)

    def at(self, t: Tensor, like: Tensor) -> Sequence[Tensor]:
        """What `derive` gives at severities t (B,)."""
        row = self.rows.at(t) if self.rows else None
        return row or self.derive(*coefficients(self.degradation, t, like))

    def shown(self, x_t: Tensor, t: Tensor, state: State | None) -> Tensor:
        """x_t (B, C, H, W), or its inverse, which needs the state. Raises RethawError where that is not known."""
        if self.settings.input == "degraded":
            return x_t
        if state is None:
            raise RethawError(
                f"the restorer is shown the inverse of {self.degradation.name}, whose random state is not known",
                "Give the state (--state mask=FILE), or train with restorer.input: degraded.",
            )
        return make_consistent(x_t, self.degradation, x_t, t, state, self.weight)

    def inputs(self, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """What the network sees in place of x_t (B, C, H, W) and t (B,)."""
        if self.prediction != "edm":
            return x_t, self.degradation.settle(t)
        *_, c_in, c_noise = self.at(t, x_t)
        return c_in * x_t, c_noise.view(-1)

    def read(self, out: Tensor, x_t: Tensor, t: Tensor) -> Prediction:
        """The network's output (B, out_channels, H, W) at (x_t, t) as an estimate of x0, and of a learned variance."""
        out, place = out.chunk(2, 1) if self.learned else (out, None)
        if self.prediction in READINGS:
            skip, scale, *_ = self.at(t, x_t)
            out = combine(skip, x_t, scale, out)
        elif self.prediction == "residual":
            out = x_t + out
        return Prediction(out, None if place is None else (place + 1) / 2)

    def target(self, x0: Tensor, x_t: Tensor, t: Tensor, state: State) -> Tensor:
        """The output that would be right, (B, C, H, W)."""
        if self.prediction not in READINGS:
            return x0 - x_t if self.prediction == "residual" else x0
        *_, of_x0, of_z = self.reading(*coefficients(self.degradation, t, x0))
        return of_x0 * x0 + of_z * state[self.degradation.z_key]

    def target_of_any(self, x0: Tensor, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """A factor, and the output times it that is read as x0 where x_t is no α x0 + σ z of it.

        That output, (x0 - skip·x_t) / scale, grows without bound where x_t is next to clean. The factor (B, 1, 1, 1) is
        min(1, |scale|), which makes its error that of x̂0 there.
        """
        skip, scale, *_ = self.at(t, x_t)
        least = scale.abs().clamp_min(1)
        return scale.abs() / least, (x0 - skip * x_t) * scale.sign() / least


def coefficients(degradation: Hosted, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """α and σ at t (B,), (B, 1, 1, 1) each, in the dtype of `like`."""
    α, σ = degradation.coefficients(t)
    return per_image(α, like), per_image(σ, like)
