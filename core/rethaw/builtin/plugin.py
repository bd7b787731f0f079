"""The built-in plugin `core`: each kind's folder has the parameters and specs of its components in `params`."""

from __future__ import annotations

from rethaw.api import Spec, hookimpl
from rethaw.builtin.backbones import params as backbones
from rethaw.builtin.classifiers import params as classifiers
from rethaw.builtin.conditioners import params as conditioners
from rethaw.builtin.datasets import params as datasets
from rethaw.builtin.degradations import params as degradations
from rethaw.builtin.degradations import photo_params as photo
from rethaw.builtin.metrics import params as metrics
from rethaw.builtin.priors import params as priors
from rethaw.builtin.samplers.cold import params as cold
from rethaw.builtin.samplers.measured import params as measured
from rethaw.builtin.samplers.noise import params as noise


@hookimpl
def rethaw_degradations() -> list[Spec]:
    return [*degradations.SPECS, *photo.SPECS]


@hookimpl
def rethaw_backbones() -> list[Spec]:
    return backbones.SPECS


@hookimpl
def rethaw_conditioners() -> list[Spec]:
    return conditioners.SPECS


@hookimpl
def rethaw_classifiers() -> list[Spec]:
    return classifiers.SPECS


@hookimpl
def rethaw_samplers() -> list[Spec]:
    return [*cold.SPECS, *noise.SPECS, *measured.SPECS]


@hookimpl
def rethaw_datasets() -> list[Spec]:
    return datasets.SPECS


@hookimpl
def rethaw_metrics() -> list[Spec]:
    return metrics.SPECS


@hookimpl
def rethaw_priors() -> list[Spec]:
    return priors.SPECS
