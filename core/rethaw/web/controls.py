"""What a page needs to let people set a component's parameters, from the parameters' class alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import yaml

from rethaw.api import Spec
from rethaw.describe import param_docs


@dataclass(frozen=True)
class Control:
    """One parameter: a number within bounds, a choice, a switch, or any YAML as text. `value` is the default."""

    name: str
    about: str
    value: Any
    kind: Literal["number", "choice", "switch", "text"]
    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 1.0
    whole: bool = False


def controls(spec: Spec) -> list[Control]:
    """A control for each parameter of a component that has a default."""
    hints, docs = get_type_hints(spec.params, include_extras=True), param_docs(spec.params)
    return [control(f, hints[f.name], docs.get(f.name, "")) for f in fields(spec.params) if default(f) is not MISSING]


def default(f: Field[Any]) -> Any:
    """A field's default, MISSING where it has none."""
    return f.default if f.default_factory is MISSING else f.default_factory()


def control(f: Field[Any], hint: Any, about: str) -> Control:
    """The control that suits a field's type."""
    plain, bounds = (get_args(hint)[0], get_args(hint)[1:]) if get_origin(hint) is Annotated else (hint, ())
    value = default(f)
    if get_origin(plain) is Literal:
        return Control(f.name, about, value, "choice", get_args(plain))
    if plain is bool:
        return Control(f.name, about, value, "switch")
    if plain in (int, float) and value is not None:
        low, high = span(bounds, float(value))
        return Control(f.name, about, value, "number", low=low, high=high, whole=plain is int)
    return Control(f.name, about, value, "text")


def span(bounds: Sequence[Any], value: float) -> tuple[float, float]:
    """From where to where a slider goes: as the type says, and else about four times the default."""
    found = {key: float(getattr(b, key)) for b in bounds for key in ("ge", "gt", "le", "lt") if hasattr(b, key)}
    low = found.get("ge", found.get("gt", min(0.0, 4 * value)))
    high = found.get("le", found.get("lt", max(4 * abs(value), low + 1)))
    return low, max(high, value)


def component(name: str, spec: Spec, given: Mapping[str, Any]) -> dict[str, Any]:
    """A component as YAML has it: what is not at its default."""
    own = {c.name: c.value for c in controls(spec)}
    return {"use": name} | {key: value for key, value in given.items() if key in own and value != own[key]}


def pipeline_text(items: Sequence[Mapping[str, Any]]) -> str:
    """A pipeline that trains a restorer of a stack of degradations."""
    lines = "\n".join(f"  - {flow(item)}" for item in items)
    return (
        "version: 1\ndata: {use: core.folder, path: photos/, size: 64}\n"
        f"degradation:\n{lines}\nrestorer: {{prediction: residual}}\nsampler: {{use: core.cold, steps: 20}}\n"
    )


def flow(item: Mapping[str, Any]) -> str:
    """A mapping on one line of YAML."""
    text: str = yaml.safe_dump(dict(item), default_flow_style=True, sort_keys=False, width=10_000)
    return text.strip()


def parsed(text: str) -> Any:
    """What somebody typed, as YAML reads it."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text
