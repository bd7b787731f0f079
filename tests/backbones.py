"""What the tests of every backbone share: real crops, all conditions, a short training, a round trip by file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import rethaw
from rethaw.api import Context

COND = {"vector": 5, "tokens": 7, "image": 2}


def images(count: int, height: int = 32, width: int = 32, seed: int = 0) -> Tensor:
    """Crops of photographs, (B, 3, H, W)."""
    data = rethaw.build("dataset", "core.photos", size=max(height, width, 8))
    rngs = [torch.Generator().manual_seed(seed * 1000 + i) for i in range(count)]
    return torch.stack([data.item(i, rng)["image"] for i, rng in enumerate(rngs)])[..., :height, :width]


def condition(count: int, height: int, width: int, seed: int = 0) -> dict[str, Tensor]:
    """A condition of every kind; the last image has one token less."""
    rng = torch.Generator().manual_seed(seed)
    mask = torch.ones(count, 3, dtype=torch.bool)
    mask[-1, -1] = False
    shapes = {"vector": (5,), "tokens": (3, 7), "image": (2, height, width)}
    return {key: torch.randn(count, *shape, generator=rng) for key, shape in shapes.items()} | {"tokens_mask": mask}


def falls(name: str, params: dict[str, Any], steps: int = 40) -> tuple[float, float]:
    """Mean loss of the first and the last ten steps of undoing a blur, as a residual, on crops of photographs."""
    torch.manual_seed(0)
    net = rethaw.build("backbone", name, Context(3, 3), **params)
    blur = rethaw.build("degradation", "kornia.gaussian_blur", sigma_max=2.0)
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, betas=(0.9, 0.99))
    x0, t = images(8), torch.linspace(0.5, 1.0, 8)
    x_t, losses = blur.degrade(x0, t, {}), []
    for _ in range(steps):
        loss = (x_t + net(x_t, t, {}) - x0).abs().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return sum(losses[:10]) / 10, sum(losses[-10:]) / 10


def awake(net: Any) -> Any:
    """The network with the layers that start at zero set to something, as training would."""
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in net.parameters():
            if not p.any():
                p.normal_(0, 0.05, generator=rng)
    return net.eval()


@torch.no_grad()
def heard(net: Any) -> None:
    """Severity and each part of the condition change the output; a token under the mask does not."""
    net, x, cond = awake(net), images(2), condition(2, 32, 32)
    other, t = condition(2, 32, 32, seed=9), torch.tensor([0.3, 0.9])
    out = net(x, t, cond)
    assert (net(x, t + 0.05, cond) - out).abs().amax((1, 2, 3)).min() > 1e-5, "the severity is not heard"
    for key in COND:
        changed = net(x, t, {**cond, key: other[key]})
        assert (changed - out).abs().amax((1, 2, 3)).min() > 1e-5, f"{key} is not heard"
    masked = {**cond, "tokens": cond["tokens"].clone()}
    masked["tokens"][-1, -1] += 5.0
    assert torch.allclose(net(x, t, masked), out, atol=1e-6), "a token under the mask is heard"
    nothing = {**cond, "tokens_mask": torch.zeros_like(cond["tokens_mask"])}
    assert net(x, t, nothing).isfinite().all(), "a condition without tokens gives no image"


@torch.no_grad()
def returns_by_safetensors(made: Callable[[], Any], folder: Path) -> None:
    """A second network gives the same images with the first one's weights out of a file."""
    first, second = awake(made()), made().eval()
    x, t, cond = images(2), torch.tensor([0.3, 0.9]), condition(2, 32, 32)
    save_file({key: value.contiguous() for key, value in first.state_dict().items()}, folder / "net.safetensors")
    second.load_state_dict(load_file(folder / "net.safetensors"))
    assert torch.equal(first(x, t, cond), second(x, t, cond))
