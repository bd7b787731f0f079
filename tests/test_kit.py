"""The conformance kit passes what keeps the contract, and each check catches what breaks it."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch

import rethaw
from rethaw.testing import check_degradation, degradation_tests
from rethaw.testing.checks import CHECKS, Case

CASE = Case(3, 32, 32)


class Faulty:
    """Gaussian noise with one fault; everything else is right."""

    linear = continuous = True
    gaussian = False
    channels = None

    def __init__(self) -> None:
        self.right = rethaw.build("degradation", "core.gaussian_noise")

    def draw(self, like: Any, generator: Any) -> Any:
        return self.right.draw(like, generator)

    def degrade(self, x0: Any, t: Any, state: Any) -> Any:
        return self.right.degrade(x0, t, state)


def wide(value: Any) -> Any:
    return value.view(-1, 1, 1, 1)


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


@pytest.mark.parametrize(
    "faulty, check",
    [
        (NotTheIdentity, "identity_at_zero"), (OtherType, "identity_at_zero"), (InPlace, "pure"), (GlobalState, "pure"),
        (FreshNoise, "pure"), (SeesTheImage, "state_of_each_image"), (SharedState, "state_of_each_image"),
        (OneSeverity, "each_image_alone"), (Shrinks, "grows"), (Jumps, "continuous"), (NotLinear, "adjoint"),
        (WrongAdjoint, "adjoint"), (WrongInference, "infers"), (WrongCoefficients, "coefficients"), (WrongPrior, "prior"),
    ],
)  # fmt: skip
def test_each_check_catches_its_fault(faulty: type, check: str) -> None:
    CHECKS[check](Faulty(), CASE)
    with pytest.raises(AssertionError):
        CHECKS[check](faulty(), CASE)


def test_everything_at_once() -> None:
    check_degradation("core.mask", shape="half")
    check_degradation("core.desaturate")


TestOneImport = degradation_tests("kornia.gaussian_blur", {"sigma_max": 1.5}, {"levels": 3})
