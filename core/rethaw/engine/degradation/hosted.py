"""Degradations as the host uses them: t becomes strength u, values the declared range, lists compositions.

Samplers and the trainer see only what is here. Optional methods (infer, prior, coefficients, adjoint, svd) exist on a
hosted degradation exactly when the component behind it has them, so `hasattr` tells.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from rethaw.api import SVD, RethawError, Rng, State
from rethaw.config.model import Component, Config, DegradationHost
from rethaw.ops import Constant, generators, level
from rethaw.registry import ComponentError, Registry

PROMISES = ("bounded", "differentiable", "compilable")
MEMORY = 4.0  # that a call may take, its result included, in input batches
OPTIONAL = ("infer", "prior", "coefficients", "adjoint", "svd")
RATE = 4.0  # of the exponential schedule: u = (e^{RATE t} - 1) / (e^RATE - 1)


def severity_map(host: DegradationHost) -> Callable[[Tensor], Tensor] | None:
    """The function t → u of the host keys, on tensors (B,); None where u = t."""
    a, b = host.span
    knots = None if isinstance(host.schedule, str) else Constant(torch.tensor(host.schedule, dtype=torch.float64))

    def warp(t: Tensor) -> Tensor:
        u = t if (a, b) == (0.0, 1.0) else ((t - a) / (b - a)).clamp(0, 1)
        if host.schedule == "cosine":
            u = torch.sin(u * (math.pi / 2)).square()
        elif host.schedule == "exponential":
            u = torch.expm1(RATE * u) / math.expm1(RATE)
        elif knots is not None:
            u = interpolate(u, knots.like(u))
        if host.levels:
            u = level(u, host.levels) / host.levels  # level i is (i+1)/levels; only t = 0 is below
        return u

    return None if (host.span, host.schedule, host.levels) == ((0.0, 1.0), "linear", None) else warp


def interpolate(x: Tensor, knots: Tensor) -> Tensor:
    """The piecewise linear function through knots (K, 2), at x (B,)."""
    xs, ys = knots.T.contiguous()
    right = torch.searchsorted(xs, x.contiguous()).clamp(1, len(xs) - 1)
    x0, x1, y0, y1 = xs[right - 1], xs[right], ys[right - 1], ys[right]
    return torch.addcdiv(y0, (y1 - y0) * (x - x0), x1 - x0)


class Hosted:
    """One component under its host keys: every method takes severities t (B,) and images in [-1, 1]."""

    infer: Any
    prior: Any
    coefficients: Any
    adjoint: Any
    svd: Any

    def __init__(self, name: str, operator: Any, host: DegradationHost, traits: Mapping[str, Any]) -> None:
        self.name, self.operator, self.id = name, operator, host.id or name.rpartition(".")[2]
        self.levels = host.levels
        self.linear = bool(getattr(operator, "linear", traits["linear"]))
        self.gaussian = bool(getattr(operator, "gaussian", traits["gaussian"]))
        self.continuous = bool(getattr(operator, "continuous", traits["continuous"])) and host.levels is None
        self.t_min = float(getattr(operator, "t_min", traits["t_min"]))
        self.channels: int | None = getattr(operator, "channels", traits["channels"])
        memory = float(getattr(operator, "memory", traits["memory"]))
        self.parts = 1 if memory <= MEMORY else math.ceil(memory / (MEMORY - 1))  # the result is one batch more
        for trait in PROMISES:
            setattr(self, trait, bool(getattr(operator, trait, traits[trait])))
        self.unit = tuple(traits["range"]) == (0.0, 1.0)
        self.warp: Callable[[Tensor], Tensor] | None = severity_map(host)
        for method in OPTIONAL:
            if hasattr(operator, method) and not (method == "coefficients" and self.unit):
                setattr(self, method, getattr(self, f"_{method}"))

    def u(self, t: Tensor) -> Tensor:
        """Strength of severity t."""
        return t if self.warp is None else self.warp(t)

    def draw(self, like: Tensor, generator: Rng) -> State:
        """The state of each image of `like`; {} if nothing is random."""
        self.check_channels(like)
        return self.operator.draw(like, generator)  # type: ignore[no-any-return]

    def degrade(self, x0: Tensor, t: Tensor, state: State) -> Tensor:
        """D(x0, t, ξ); in parts of the batch where the component needs more memory than is granted."""
        self.check_channels(x0)
        parts = min(self.parts, x0.shape[0])
        if parts <= 1:
            return self.at_once(x0, t, state)
        split = zip(x0.chunk(parts), t.chunk(parts), *(v.chunk(parts) for v in state.values()), strict=True)
        return torch.cat([self.at_once(x, u, dict(zip(state, own, strict=True))) for x, u, *own in split])

    def at_once(self, x0: Tensor, t: Tensor, state: State) -> Tensor:
        """D(x0, t, ξ) in one call of the component, whose answer is checked."""
        x = self.operator.degrade(self.enter(x0), self.u(t), state)
        if not isinstance(x, Tensor) or x.shape != x0.shape or x.dtype != x0.dtype:
            raise ComponentError(f"{self.name} does not keep its contract: degrade gave {told(x)} for {told(x0)}")
        return self.leave(x)

    def check_channels(self, x: Tensor) -> None:
        """Raises RethawError for images that have more or fewer channels than the component works on."""
        if self.channels not in (None, x.shape[1]):
            raise RethawError(
                f"{self.name} works on images of {self.channels} channels, these have {x.shape[1]}",
                f"Set restorer.channels={self.channels}, or choose another degradation.",
            )

    def enter(self, x: Tensor) -> Tensor:
        return x.add(1).div_(2) if self.unit else x

    def leave(self, x: Tensor) -> Tensor:
        return x.mul(2).sub_(1) if self.unit else x

    def _infer(self, x_t: Tensor, x0_hat: Tensor, t: Tensor, state: State) -> State:
        return self.operator.infer(self.enter(x_t), self.enter(x0_hat), self.u(t), state)  # type: ignore[no-any-return]

    def _prior(self, like: Tensor, generator: Rng) -> tuple[Tensor, State]:
        x, state = self.operator.prior(like, generator)
        return self.leave(x), state

    def _coefficients(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return self.operator.coefficients(self.u(t))  # type: ignore[no-any-return]

    def _adjoint(self, y: Tensor, t: Tensor, state: State) -> Tensor:
        return self.operator.adjoint(y, self.u(t), state)  # type: ignore[no-any-return]

    def _svd(self, like: Tensor, t: Tensor, state: State) -> SVD:
        return self.operator.svd(like, self.u(t), state)  # type: ignore[no-any-return]


def told(x: Any) -> str:
    """A tensor's shape and dtype, or what it is instead."""
    return f"{tuple(x.shape)} {x.dtype}".replace("torch.", "") if isinstance(x, Tensor) else f"a {type(x).__name__}"


