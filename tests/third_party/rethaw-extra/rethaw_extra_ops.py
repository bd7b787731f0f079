"""The sampler and the metric, imported when a pipeline is built."""

import torch

from rethaw.api import Step
from rethaw.ops import severity_pairs


class DampedSampler:
    """x_s = (1 - d) D(R(x_t, t), s, ξ) + d x_t."""

    def __init__(self, params):
        self.params = params

    def severities(self, degradation, start=1.0):
        return torch.linspace(start, 0, self.params.steps + 1)

    def trajectory(self, restore, x, severities, degradation, state, generator, observation=None):
        for t, s in severity_pairs(severities, x):
            x0_hat = restore(x, t).x0
            yield Step(t, x, x0_hat)
            x = torch.lerp(degradation.degrade(x0_hat, s, state), x, self.params.damping)
        yield Step(s, x, x)


class WorstPixel:
    """max |restored - clean| / 2 over all images."""

    higher_is_better = False

    def __init__(self, params):
        self.worst = 0.0

    def update(self, restored, clean):
        self.worst = max(self.worst, float((restored - clean).abs().max()) / 2)

    def compute(self):
        return self.worst
