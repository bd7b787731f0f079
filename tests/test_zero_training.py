"""DDRM, DDNM, DPS, DiffPIR and ΠGDM on blur, pixelation, a mask and lost colour, beside the posterior of pictures."""

from __future__ import annotations

import pytest

from tests.bench.zero_training import MEASUREMENTS, Pictures, measured

SCORE = {"weight": "score", "spread": 0.5, "steps": 60}


@pytest.mark.parametrize("name", ["core.ddrm", "core.ddnm", "core.diffpir"])
@pytest.mark.parametrize("what", MEASUREMENTS)
def test_a_measurement_without_noise_is_explained(what: str, name: str) -> None:
    assert measured(Pictures(*MEASUREMENTS[what], 0.0), name, {"steps": 5}, 2)[0] <= 1e-10


@pytest.mark.parametrize("what", MEASUREMENTS)
def test_pigdm_is_near_the_posterior_of_pictures(what: str) -> None:
    """Its samples are as far from y as the noise, their mean and variance near the known ones, as documented."""
    apart, off, variance = measured(Pictures(*MEASUREMENTS[what], 0.05), "core.pigdm", SCORE, 60)
    assert 0.04 <= apart <= 0.06 and off <= 0.35 and 0.7 <= variance <= 1.1
