"""Degradations as the host uses them: t becomes strength u, each image's own, and values the declared range.

Samplers and the trainer see only what is here and in `composition`. Optional methods (infer, prior, coefficients,
adjoint, svd) exist on a hosted degradation exactly when the component behind it has them, so that
`rethaw.api.has_svd` and the like tell.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Self

import torch
from torch import Tensor

from rethaw.api import SVD, RethawError, Rng, State, has_coefficients
from rethaw.config.hosts import DegradationHost
from rethaw.engine.degradation.fields import NONE, Fields, on
from rethaw.engine.degradation.walk import Walk
from rethaw.engine.faults import broken, fault, naming
from rethaw.ops import Constant, generators, level, only, rand

PROMISES = ("bounded", "differentiable", "compilable")
MEMORY = 4.0  # that a call may take, its result included, in input batches
OPTIONAL = ("infer", "prior", "coefficients", "adjoint", "svd")
GIVEN_STATE = ("adjoint", "svd")
"""Those that are told the strength of each image, where it was drawn."""
STRENGTH = "strength"
"""The state's key of what an image's u is multiplied by, (B,), 0 where the image does not meet the degradation."""
RATE = 4.0  # of the exponential schedule: u = (e^{RATE t} - 1) / (e^RATE - 1)

Warp = Callable[[Tensor], Tensor]
"""t → u, (B,) each."""
Knots = tuple[tuple[float, float], ...]
"""(t, u) each."""


class Hosted(ABC):
    """A degradation as the engine and samplers see it: methods take severities t (B,) and images in [-1, 1].

    z_key: the state's key of z where D = α x0 + σ z. walk: what is at hand for the severities of one walk. fields: of
    the data's items, that it asks for.
    """

    name: str
    z_key: str
    levels: int | None
    linear: bool
    gaussian: bool
    continuous: bool
    t_min: float
    channels: int | None
    walk: Walk | None = None
    fields: tuple[str, ...] = ()
    infer: Callable[[Tensor, Tensor, Tensor, State], State]
    prior: Callable[[Tensor, Rng], tuple[Tensor, State]]
    coefficients: Callable[[Tensor], tuple[Tensor, Tensor]]
    adjoint: Callable[[Tensor, Tensor, State], Tensor]
    svd: Callable[[Tensor, Tensor, State], SVD]
    bounded: bool
    differentiable: bool
    compilable: bool

    @abstractmethod
    def draw(self, like: Tensor, generator: Rng) -> State:
        """The state of each image of `like`; {} if nothing is random."""

    def stand_in(self, like: Tensor) -> State:
        """A state as it is drawn for one image like `like` (B, C, H, W), which stands in for fields of the item."""
        return self.for_items(dict.fromkeys(self.fields, like[:1])).draw(like[:1], generators(0, 1))

    @abstractmethod
    def degrade(self, x0: Tensor, t: Tensor, state: State) -> Tensor:
        """D(x0, t, ξ)."""

    @abstractmethod
    def settle(self, t: Tensor) -> Tensor:
        """The highest severity (B,) of the level that t (B,) belongs to; t itself where D has no levels.

        D says the same at both, so a network is shown this one: shown t, it takes the end of a level for the middle
        between two, and restores a little too much at each step of a walk from level to level.
        """

    @abstractmethod
    def for_items(self, items: Fields) -> Self:
        """This degradation for images that have these fields: `draw` then puts what it asks for into the state."""

    @abstractmethod
    def along(self, severities: Tensor) -> Self:
        """This degradation for a walk (N+1, B): where D = α x0 + σ z, with α and σ of every step at hand."""


class HostedComponent(Hosted):
    """One component under its host keys."""

    def __init__(self, name: str, operator: Any, host: DegradationHost, traits: Mapping[str, Any]) -> None:
        def trait(key: str) -> Any:
            return getattr(operator, key, traits[key])

        self.name, self.operator, self.id = name, operator, host.id or name.rpartition(".")[2]
        self.fields, self.items = tuple(getattr(operator, "fields", ())), NONE
        self.z_key, self.host = getattr(operator, "z_key", "z"), host
        self.levels = host.levels or (None if host.varies else trait("levels"))
        self.linear, self.gaussian = bool(trait("linear")), bool(trait("gaussian")) and not host.varies
        self.continuous = bool(trait("continuous")) and host.levels is None
        self.t_min = float(trait("t_min"))
        self.channels = trait("channels")
        memory = float(trait("memory"))
        self.parts = 1 if memory <= MEMORY else math.ceil(memory / (MEMORY - 1))  # the result is one batch more
        for key in PROMISES:
            setattr(self, key, bool(trait(key)))
        self.unit = tuple(traits["range"]) == (0.0, 1.0)
        self.warp, self.stairs = severity_map(host), (host.span, host.schedule, self.levels)
        self.settled = level_ends(host, self.levels)
        self.offer()

    def offer(self) -> None:
        """Makes the optional methods that the component has public."""
        for method in GIVEN_STATE if self.host.varies else OPTIONAL:
            if hasattr(self.operator, method) and not (method == "coefficients" and self.unit):
                setattr(self, method, getattr(self, f"_{method}"))

    def along(self, severities: Tensor) -> Self:
        if not has_coefficients(self):
            return self
        prepared = copy.copy(self)
        prepared.walk = Walk(self, severities)
        prepared.offer()
        return prepared

    def for_items(self, items: Fields) -> Self:
        bound = copy.copy(self)
        bound.items = items
        if hasattr(self.operator, "for_items"):
            bound.operator = self.operator.for_items(items)
        bound.offer()
        return bound

    def u(self, t: Tensor, state: State | None = None) -> Tensor:
        """Strength of severity t, for each image times its own where that was drawn."""
        u = t if self.warp is None else self.warp(t)
        return u * state[STRENGTH].to(u.dtype) if self.host.varies and state and STRENGTH in state else u

    def settle(self, t: Tensor) -> Tensor:
        return t if self.settled is None else self.settled(t)

    def draw(self, like: Tensor, generator: Rng) -> State:
        self.check_channels(like)
        with naming(self.name, "drawing its state"):
            drawn: State = self.operator.draw(like, generator)
        handed_on = not self.fields or hasattr(self.operator, "for_items")
        drawn = drawn if handed_on else {**drawn, **on(like, self.items, self.fields, self.name)}
        return {**drawn, STRENGTH: self.drawn_strength(like, generator)} if self.host.varies else drawn

    def drawn_strength(self, like: Tensor, generator: Rng) -> Tensor:
        """(B,), at least in float32."""
        low, high = self.host.strengths
        met, at = rand(like.to(torch.promote_types(like.dtype, torch.float32)), generator, (2,)).unbind(1)
        return (met < self.host.chance) * (low + (high - low) * at)

    def degrade(self, x0: Tensor, t: Tensor, state: State) -> Tensor:
        """In parts of the batch where the component needs more memory than is granted."""
        if self.walk and (x := self.walk.degrade(x0, t, state[self.z_key])) is not None:
            return x
        self.check_channels(x0)
        if self.host.chance < 1 and STRENGTH in state:
            return only(state[STRENGTH] > 0, self.in_parts, x0, t, state)
        return self.in_parts(x0, t, state)

    def in_parts(self, x0: Tensor, t: Tensor, state: State) -> Tensor:
        """D(x0, t, ξ), some images at a time where one call would take too much memory."""
        parts = min(self.parts, x0.shape[0])
        if parts <= 1:
            return self.at_once(x0, t, state)
        split = zip(x0.chunk(parts), t.chunk(parts), *(v.chunk(parts) for v in state.values()), strict=True)
        return torch.cat([self.at_once(x, u, dict(zip(state, own, strict=True))) for x, u, *own in split])

    def at_once(self, x0: Tensor, t: Tensor, state: State) -> Tensor:
        """D(x0, t, ξ) in one call of the component, whose answer is checked."""
        try:
            x = self.operator.degrade(self.enter(x0), self.u(t, state), state)
        except RethawError:
            raise
        except (Exception, SystemExit) as error:
            raise fault(self.name, f"degrading images of shape {tuple(x0.shape)}", error) from error
        if not isinstance(x, Tensor) or x.shape != x0.shape or x.dtype != x0.dtype:
            raise broken(self.name, f"degrade gave {form_of(x)} for {form_of(x0)}")
        return self.leave(x)

    def check_channels(self, x: Tensor) -> None:
        """Raises RethawError for images that have more or fewer channels than the component works on."""
        if self.channels not in (None, x.shape[1]):
            raise RethawError(
                f"{self.name} works on images of {self.channels} channels, these have {x.shape[1]}",
                f"Set restorer.channels={self.channels}, or choose another degradation.",
            )

    def enter(self, x: Tensor) -> Tensor:
        """From [-1, 1] to the range that the component's formulas are written for."""
        return x.add(1).div_(2) if self.unit else x

    def leave(self, x: Tensor) -> Tensor:
        """The way back."""
        return x.mul(2).sub_(1) if self.unit else x

    def _infer(self, x_t: Tensor, x0_hat: Tensor, t: Tensor, state: State) -> State:
        if self.walk and (z := self.walk.infer(x_t, x0_hat, t)) is not None:
            return {self.z_key: z}
        with naming(self.name, "inferring its state"):
            found: State = self.operator.infer(self.enter(x_t), self.enter(x0_hat), self.u(t), state)
        return found

    def _prior(self, like: Tensor, generator: Rng) -> tuple[Tensor, State]:
        with naming(self.name, "drawing x_1"):
            x, state = self.operator.prior(like, generator)
        return self.leave(x), state

    def _coefficients(self, t: Tensor) -> tuple[Tensor, Tensor]:
        if self.walk and (row := self.walk.coefficients(t)):
            return row
        with naming(self.name, "giving its coefficients"):
            found: tuple[Tensor, Tensor] = self.operator.coefficients(self.u(t))
        return found

    def _adjoint(self, y: Tensor, t: Tensor, state: State) -> Tensor:
        with naming(self.name, "applying its adjoint"):
            found: Tensor = self.operator.adjoint(y, self.u(t, state), state)
        return found

    def _svd(self, like: Tensor, t: Tensor, state: State) -> SVD:
        with naming(self.name, "giving its singular values"):
            found: SVD = self.operator.svd(like, self.u(t, state), state)
        return found


