"""Medians of interleaved rounds, so that a noisy machine slows all contestants alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch


def medians(contestants: Mapping[str, Callable[[], object]], rounds: int = 30) -> dict[str, float]:
    """Seconds a call, the median over rounds in which each contestant runs once, after one warm-up."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    with torch.no_grad():
        for number in range(rounds + 1):
            for name, call in contestants.items():
                began = time.perf_counter()
                call()
                if number:
                    times[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in times.items()}
