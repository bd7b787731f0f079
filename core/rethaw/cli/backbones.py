"""`rethaw backbones`: networks by name, with their size and what a call of them costs."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.table import Table

from rethaw.api import RethawError
from rethaw.cli.common import out, say

if TYPE_CHECKING:
    from rethaw.api import Spec
    from rethaw.registry import Registry

UNITS = {"K": 1e3, "M": 1e6, "G": 1e9}


class Row(NamedTuple):
    """A network: its backbone, the parameters that make it, how many weights it has, multiply-adds of one image."""

    name: str
    given: Mapping[str, Any]
    params: int
    macs: int


def backbones(
    pattern: Annotated[str, typer.Argument(help="Part of a name, or a pattern: 'convnext*'.")] = "",
    top: Annotated[int, typer.Option(min=1, help="How many to list.")] = 20,
    max_params: Annotated[str | None, typer.Option(help="Only networks of at most so many weights: 5M.")] = None,
    size: Annotated[int, typer.Option(min=1, help="Side of the images that multiply-adds are counted for.")] = 64,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
) -> None:
    """List backbones and the encoders that they can have, with their weights and multiply-adds.

    A network is built as its parameters say, without any memory for its weights, and the whole of it is counted.

    [bold]Examples[/]

        rethaw backbones

        rethaw backbones 'mobilenetv3*' --max-params 3M --top 5
    """
    from rethaw.registry import Registry

    registry, most = Registry(), number(max_params) if max_params else None
    found = list(islice(rows(registry, pattern, most, size), top))
    if not found:
        limit = f" of at most {max_params} weights" if max_params else ""
        raise RethawError(f"no backbone{limit} matches {pattern!r}", "rethaw backbones lists where encoders come from.")
    if as_json:
        print(json.dumps([{**row._asdict(), "given": dict(row.given)} for row in found], indent=2))
        return
    table = Table("backbone", "parameters", "weights", f"multiply-adds at {size} px", box=None)
    for row in found:
        given = ", ".join(f"{key}: {value}" for key, value in row.given.items())
        table.add_row(row.name, given, human(row.params), human(row.macs))
    out.print(table)
    if not pattern:
        for name, names in offers(registry).items():
            say(f"\n{name} takes {len(names)} encoders; list some by name: rethaw backbones 'resnet*'")


def rows(registry: Registry, pattern: str, most: float | None, size: int) -> Iterator[Row]:
    """The networks that match, by name; those that cannot be built, or are too large, are passed over."""
    for name, given in candidates(registry, pattern):
        try:
            params, macs = cost(registry, name, given, size)
        except RethawError:  # a variant that has no features
            continue
        if most is None or params <= most:
            yield Row(name, given, params, macs)


def candidates(registry: Registry, pattern: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Backbones, then variants of them, whose name matches; without a pattern backbones only."""
    glob = (pattern if any(c in pattern for c in "*?[") else f"*{pattern}*").lower()
    for name in registry.names("backbone"):
        if fnmatch.fnmatchcase(name.lower(), glob):
            yield name, {}
    for name, variants in offers(registry).items() if pattern else ():
        for variant, given in variants.items():
            if fnmatch.fnmatchcase(variant.lower(), glob):
                yield name, given


def offers(registry: Registry) -> dict[str, Mapping[str, Mapping[str, Any]]]:
    """The variants of each backbone that has some."""
    specs = {name: registry.find("backbone", name)[1] for name in registry.names("backbone")}
    return {name: variants_of(spec) for name, spec in specs.items() if spec.traits.get("variants")}


def variants_of(spec: Spec) -> Mapping[str, Mapping[str, Any]]:
    """Imports and asks what the trait `variants` names."""
    import importlib

    module, _, function = spec.traits["variants"].partition(":")
    found: Mapping[str, Mapping[str, Any]] = getattr(importlib.import_module(module), function)()
    return found


def cost(registry: Registry, name: str, given: Mapping[str, Any], size: int) -> tuple[int, int]:
    """Weights, and multiply-adds for one image (3, size, size), padded as the host pads it; nothing is computed."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from rethaw.api import Context

    params = registry.find("backbone", name)[1].params(**given)
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        network = registry.build("backbone", name, params, Context(3, 3)).eval()
        before = counter.get_total_flops()
        multiple = getattr(network, "multiple", 1)
        side = size + -size % multiple
        network(torch.empty(1, 3, side, side), torch.empty(1), {})
    return sum(p.numel() for p in network.parameters()), (counter.get_total_flops() - before) // 2


def number(text: str) -> float:
    """5M is 5e6; K, M and G. Raises RethawError for what is none."""
    digits, unit = (text[:-1], UNITS[text[-1].upper()]) if text[-1:].upper() in UNITS else (text, 1.0)
    try:
        return float(digits) * unit
    except ValueError:
        raise RethawError(f"--max-params takes a number such as 500K or 5M, not {text!r}") from None


def human(count: int) -> str:
    """5,123,456 is 5.12 M."""
    for unit, factor in reversed(UNITS.items()):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return str(count)