def form_of(x: object) -> str:
    """A tensor's shape and dtype, or what it is instead, for messages."""
    return f"{tuple(x.shape)} {x.dtype}".replace("torch.", "") if isinstance(x, Tensor) else f"a {type(x).__name__}"


# --- t → u ---------------------------------------------------------------------------------------------------


def severity_map(host: DegradationHost) -> Warp | None:
    """The function t → u of the host keys; None where u = t."""
    if (host.span, host.schedule, host.levels) == ((0.0, 1.0), "linear", None):
        return None
    span, levels, bend = host.span, host.levels, schedule_map(host)

    def warp(t: Tensor) -> Tensor:
        u = bend(share(t, span))
        return level(u, levels) / levels if levels else u  # level i is (i+1)/levels; only t = 0 is below

    return warp


def level_ends(host: DegradationHost, levels: int | None) -> Warp | None:
    """The function that moves t up to the end of its level; None where D has no levels."""
    if levels is None:
        return None
    (a, b), schedule, bend = host.span, host.schedule, schedule_map(host)
    back = UNWARPED[schedule] if isinstance(schedule, str) else through(tuple((u, t) for t, u in schedule))
    return lambda t: a + (b - a) * back(level(bend(share(t, (a, b))), levels) / levels)


def schedule_map(host: DegradationHost) -> Warp:
    """How the schedule bends the share of the span."""
    return WARPS[host.schedule] if isinstance(host.schedule, str) else through(host.schedule)


