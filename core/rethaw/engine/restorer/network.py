"""The network of a restorer: a backbone, and what the host needs to know of it."""

from __future__ import annotations

from torch import Tensor, nn

from rethaw.api import Cond
from rethaw.engine.restorer.blind import SeverityHead


class Restorer(nn.Module):
    """A backbone; `blind` estimates severities, where the run learns to.

    multiple: what H and W must be multiples of. fixed_size: whether its answer depends on the size it was trained at.
    """

    def __init__(self, backbone: nn.Module, blind: SeverityHead | None = None) -> None:
        super().__init__()
        self.backbone, self.blind = backbone, blind
        self.multiple = int(getattr(backbone, "multiple", 1))
        self.fixed_size = bool(getattr(backbone, "fixed_size", False))

    def forward(self, x_t: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """x_t (B, C, H, W), t (B,) → the bare output, which a `Parameterization` reads."""
        out: Tensor = self.backbone(x_t, t, cond)
        return out
