"""All that a plugin declares with: the contracts, the specs of components and the hook marker.

Importing this module imports neither torch nor numpy; tensors are named for type checkers only. The operators
of a plugin add `rethaw.ops` (tensor helpers) to this, and nothing else of rethaw.

A plugin in three steps: a frozen dataclass of parameters, a class that follows one of the protocols below, and
a hook that returns the spec which ties the two together.

    @dataclass(frozen=True)
    class Fade:
        '''Fade towards black.

        floor: the brightness that is left at full strength, in [0, 1].
        '''
        floor: Annotated[float, Ge(0), Le(1)] = 0.0

    @hookimpl
    def rethaw_degradations():
        return [degradation("fade", Fade, target="my_package.ops:FadeOp", summary="Fade towards black.")]
"""

from __future__ import annotations

import pluggy

from rethaw.api.contracts import (
    Backbone,
    Classifier,
    Conditioner,
    Dataset,
    Degradation,
    Figure,
    HasAdjoint,
    HasCoefficients,
    HasPrior,
    HasSVD,
    Importer,
    InfersState,
    Metric,
    Observation,
    Prior,
    Restore,
    Sampler,
    figure,
    has_adjoint,
    has_coefficients,
    has_prior,
    has_svd,
    infers_state,
)
from rethaw.api.guides import Guide, TowardValues
from rethaw.api.specs import (
    Context,
    Spec,
    backbone,
    classifier,
    conditioner,
    dataset,
    degradation,
    guide,
    importer,
    metric,
    prior,
    sampler,
)
from rethaw.api.values import SVD, Cond, Imported, Item, Prediction, RethawError, Rng, State, Step

__all__ = [
    "SVD",
    "Backbone",
    "Classifier",
    "Cond",
    "Conditioner",
    "Context",
    "Dataset",
    "Degradation",
    "Figure",
    "Guide",
    "HasAdjoint",
    "HasCoefficients",
    "HasPrior",
    "HasSVD",
    "Imported",
    "Importer",
    "InfersState",
    "Item",
    "Metric",
    "Observation",
    "Prediction",
    "Prior",
    "Restore",
    "RethawError",
    "Rng",
    "Sampler",
    "Spec",
    "State",
    "Step",
    "TowardValues",
    "backbone",
    "classifier",
    "conditioner",
    "dataset",
    "degradation",
    "figure",
    "guide",
    "has_adjoint",
    "has_coefficients",
    "has_prior",
    "has_svd",
    "hookimpl",
    "importer",
    "infers_state",
    "metric",
    "prior",
    "sampler",
]

hookimpl = pluggy.HookimplMarker("rethaw")
