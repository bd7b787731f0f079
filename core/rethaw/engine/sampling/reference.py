"""Where trajectories start that have a picture to go by: a degraded reference, or what lies between two of them."""

from __future__ import annotations

import torch
from torch import Tensor

from rethaw.api import RethawError, State, infers_state
from rethaw.engine.degradation.composition import known
from rethaw.engine.degradation.hosted import Hosted
from rethaw.engine.degradation.observe import degraded
from rethaw.ops import generators


def between(
    degradation: Hosted, first: Tensor, second: Tensor, count: int, strength: float, seed: int, own: bool
) -> tuple[Tensor, State | None]:
    """`count` starts between two images (C, H, W), ends included, at one severity, and their state.

    With one state for both, the degraded images are mixed in proportion (DDPM, 2006.11239, figure 8), which of an
    affine degradation is the mixed image, degraded. With a state each (`own`), they are mixed along the arc between
    them (DDIM, 2010.02502, appendix D.5), so that noise stays as strong as it is; the state is then not known.
    """
    if first.shape != second.shape:
        raise RethawError(f"images of {size(first)} and {size(second)} pixels cannot be mixed", "Make them equal.")
    if own and not infers_state(degradation):
        raise RethawError(
            f"{degradation.name} cannot infer the state of a mixed image",
            "Leave --own (own=True) out: the two then share one state.",
        )
    share = torch.linspace(0, 1, count, device=first.device, dtype=first.dtype).view(-1, 1, 1, 1)
    a, state = degraded(degradation, first[None], strength, generators(seed, 1))
    b, _ = degraded(degradation, second[None], strength, generators(seed, 1, int(own)))
    if own:
        return slerp(a, b, share), None
    shared = {key: value.expand(count, *value.shape[1:]) for key, value in state.items()}
    return torch.lerp(a, b, share), known(degradation, shared)


def slerp(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    """Spherical interpolation (Shoemake 1985): sin((1-λ)θ)/sin θ a + sin(λθ)/sin θ b, θ the angle from a to b."""
    θ = torch.arccos(torch.nn.functional.cosine_similarity(a.flatten(1), b.flatten(1)).clamp(-1, 1)).view(-1, 1, 1, 1)
    mixed = (torch.sin((1 - share) * θ) * a + torch.sin(share * θ) * b) / torch.sin(θ)
    return torch.where(torch.sin(θ) > 1e-4, mixed, torch.lerp(a, b, share))


def size(image: Tensor) -> str:
    return f"{image.shape[-1]}×{image.shape[-2]}"
