"""The published implementation itself, image by image: slow, in 8 bits, on the CPU, but the numbers of the papers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rethaw.api import RethawError, Rng, State
from rethaw.ops import rand
from rethaw_imagenet_c.plugin import Reference as Params

LEAST = 32  # pixels of a side, a limit of imagecorruptions
SEEDS = 2**24  # as many as float32 tells apart
OWN_SEED = ("glass_blur", "impulse_noise")  # these take a seed, and would otherwise draw from the system's entropy
GLOBAL = Lock()


class Reference:
    """D = imagecorruptions.corrupt(x0, level), level round(u severity_max), at least 1; 0 only for u = 0.

    State: {"seed": (B,)}; numpy's global generator is seeded with it while an image is worked on, under a lock, and
    then restored. Not differentiable.
    """

    compilable = False

    def __init__(self, params: Params) -> None:
        self.params = params
        if find_spec("imagecorruptions") is None:
            raise RethawError(
                "imagenet_c.reference needs imagecorruptions-imaug, which is not installed",
                "Run: pip install imagecorruptions-imaug",
            )

    def draw(self, like: Tensor, generator: Rng) -> State:
        numbers = rand(like.new_empty(len(like), dtype=torch.float32), generator, ())
        return {"seed": (numbers * SEEDS).long()}

    def degrade(self, x0: Tensor, u: Tensor, state: State) -> Tensor:
        check_shape(x0)
        pixels = (x0.detach().clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        levels = torch.where(u > 0, (u * self.params.severity_max).round().clamp_min(1), 0.0).int().tolist()
        made = [self.corrupted(*one) for one in zip(pixels, levels, state["seed"].tolist(), strict=True)]
        x = torch.from_numpy(np.stack(made)).permute(0, 3, 1, 2)[:, : x0.shape[1]].to(x0.device, x0.dtype) / 255
        return torch.where(u.view(-1, 1, 1, 1) > 0, x, x0)

    def corrupted(self, image: NDArray[np.uint8], level: int, seed: int) -> NDArray[np.uint8]:
        """One image (H, W, C)."""
        if not level:
            return np.broadcast_to(image, (*image.shape[:2], 3))
        corrupt = import_module("imagecorruptions").corrupt
        given: dict[str, Any] = {"seed": seed} if self.params.corruption in OWN_SEED else {}
        with seeded_numpy(seed):
            found: NDArray[np.uint8] = corrupt(image, corruption_name=self.params.corruption, severity=level, **given)
        return found


def check_shape(x0: Tensor) -> None:
    """Refuses what imagecorruptions cannot do."""
    height, width = x0.shape[-2:]
    if min(height, width) < LEAST:
        raise RethawError(
            f"imagenet_c.reference: images of {height} × {width} pixels are too small",
            f"imagecorruptions needs {LEAST} on each side; imagenet_c's own operators take any size.",
        )
    if x0.shape[1] not in (1, 3):
        raise RethawError(f"imagenet_c.reference: images of {x0.shape[1]} channels, it takes 1 or 3", "")


@contextmanager
def seeded_numpy(seed: int) -> Iterator[None]:
    """Seeds numpy's global generator for a block and restores it, whatever happens; one thread at a time."""
    with GLOBAL:
        before = np.random.get_state()
        np.random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(before)
