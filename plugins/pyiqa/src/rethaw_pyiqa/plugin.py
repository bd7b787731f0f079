"""The light module of the plugin `pyiqa`: parameters and hooks. Imports neither torch nor pyiqa."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rethaw.api import Spec, hookimpl, metric

AT = "rethaw_pyiqa.metrics"


@dataclass(frozen=True)
class Niqe:
    """NIQE (Mittal 2013) by the pristine model that its authors published; less is better.

    weights: the file niqe_modelparameters.mat; by default where pyiqa keeps it.
    """

    weights: Path | None = None


@dataclass(frozen=True)
class Brisque:
    """BRISQUE (Mittal 2012): a support vector machine's opinion of distortions; less is better.

    weights: the file brisque_svm_weights.pth; by default where pyiqa keeps it.
    """

    weights: Path | None = None


@dataclass(frozen=True)
class Musiq:
    """MUSIQ (2108.05997): people's mean opinion, as a transformer predicts it from KonIQ-10k; more is better.

    weights: the file musiq_koniq_ckpt-e95806b9.pth; by default where pyiqa keeps it.
    """

    weights: Path | None = None


@dataclass(frozen=True)
class ClipIqa:
    """CLIP-IQA (2207.12396): whether CLIP finds an image good rather than bad, from 0 to 1; more is better.

    weights: CLIP's file RN50.pt; by default where pyiqa keeps it.
    """

    weights: Path | None = None


@hookimpl
def rethaw_metrics() -> list[Spec]:
    """Metrics that need no clean image."""
    return [
        metric("niqe", Niqe, target=f"{AT}:Niqe", summary="Naturalness, by its authors' clean pictures."),
        metric("brisque", Brisque, target=f"{AT}:Brisque", summary="Distortion, by natural scene statistics."),
        metric("musiq", Musiq, target=f"{AT}:Musiq", summary="People's mean opinion, as a transformer predicts it."),
        metric("clipiqa", ClipIqa, target=f"{AT}:ClipIqa", summary="Whether CLIP finds an image good."),
    ]
