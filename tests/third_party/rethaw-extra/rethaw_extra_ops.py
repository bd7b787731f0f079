"""The sampler and the metric, imported when a pipeline is built."""

import torch

from rethaw.ops import StepSampler


class DampedSampler(StepSampler):
    """x_s = (1 - d) D(R(x_t, t), s, ξ) + d x_t."""

    def step(self, x, x0_hat, t, s, degradation, ξ, generator):
        return torch.lerp(degradation.degrade(x0_hat, s, ξ), x, self.params.damping)


class WorstPixel:
    """max |restored - clean| / 2 over all images."""

    higher_is_better = False

    def __init__(self, params):
        self.worst = 0.0

    def update(self, restored, clean):
        self.worst = max(self.worst, float((restored - clean).abs().max()) / 2)

    def compute(self):
        return self.worst
