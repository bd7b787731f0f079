"""What the playground does, without a page: reads uploads safely, degrades, restores, generates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from torch import Tensor

from rethaw.api import RethawError
from rethaw.config import load_text
from rethaw.engine.degradation.build import build_degradation, probe
from rethaw.engine.pipeline import Pipeline
from rethaw.images import read_image
from rethaw.images.opening import explained, opened
from rethaw.ops import expand, generators
from rethaw.pictures import reduced, testcard
from rethaw.registry import Registry
from rethaw.web.controls import component, default, pipeline_text

PIXELS = 40_000_000
"""Of an upload: what a phone's camera takes, and a decoded file of which fits any machine."""
SIDE = 256
"""Images are made this small, so that one answer takes seconds."""


@dataclass(frozen=True)
class Walked:
    """A restored image: what was degraded, and each station's x_t and x̂0, (C, H, W) in [-1, 1]."""

    degraded: Tensor
    stations: Sequence[tuple[float, Tensor, Tensor]]

    @property
    def restored(self) -> Tensor:
        return self.stations[-1][1]


class Studio:
    """The runs that were named on the command line, and the components that are installed."""

    def __init__(self, runs: Sequence[str], device: str | None = None) -> None:
        self.runs: Mapping[str, Pipeline] = {run: Pipeline.load(run, device=device) for run in runs}
        self.registry = Registry()

    def names(self, kind: str) -> list[str]:
        """Installed components of a kind whose parameters all have defaults."""
        return sorted(name for name in self.registry.names(kind) if self.drawable(kind, name))

    def drawable(self, kind: str, name: str) -> bool:
        params = self.registry.find(kind, name)[1].params
        return all(f.name != "of" and default(f) is not MISSING for f in fields(params))

    def text(self, stack: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
        """The pipeline of a stack of degradations with the parameters that were set."""
        items = []
        for i, (name, given) in enumerate(stack):
            item = component(name, self.registry.find("degradation", name)[1], given)
            again = sum(other == name for other, _ in stack[:i])
            items.append(item | ({"id": f"{name.rpartition('.')[2]}{again + 1}"} if again else {}))
        return pipeline_text(items)

    def degrade(self, text: str, x0: Tensor, severity: float, seed: int) -> Tensor:
        """An image (C, H, W), degraded as a pipeline's YAML says."""
        config, registry = load_text(text)
        degradation = build_degradation(config.degradation, config.composed, registry)
        x = x0[None]
        probe(degradation, x)
        state = degradation.draw(x, generators(seed, 1))
        return degradation.degrade(x, expand(severity, x), state)[0]

    def restore(
        self, run: str, x: Tensor, severity: float, sampler: str, steps: int, degrade: bool, seed: int
    ) -> Walked:
        """Restores an image (C, H, W); degrade: it is clean, and degraded first."""
        pipeline, state = self.of(run), None
        images = x[None]
        if degrade:
            images, state = pipeline.degrade(images, severity, seed)
        walk = pipeline.trajectory(images, severity, state, sampler=sampler, steps=steps, seed=seed)
        return Walked(images[0].cpu(), [(float(s.t[0]), s.x[0].cpu(), s.x0_hat[0].cpu()) for s in walk])

    def generate(self, run: str, count: int, steps: int, seed: int) -> Tensor:
        """New images (n, C, H, W)."""
        return self.of(run).generate(count, steps=steps, seed=seed).cpu()

    def of(self, run: str) -> Pipeline:
        if run not in self.runs:
            raise RethawError("there is no run to do it with", "Start the page with one: rethaw serve runs/mine")
        return self.runs[run]


def upload(path: str | None, channels: int = 3) -> Tensor:
    """A file that somebody dropped, (C, H, W) in [-1, 1], made small; a test card where there is none.

    Raises RethawError for what is no image, is damaged, or has more than `PIXELS` pixels, before it is decoded.
    """
    if path is None:
        x = testcard()
    else:
        with explained(Path(path)), opened(Path(path)) as image:
            width, height = image.size
        if width * height > PIXELS:
            raise RethawError(f"{width} × {height} pixels are too many for this page", "Make it smaller first.")
        x = read_image(Path(path), channels).pixels
    x = reduced(x, SIDE).clamp(-1, 1)
    return x.mean(0, keepdim=True) if channels == 1 and x.shape[0] != 1 else x