def share(t: Tensor, span: tuple[float, float]) -> Tensor:
    """How much of its span a severity has gone through, in [0, 1]."""
    a, b = span
    return t if span == (0.0, 1.0) else begun((t - a) / (b - a)).clamp(0, 1)


NEAR = 1e-6
"""What rounding moves a severity by, at most: a step that ends where a span begins ends at u = 0, not beside it."""


def begun(share: Tensor) -> Tensor:
    """The share of a span; 0 where only rounding has entered it."""
    return torch.where(share > NEAR, share, 0.0)


WARPS: dict[str, Warp] = {
    "linear": lambda u: u,
    "cosine": lambda u: torch.sin(u * (math.pi / 2)).square(),
    "exponential": lambda u: torch.expm1(RATE * u) / math.expm1(RATE),
}
UNWARPED: dict[str, Warp] = {
    "linear": lambda u: u,
    "cosine": lambda u: torch.asin(u.sqrt()) * (2 / math.pi),
    "exponential": lambda u: torch.log1p(u * math.expm1(RATE)) / RATE,
}
"""u → t."""


def through(knots: Knots) -> Warp:
    """The warp through knots (t, u)."""
    table = Constant(torch.tensor(knots, dtype=torch.float64))
    return lambda u: interpolate(u, table.like(u))


def interpolate(x: Tensor, knots: Tensor) -> Tensor:
    """The piecewise linear function through knots (K, 2), at x (B,)."""
    xs, ys = knots.T.contiguous()
    right = torch.searchsorted(xs, x.contiguous() - NEAR).clamp(1, len(xs) - 1)  # just above a knot is at the knot
    x0, x1, y0, y1 = xs[right - 1], xs[right], ys[right - 1], ys[right]
    return torch.addcdiv(y0, (y1 - y0) * (x - x0), x1 - x0)