class Composition:
    """Degradations applied in order, one t for all; their states are prefixed with their ids."""

    infer: Any
    prior: Any
    coefficients: Any
    adjoint: Any
    svd: Any

    def __init__(self, members: Sequence[Hosted]) -> None:
        self.members = list(members)
        self.name = " + ".join(m.name for m in members)
        self.linear = all(m.linear for m in members)
        self.continuous = all(m.continuous for m in members)
        self.gaussian = len(members) == 1 and members[0].gaussian
        self.t_min = max(m.t_min for m in members)
        self.levels = max((m.levels for m in members if m.levels), default=None)
        self.channels = next((m.channels for m in members if m.channels), None)
        for trait in PROMISES:
            setattr(self, trait, all(getattr(m, trait) for m in members))
        first, last = members[0], members[-1]
        if hasattr(last, "infer"):
            self.infer = self._infer
        if hasattr(first, "prior"):
            self.prior = self._prior
        if all(hasattr(m, "adjoint") for m in members):
            self.adjoint = self._adjoint
        if len(members) == 1:
            for method in ("coefficients", "svd"):
                if hasattr(first, method):
                    setattr(self, method, getattr(first, method) if method == "coefficients" else self._svd)

    def draw(self, like: Tensor, generator: Rng) -> State:
        """All members' states."""
        return {f"{m.id}.{key}": value for m in self.members for key, value in m.draw(like, generator).items()}

    def degrade(self, x0: Tensor, t: Tensor, state: State) -> Tensor:
        """D_n(… D_1(x0, t, ξ_1) …, t, ξ_n)."""
        return self.upto(x0, t, state, len(self.members))

    def upto(self, x0: Tensor, t: Tensor, state: State, count: int) -> Tensor:
        """The first `count` members applied."""
        for m in self.members[:count]:
            x0 = m.degrade(x0, t, own(state, m))
        return x0

    def _infer(self, x_t: Tensor, x0_hat: Tensor, t: Tensor, state: State) -> State:
        """The last member's state; those before it must be known."""
        last = self.members[-1]
        before = self.upto(x0_hat, t, state, len(self.members) - 1)
        found = last.infer(x_t, before, t, own(state, last))
        return {**state, **{f"{last.id}.{key}": value for key, value in found.items()}}

    def _prior(self, like: Tensor, generator: Rng) -> tuple[Tensor, State]:
        """The first member's x_1, degraded fully by the others."""
        first, rest = self.members[0], self.members[1:]
        x, found = first.prior(like, generator)
        state = {f"{first.id}.{key}": value for key, value in found.items()}
        t = torch.ones(like.shape[0], device=like.device, dtype=like.dtype)
        for m in rest:
            drawn = m.draw(like, generator)
            x = m.degrade(x, t, drawn)
            state |= {f"{m.id}.{key}": value for key, value in drawn.items()}
        return x, state

    def _adjoint(self, y: Tensor, t: Tensor, state: State) -> Tensor:
        for m in reversed(self.members):
            y = m.adjoint(y, t, own(state, m))
        return y

    def _svd(self, like: Tensor, t: Tensor, state: State) -> SVD:
        return self.members[0].svd(like, t, own(state, self.members[0]))  # type: ignore[no-any-return]


