"""What is tried before a long training: the data, the degradation, the network; and the prior, fitted beforehand."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from rethaw.api import Dataset, has_prior
from rethaw.engine.degradation.build import probe
from rethaw.engine.degradation.hosted import form_of
from rethaw.engine.degradation.observe import degraded
from rethaw.engine.faults import broken, naming
from rethaw.engine.parts import Parts
from rethaw.engine.restorer.network import Restorer
from rethaw.engine.restorer.tiles import tiled
from rethaw.engine.training.examples import first_batches, for_batch, training_order
from rethaw.engine.training.memory import kept, size_of
from rethaw.ops import generators, mix_seed, seeded


def preflight(parts: Parts, data: Dataset) -> tuple[int, ...]:
    """Tries the data and the degradation; the shape of one image."""
    config = parts.config
    batch = next(first_batches(data, config, 2))
    like: Tensor = batch["image"]
    probe(for_batch(parts.degradation, batch, config), like)
    return tuple(like.shape[1:])


def rehearse(parts: Parts, data: Dataset, restorer: Restorer, image_shape: tuple[int, ...]) -> int:
    """Conditions and calls a new network once, and refuses one that does not give images of the size that it got.

    The bytes that it keeps of one image for the backward pass.
    """
    x = torch.zeros(2, *image_shape)
    batch = training_order(data, parts.config, 2).batch(0, 2)
    cond = parts.conditioners.of_items(batch, x, generators(parts.config.seed, 2))
    name = parts.config.backbone.use
    draws, doing = seeded(x.device, parts.config.seed), f"on images of shape {tuple(x.shape)}"
    with draws, kept() as count, naming(name, doing):
        out = tiled(restorer, x, torch.tensor([0.5, 1.0]), cond, None)
    wanted = (2, parts.parameterization.out_channels, *x.shape[2:])
    if not isinstance(out, Tensor) or out.shape != wanted:
        raise broken(name, f"it gave {form_of(out)} for {form_of(x)}, not {wanted}")
    return max(count() - size_of(restorer), 0) // len(x)


def fit_prior(parts: Parts, data: Dataset, count: int = 256) -> dict[str, Tensor]:
    """Fits the pipeline's generation prior to fully degraded training images; {} where it needs none."""
    config, prior = parts.config, parts.prior()
    if prior is None or has_prior(parts.degradation):
        return {}

    def fully_degraded() -> Iterator[Tensor]:
        for i, batch in enumerate(first_batches(data, config, min(count, 16 * len(data)))):
            x0, degradation = batch["image"], for_batch(parts.degradation, batch, config)
            rngs = [torch.Generator().manual_seed(mix_seed(config.seed, "prior", i, j)) for j in range(len(x0))]
            yield degraded(degradation, x0, 1.0, rngs)[0]

    return dict(prior.fit(fully_degraded()))
