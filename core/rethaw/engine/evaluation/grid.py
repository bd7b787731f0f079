"""Every combination of samplers, steps and consistencies, each a contestant with a name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from itertools import product

from rethaw.config.model import Component, Consistency
from rethaw.engine.evaluation.evaluate import Contestant
from rethaw.engine.sampling.how import AS_PIPELINE, How
from rethaw.engine.sampling.walking import Walker

OFF = "off"
"""The word for no consistency."""


def grid(
    walker: Walker,
    samplers: Sequence[str | Component],
    steps: Sequence[int] = (),
    consistencies: Mapping[str, Consistency | None] | None = None,
    how: How = AS_PIPELINE,
) -> dict[str, Contestant]:
    """Contestants by name, such as `core.cold 10 steps, consistency observation`; what does not differ is left out.

    steps: as the samplers say where there are none; one that takes no steps is there once. consistencies: by the word
    that names them; as the pipeline says where there are none. how: what all share.
    """
    found: dict[str, Contestant] = {}
    for sampler, word, count in product(samplers, consistencies or (None,), steps or (None,)):
        item = walker.parts.sampler_item(sampler, count)
        name = sampler_name(sampler, item)
        of_word = f", consistency {word}" if consistencies and len(consistencies) > 1 and word != OFF else ""
        of_steps = f" {plural(count)}" if count and len(steps) > 1 and hasattr(item.params, "steps") else ""
        by = with_consistency(walker, consistencies[word]) if consistencies and word is not None else walker
        contestant = Contestant(by, replace(how, sampler=sampler, steps=count), name + of_word)
        found.setdefault(name + of_steps + of_word, contestant)
    return found


def plural(steps: int) -> str:
    return f"{steps} step{'s' * (steps != 1)}"


def sampler_name(given: str | Component, item: Component) -> str:
    """A sampler's name, with the parameters that are not at their defaults where it was given with parameters."""
    if isinstance(given, str):
        return given
    own = {
        f.name: getattr(item.params, f.name) for f in fields(item.params) if f.default != getattr(item.params, f.name)
    }
    return " ".join([item.use, *(f"{key}={value}" for key, value in own.items() if key != "steps")])


def with_consistency(walker: Walker, consistency: Consistency | None) -> Walker:
    """A walker with another consistency."""
    parts = walker.parts
    return walker.of(replace(parts, config=replace(parts.config, consistency=consistency)))
