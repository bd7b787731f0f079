"""The conformance kit passes what keeps the contract, and each check catches what breaks it."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch

import rethaw
from rethaw.api import SVD, degradation
from rethaw.config.hosts import DegradationHost
from rethaw.engine.degradation.hosted import HostedComponent
from rethaw.testing import check_degradation, degradation_tests, run_check
from rethaw.testing.cases import Case
from rethaw.testing.kit import CHECKS

CASE = Case(3, 32, 32)


class Faulty:
    """Gaussian noise with one fault; everything else is right."""

    linear = continuous = True
    gaussian = False
    channels = None
    bounded, differentiable, compilable, memory = False, True, True, 4.0
    name = "x.faulty"

    def __init__(self) -> None:
        self.right = rethaw.build("degradation", "core.gaussian_noise")

    def draw(self, like: Any, generator: Any) -> Any:
        return self.right.draw(like, generator)

    def degrade(self, x0: Any, t: Any, state: Any) -> Any:
        return self.right.degrade(x0, t, state)

    def settle(self, t: Any) -> Any:
        return self.right.settle(t)


def wide(value: Any) -> Any:
    return value.view(-1, 1, 1, 1)


class Towards:
    """Asks for a field of the items: D = (1 - u) x0 + u y."""

    fields = ("partner",)

    def draw(self, like: Any, generator: Any) -> Any:
        return {}

    def degrade(self, x0: Any, u: Any, state: Any) -> Any:
        return x0.lerp(state["partner"], wide(u).to(x0.dtype))

    def infer(self, x_u: Any, x0_hat: Any, u: Any, state: Any) -> Any:
        return {"partner": (x_u - (1 - wide(u)) * x0_hat) / wide(u)}


class AnotherPartner(Towards):
    def degrade(self, x0: Any, u: Any, state: Any) -> Any:
        return x0.lerp(state["partner"].roll(1, 0), wide(u).to(x0.dtype))


def towards(operator: Any) -> Any:
    traits = degradation("towards", object, target="", summary="", linear=True).traits
    return HostedComponent("x.towards", operator, DegradationHost(), traits)


@pytest.mark.parametrize("check", CHECKS)
def test_a_degradation_that_asks_for_fields_is_given_some(check: str) -> None:
    run_check(check, towards(Towards()))


def test_fields_are_those_of_their_own_image() -> None:
    with pytest.raises(AssertionError, match=r"each_image_alone.*alone differ from the batch"):
        run_check("each_image_alone", towards(AnotherPartner()))


class NotTheIdentity(Faulty):
    def degrade(self, x0: Any, t: Any, state: Any) -> Any:
        return super().degrade(x0, t, state) + 0.01


class OtherType(Faulty):
    def degrade(self, x0: Any, t: Any, state: Any) -> Any:
        return super().degrade(x0, t, state).half()


class InPlace(Faulty):
    def degrade(self, x0: Any, t: Any, state: Any) -> Any:
        return x0.copy_(super().degrade(x0, t, state))


class GlobalState(Faulty):
    def draw(self, like: Any, generator: Any) -> Any:
        random.random()
        return super().draw(like, generator)


class FreshNoise(Faulty):
    def degrade(self, x0: Any, t: Any, state: Any) -> Any:
        return x0 + wide(t) * torch.rand(x0.shape, generator=self.right.__dict__.setdefault("rng", torch.Generator()))


class SeesTheImage(Faulty):
    def draw(self, like: Any, generator: Any) -> Any:
        return {"z": super().draw(like, generator)["z"] + like}


class SharedState(Faulty):
    def draw(self, like: Any, generator: Any) -> Any:
        z = super().draw(like, generator)["z"]
        return {"z": z.mean(0, keepdim=True).expand_as(z)}


class OneSeverity(Faulty):
    def degrade(self, x0: Any, t: Any, state: Any) -> Any:
        return super().degrade(x0, t.max().expand_as(t) * (t > 0), state)


class Shrinks(Faulty):
    def degrade(self, x0: Any, t: Any, state: Any) -> Any:
        return x0 + wide(t * (1 - t)) * state["z"]


class Jumps(Faulty):
    def degrade(self, x0: Any, t: Any, state: Any) -> Any:
        return super().degrade(x0, torch.where(t > 0.5, 1.0, t), state)


class NotLinear(Faulty):
    def degrade(self, x0: Any, t: Any, state: Any) -> Any:
        return x0 + wide(t) * x0.square()


class WrongAdjoint(Faulty):
    def adjoint(self, y: Any, t: Any, state: Any) -> Any:
        return 2 * self.right.adjoint(y, t, state)


class WrongInference(Faulty):
    def infer(self, x_u: Any, x0_hat: Any, t: Any, state: Any) -> Any:
        return {"z": x_u - x0_hat}


class WrongCoefficients(Faulty):
    def coefficients(self, t: Any) -> Any:
        return self.right.coefficients(t)[::-1]


class WrongPrior(Faulty):
    def prior(self, like: Any, generator: Any) -> Any:
        return like[:1], {}


class MixesTheBatch(Faulty):
    def prior(self, like: Any, generator: Any) -> Any:
        x, state = self.right.prior(like, generator)
        return x.flip(0).cumsum(0), state


class NoLevels(Faulty):
    levels = 5

    def settle(self, t: Any) -> Any:
        return torch.ceil(t * self.levels) / self.levels


class NotBounded(Faulty):
    bounded = True


class NotFinite(Faulty):
    def degrade(self, x0: Any, t: Any, state: Any) -> Any:
        return super().degrade(x0, t, state).abs().log().log()


class TooSmall(Faulty):
    def degrade(self, x0: Any, t: Any, state: Any) -> Any:
        return torch.nn.functional.pad(super().degrade(x0, t, state), (3, 3, 3, 3), "reflect")[..., 3:-3, 3:-3]


class NoGradient(Faulty):
    def degrade(self, x0: Any, t: Any, state: Any) -> Any:
        return super().degrade(x0.detach(), t, state)


class WrongGradient(Faulty):
    def degrade(self, x0: Any, t: Any, state: Any) -> Any:
        x = super().degrade(x0, t, state)
        return 2 * x - x.detach()


class ReadsAValue(Faulty):
    def degrade(self, x0: Any, t: Any, state: Any) -> Any:
        return super().degrade(x0, t, state) if t.max() > 0 else x0.clone()


class BooleanIndex(Faulty):
    def degrade(self, x0: Any, t: Any, state: Any) -> Any:
        x = super().degrade(x0, t, state)
        return x.index_put((t == 0,), x0[t == 0])


class BreaksTheGraph(Faulty):
    def degrade(self, x0: Any, t: Any, state: Any) -> Any:
        torch._dynamo.graph_break()
        return super().degrade(x0, t, state)


class Stacks(Faulty):
    def degrade(self, x0: Any, t: Any, state: Any) -> Any:
        return torch.stack([super(Stacks, self).degrade(x0, t * i / 4, state) for i in range(5)])[-1].clone()


class Coarse(Faulty):
    def degrade(self, x0: Any, t: Any, state: Any) -> Any:
        x = super().degrade(x0, t, state)
        return x + 0.1 * (x.dtype in (torch.bfloat16, torch.float16))


class WrongSvd(Faulty):
    def svd(self, like: Any, t: Any, state: Any) -> Any:
        α, _ = self.right.coefficients(t)
        return SVD(*[lambda x: x] * 2, *[lambda x: 2 * x] * 2, wide(α) / 4)


@pytest.mark.parametrize(
    "faulty, check",
    [
        (NotTheIdentity, "identity_at_zero"),
        (OtherType, "identity_at_zero"),
        (InPlace, "pure"),
        (GlobalState, "pure"),
        (FreshNoise, "pure"),
        (SeesTheImage, "state_of_each_image"),
        (SharedState, "state_of_each_image"),
        (OneSeverity, "each_image_alone"),
        (Shrinks, "grows"),
        (Jumps, "continuous"),
        (NoLevels, "levels"),
        (NotLinear, "linear"),
        (WrongAdjoint, "adjoint"),
        (WrongInference, "infers"),
        (WrongCoefficients, "coefficients"),
        (WrongPrior, "prior"),
        (MixesTheBatch, "prior"),
        (NotBounded, "stays_in_range"),
        (NotFinite, "stays_in_range"),
        (NoGradient, "gradient"),
        (WrongGradient, "gradient"),
        (Stacks, "memory"),
        (Coarse, "low_precision"),
        (WrongSvd, "svd"),
    ],
)
def test_each_check_catches_its_fault(faulty: type, check: str) -> None:
    CHECKS[check](Faulty(), CASE)
    with pytest.raises(AssertionError):
        CHECKS[check](faulty(), CASE)


@pytest.mark.parametrize(
    "faulty, check",
    [
        (TooSmall, "any_size"),
        (ReadsAValue, "waits_for_no_device"),
        (BooleanIndex, "waits_for_no_device"),
        (BreaksTheGraph, "compiles"),
    ],
)
def test_what_torch_itself_refuses_is_told(faulty: type, check: str) -> None:
    CHECKS[check](Faulty(), CASE)
    with pytest.raises(Exception):  # noqa: B017 - torch's own
        CHECKS[check](faulty(), CASE)


class WrapsNumpy(Faulty):
    """What a degradation that calls numpy may declare."""

    compilable = differentiable = False

    def degrade(self, x0: Any, t: Any, state: Any) -> Any:
        return torch.from_numpy(super().degrade(x0, t, state).numpy().copy())


@pytest.mark.parametrize("check", ["gradient", "waits_for_no_device", "compiles", "memory", "pure"])
def test_declared_exceptions_are_respected(check: str) -> None:
    CHECKS[check](WrapsNumpy(), CASE)


def test_everything_at_once() -> None:
    check_degradation("core.mask", shape="half")
    check_degradation("core.desaturate")


TestOneImport = degradation_tests("kornia.gaussian_blur", {"sigma_max": 1.5}, {"levels": 3})
