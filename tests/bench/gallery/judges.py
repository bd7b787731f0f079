"""Two small classifiers of real images, of different architectures and seeds: what do they read in generated ones?"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from filelock import FileLock
from torch import Tensor, nn
from torch.nn import functional as F

import rethaw
from rethaw.api import Context
from rethaw.engine.run import load_tensors, save_tensors
from rethaw.files import write_text
from rethaw.ops import seeded
from tests.bench.gallery.images import tensors

SIDE, SURE, BATCH = 32, 0.9, 128
CHANNELS = {"mnist": 1, "cifar10": 3}


class Residual(nn.Module):
    """`core.convnet` on clean images."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.net = rethaw.build("classifier", "core.convnet", Context(channels, classes), width=16)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, 32, 32) → logits (B, classes)."""
        found: Tensor = self.net(x, x.new_zeros(len(x)))
        return found


def plain(channels: int, classes: int) -> nn.Module:
    """Convolutions and pooling, without residuals or normalisation of single pixels."""
    widths, layers = (channels, 32, 64, 128), list[nn.Module]()
    for before, after in pairwise(widths):
        layers += [nn.Conv2d(before, after, 5, padding=2), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.3), nn.Linear(widths[-1] * 16, classes))


@dataclass(frozen=True)
class Judges:
    """Both classifiers, the names of the classes, and their accuracy on held-out real images."""

    networks: tuple[nn.Module, ...]
    classes: tuple[str, ...]
    accuracy: tuple[float, ...]

    @torch.no_grad()
    def read(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Of images (B, C, H, W) in [-1, 1]: what the first classifier reads (B,), and whether both are sure of it."""
        shown = [probabilities(network, images) for network in self.networks]
        (p, first), (q, second) = (each.max(1) for each in shown)
        return first, (first == second) & (p > SURE) & (q > SURE)

    def spread(self, images: Tensor) -> list[int]:
        """How many images of each class there are among those that both are sure of."""
        found, sure = self.read(images)
        return torch.bincount(found[sure], minlength=len(self.classes)).tolist()

    def share(self, images: Tensor) -> float:
        """Of the images that both read alike and are sure of."""
        return float(self.read(images)[1].float().mean())

    def agreement(self, images: Tensor, labels: list[str]) -> float:
        """Of the images that the classifiers, on average, take for what the labels say."""
        target = torch.tensor([self.classes.index(label) for label in labels], device=images.device)
        return sum(float((probabilities(n, images).argmax(1) == target).float().mean()) for n in self.networks) / 2


def probabilities(network: nn.Module, images: Tensor) -> Tensor:
    """(B, classes), of images in the network's channels; grey is the mean of colours."""
    x, channels = images.clamp(-1, 1), next(m.in_channels for m in network.modules() if isinstance(m, nn.Conv2d))
    x = x if x.shape[1] == channels else x.mean(1, keepdim=True)
    return torch.cat([network(part).softmax(1) for part in x.split(256)])


def judges(name: str, data: Path, folder: Path, steps: int, device: torch.device) -> Judges:
    """Those of a data set, trained in the folder or loaded from it; others that ask meanwhile wait."""
    folder.mkdir(parents=True, exist_ok=True)
    classes = tuple(sorted(place.name for place in (data / name / "train").iterdir() if place.is_dir()))
    with seeded(torch.device("cpu"), 0):
        networks = (Residual(CHANNELS[name], len(classes)), plain(CHANNELS[name], len(classes)))
    report = folder / f"{name}.json"
    with FileLock(folder / f"{name}.lock"):
        if not report.exists():
            accuracy = trained(networks, name, data, classes, steps, device)
            for i, network in enumerate(networks):
                save_tensors(folder / f"{name}-{i}.safetensors", network.state_dict())
            write_text(report, json.dumps({"steps": steps, "accuracy": accuracy}))
    for i, network in enumerate(networks):
        network.load_state_dict(load_tensors(folder / f"{name}-{i}.safetensors"))
        network.to(device).eval()
    return Judges(networks, classes, tuple(json.loads(report.read_text())["accuracy"]))


def trained(
    networks: tuple[nn.Module, ...], name: str, data: Path, classes: tuple[str, ...], steps: int, device: torch.device
) -> list[float]:
    """Trains each on the real images; the accuracy of each on held-out ones."""
    images, labels = tensors(data / name / "train", 10**6, SIDE, CHANNELS[name])
    target = torch.tensor([classes.index(label) for label in labels])
    for seed, network in enumerate(networks):
        learn(network.to(device), images.to(device), target.to(device), steps, seed + 1)
    held_out, labels = tensors(data / name / "val", 10**6, SIDE, CHANNELS[name])
    target = torch.tensor([classes.index(label) for label in labels], device=device)
    seen = [probabilities(network.eval(), held_out.to(device)).argmax(1) for network in networks]
    return [float((found == target).float().mean()) for found in seen]


def learn(network: nn.Module, images: Tensor, target: Tensor, steps: int, seed: int) -> None:
    """Cross-entropy on images that are moved by up to two pixels, those in colour also mirrored."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps + 1)
    rng = torch.Generator().manual_seed(seed)
    with seeded(images.device, seed):
        for _ in range(steps):
            chosen = torch.randint(len(images), (BATCH,), generator=rng).to(images.device)
            down, right, mirror = torch.randint(-2, 3, (3,), generator=rng).tolist()
            x = images[chosen].roll((down, right), (2, 3))
            x = x.flip(3) if mirror > 0 and x.shape[1] == 3 else x
            loss = F.cross_entropy(network(x), target[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
