"""The JSON Schema of a pipeline YAML, with every installed component: what an editor completes and checks with."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import fields
from typing import Any
from warnings import catch_warnings

from rethaw.api import RethawError, Spec
from rethaw.config.check import adapter
from rethaw.config.hosts import HOSTS, host_of
from rethaw.config.model import LISTS, SECTIONS, SINGLE, Config
from rethaw.describe import docstring, param_docs
from rethaw.plugins import CORE
from rethaw.registry import Registry


def json_schema(registry: Registry) -> dict[str, Any]:
    """Draft 2020-12. Loads every plugin's light module; a component that cannot be described is left out."""
    defs: dict[str, Any] = {}
    for key, kind in sorted({key if key in HOSTS else kind: kind for key, kind in (SINGLE | LISTS).items()}.items()):
        shapes = component_schemas(registry, kind, host_of(key, kind), defs)
        named = {"type": "string", "enum": [name for shape in shapes for name in shape["properties"]["use"]["enum"]]}
        defs[key] = {"anyOf": [named, *shapes] if shapes else [{"type": "string"}]}
    properties: dict[str, Any] = {"version": {"const": 1}, "extends": {"type": "string"}, "seed": {"type": "integer"}}
    properties |= {key: object_schema(cls, defs) for key, cls in SECTIONS.items()}
    properties |= {key: {"$ref": f"#/$defs/{key if key in HOSTS else kind}"} for key, kind in SINGLE.items()}
    properties |= {
        key: {"anyOf": [{"$ref": f"#/$defs/{kind}"}, {"type": "array", "items": {"$ref": f"#/$defs/{kind}"}}]}
        for key, kind in LISTS.items()
    }
    docs = param_docs(Config)
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


def component_schemas(registry: Registry, kind: str, host_cls: type, defs: dict[str, Any]) -> list[dict[str, Any]]:
    """The schema of each component of a kind, and in `defs` what they refer to."""
    host, schemas = object_schema(host_cls, defs), []
    for full, spec in (registry.find(kind, name) for name in registry.names(kind)):
        with suppress(RethawError), registry.guarded(full, "describing it"), catch_warnings(action="ignore"):
            own_defs: dict[str, Any] = {}
            schema = component_schema(full, spec, host, own_defs)
            json.dumps([schema, own_defs], allow_nan=False)  # raises for a default that is no data
            schemas.append(schema)
            defs.update(own_defs)
    return schemas


def component_schema(full: str, spec: Spec, host: dict[str, Any], defs: dict[str, Any]) -> dict[str, Any]:
    """One component: `use` with its names, its own parameters, the host's keys."""
    own = object_schema(spec.params, defs, f"{full}.")
    names = [full, spec.name] if full.startswith(f"{CORE}.") else [full]
    properties = {"use": {"enum": names}, **host["properties"], **own["properties"]}
    if "of" in properties:
        member = {"$ref": f"#/$defs/{spec.traits.get('of', spec.kind) if 'of' in own['properties'] else 'degradation'}"}
        several = {"type": "array", "items": member, "minItems": 1}
        properties["of"] = several if spec.traits.get("of", spec.kind) == spec.kind else {"anyOf": [member, several]}
    return {
        "type": "object",
        "title": full,
        "description": spec.summary,
        "properties": properties,
        "required": ["use", *own.get("required", [])],
        "additionalProperties": False,
    }


def object_schema(cls: type, defs: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """A dataclass as pydantic describes it, with each key's line of the docstring. prefix: of the names in `defs`."""
    schema = adapter(cls).json_schema(ref_template=f"#/$defs/{prefix}{{model}}")
    defs.update({f"{prefix}{name}": part for name, part in schema.pop("$defs", {}).items()})
    schema.setdefault("properties", {})
    docs = param_docs(cls)
    for f in fields(cls):
        if f.name in docs and f.name in schema["properties"]:
            schema["properties"][f.name]["description"] = docs[f.name]
    schema["additionalProperties"] = False
    schema["description"] = docstring(cls).strip().partition("\n")[0]
    return schema
