"""The restorer R(x_t, t, c) → x̂0: backbone, parameterization and conditioners, always read as the clean image."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rethaw.api import Cond, Context, RethawError
from rethaw.config.model import Config
from rethaw.engine.restorer.blind import SeverityHead
from rethaw.engine.restorer.conditioners import Conditioners
from rethaw.ops import seeded
from rethaw.registry import Registry


class Restorer(nn.Module):
    """A backbone and what the host needs to know of it; `blind` estimates severities, where the run learns to."""

    def __init__(self, backbone: nn.Module, blind: SeverityHead | None = None) -> None:
        super().__init__()
        self.backbone, self.blind = backbone, blind
        self.multiple = int(getattr(backbone, "multiple", 1))

    def forward(self, x_t: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """x_t (B, C, H, W), t (B,) → the bare output, which a `Parameterization` reads."""
        out: Tensor = self.backbone(x_t, t, cond)
        return out


def build_restorer(
    config: Config, registry: Registry, conditioners: Conditioners, out_channels: int, initial: bool = True
) -> Restorer:
    """The restorer of a pipeline, freshly initialised from its seed, leaving the global random state alone."""
    context = Context(config.restorer.channels, out_channels, conditioners.widths, initial)
    accepts = registry.find("backbone", config.backbone.use)[1].traits["accepts"]
    refused = sorted(set(context.cond) - set(accepts))
    if refused:
        raise RethawError(f"{config.backbone.use} does not take the condition {', '.join(refused)}")
    with seeded(torch.device("cuda" if torch.cuda.is_available() else "cpu"), config.seed):
        network = registry.build("backbone", config.backbone.use, config.backbone.params, context)
        head = SeverityHead(config.restorer.channels, config.severity.width) if config.severity.estimate else None
    return Restorer(network, head)
