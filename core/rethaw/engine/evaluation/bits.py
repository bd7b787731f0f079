"""Bits a dimension of image files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rethaw.engine.evaluation.subjects import batches
from rethaw.engine.sampling.editing import log_likelihood
from rethaw.engine.sampling.how import How
from rethaw.engine.sampling.walking import Walker
from rethaw.ops import generators


def bits_of_files(
    walker: Walker, files: Sequence[Path], how: How, watch: Callable[[int], None], steps: int, **options: Any
) -> tuple[dict[str, float], list[str]]:
    """Bits a dimension of each file that can be read, and why the others cannot; see `likelihood` for the options.

    how: its conditions are one value a field, for all images. watch: called with the steps done of all images.
    """
    bits: dict[str, float] = {}
    skipped: list[str] = []
    parts = walker.parts
    for paths, x, _ in batches(files, parts.config.restorer.channels, parts.degradation, skipped):
        first, count = len(bits), len(x)
        own = how.repeated(count)

        def steps_done(k: int, first: int = first, count: int = count) -> None:
            watch(first * steps + k * count)

        rng = generators(walker.seed(how), count, first)
        found = log_likelihood(walker, x, own, rng, steps=steps, watch=steps_done, **options)
        bits |= dict(zip(map(str, paths), found.bits.tolist(), strict=True))
    return bits, skipped
