"""Medians of interleaved rounds, so that a noisy machine slows all contestants alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch

LEAST = 3


def medians(
    contestants: Mapping[str, Callable[[], object]], rounds: int = 30, seconds: float | None = None
) -> dict[str, float]:
    """Seconds a call, the median over rounds in which each contestant runs once, after one warm-up.

    seconds: what all rounds together may take, if at least three fit; a slow contestant then has fewer of them.
    """
    times: dict[str, list[float]] = {name: [] for name in contestants}
    began = time.perf_counter()
    with torch.no_grad():
        for number in range(rounds + 1):
            if seconds and number > LEAST and time.perf_counter() - began > seconds:
                break
            for name, call in contestants.items():
                start = time.perf_counter()
                call()
                if number:
                    times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}