def own(state: State, member: Hosted) -> State:
    """A member's part of a composition's state."""
    start = f"{member.id}."
    return {key.removeprefix(start): value for key, value in state.items() if key.startswith(start)}


AnyDegradation = Hosted | Composition


class Opaque:
    """A degradation without its `infer`, as a sampler should see it where that could not find the whole state."""

    def __init__(self, degradation: AnyDegradation) -> None:
        self.degradation = degradation

    def __getattr__(self, name: str) -> Any:
        if name == "infer":
            raise AttributeError(name)
        return getattr(self.degradation, name)


def before_last(degradation: AnyDegradation, state: State) -> list[str]:
    """The members of a composition that have a part in the state and cannot infer it, because others come after them."""
    members = degradation.members[:-1] if isinstance(degradation, Composition) else []
    return [m.name for m in members if own(state, m)]


def build_degradation(config: Config, registry: Registry) -> AnyDegradation:
    """The degradation of a pipeline."""
    members = [host_component(item, registry) for item in config.degradation]
    return Composition(members) if config.composed else members[0]


def host_component(item: Component, registry: Registry) -> Hosted:
    """Builds one item, its nested members first, and puts it under its host keys."""
    spec = registry.find("degradation", item.use)[1]
    params = replace(item.params, of=tuple(host_component(m, registry) for m in item.of)) if item.of else item.params
    if item.host.levels and "levels" in {f.name for f in fields(spec.params)}:
        params = replace(params, levels=item.host.levels)
    return Hosted(item.use, registry.build("degradation", item.use, params), item.host, spec.traits)


def probe(degradation: AnyDegradation, like: Tensor) -> None:
    """Tries a degradation on a small batch before long work, and refuses one that does not keep its contract."""
    x0 = like[:2].clamp(-1, 1)
    name = degradation.name
    try:
        state = degradation.draw(x0, generators(0, x0.shape[0]))
        if not isinstance(state, Mapping) or any(
            not isinstance(v, Tensor) or v.dim() == 0 or len(v) != x0.shape[0] for v in state.values()
        ):
            raise ComponentError(f"{name} does not keep its contract: draw gave no mapping of tensors, batch first")
        for t in (0.0, 0.25, 0.5, 0.75, 1.0):
            given = x0.clone()
            x = degradation.degrade(given, torch.full((x0.shape[0],), t, dtype=x0.dtype, device=x0.device), state)
            if not torch.equal(given, x0):
                raise ComponentError(f"{name} does not keep its contract: it changes x0 in place")
            if not torch.isfinite(x).all():
                raise ComponentError(f"{name} gives values that are not finite at severity {t}")
            if t == 0 and (x - x0).abs().max() > 1e-4:
                raise ComponentError(
                    f"{name} does not keep its contract: D(x0, 0) is not x0, "
                    f"it differs by up to {(x - x0).abs().max():.3g}"
                )
    except RethawError:
        raise
    except Exception as error:
        raise ComponentError(
            f"{name} raised {type(error).__name__} on images of shape {tuple(x0.shape)}: {error}",
            "rethaw plugins show says whose it is; report it there.",
        ) from error
