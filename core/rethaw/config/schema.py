"""The JSON Schema of a pipeline YAML, with every installed component: what an editor completes and checks with."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from pydantic import PydanticUserError

from rethaw.api import RethawError, Spec
from rethaw.config.check import adapter
from rethaw.config.hosts import HOSTS, host_of
from rethaw.config.model import LISTS, SECTIONS, SINGLE, Config
from rethaw.describe import docstring, param_docs
from rethaw.plugins import CORE
from rethaw.registry import Registry


def json_schema(registry: Registry) -> dict[str, Any]:
    """Draft 2020-12. Loads every plugin's light module; one that fails is left out."""
    defs: dict[str, Any] = {}
    places = {key if key in HOSTS else kind: kind for key, kind in (SINGLE | LISTS).items()}
    for key, kind in sorted(places.items()):
        found = [registry.find(kind, name) for name in registry.names(kind)]
        shapes = [shape for full, spec in found if (shape := component_schema(full, spec, host_of(key, kind), defs))]
        named = {"type": "string", "enum": [name for shape in shapes for name in shape["properties"]["use"]["enum"]]}
        defs[key] = {"anyOf": [named, *shapes] if shapes else [{"type": "string"}]}
    docs = param_docs(Config)
    properties: dict[str, Any] = {"version": {"const": 1}, "extends": {"type": "string"}, "seed": {"type": "integer"}}
    properties |= {key: object_schema(cls, defs) for key, cls in SECTIONS.items()}
    properties |= {key: {"$ref": f"#/$defs/{key if key in HOSTS else kind}"} for key, kind in SINGLE.items()}
    properties |= {
        key: {"anyOf": [{"$ref": f"#/$defs/{kind}"}, {"type": "array", "items": {"$ref": f"#/$defs/{kind}"}}]}
        for key, kind in LISTS.items()
    }
    for key, schema in properties.items():
        schema["description"] = docs.get(key, "The file or recipe that this one is laid over.")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "rethaw pipeline",
        "type": "object",
        "properties": dict(sorted(properties.items())),
        "additionalProperties": False,
        "required": ["degradation"],
        "$defs": defs,
    }


def component_schema(full: str, spec: Spec, host_cls: type, defs: dict[str, Any]) -> dict[str, Any] | None:
    """One component: `use` with its names, its own parameters, the host's keys. None if pydantic cannot say."""
    host = object_schema(host_cls, defs)
    try:
        own = object_schema(spec.params, defs)
    except (RethawError, PydanticUserError):
        return None
    names = [full, spec.name] if full.startswith(f"{CORE}.") else [full]
    properties = {"use": {"enum": names}, **host["properties"], **own["properties"]}
    if "of" in properties:
        members = spec.kind if "of" in own["properties"] else "degradation"
        properties["of"] = {"type": "array", "items": {"$ref": f"#/$defs/{members}"}, "minItems": 1}
    return {
        "type": "object",
        "title": full,
        "description": spec.summary,
        "properties": properties,
        "required": ["use", *own.get("required", [])],
        "additionalProperties": False,
    }


def object_schema(cls: type, defs: dict[str, Any]) -> dict[str, Any]:
    """A dataclass as pydantic describes it, with each key's line of the docstring."""
    schema = adapter(cls).json_schema()
    defs.update(schema.pop("$defs", {}))
    schema.setdefault("properties", {})
    docs = param_docs(cls)
    for f in fields(cls):
        if f.name in docs and f.name in schema["properties"]:
            schema["properties"][f.name]["description"] = docs[f.name]
    schema["additionalProperties"] = False
    schema["description"] = docstring(cls).strip().partition("\n")[0]
    return schema
