"""Reads YAML as plain data that remembers where everything stands, and refuses what a config never needs.

YAML 1.2 scalars: `1e-4` is a number; `no`, `on` and `1:30` are strings. Tags, duplicate keys and alias bombs are
refused, so a file can hold data only: it can never import or run anything.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rethaw.api import RethawError

MAX_NODES = 20_000
MAX_BYTES = 1_000_000


@dataclass(frozen=True)
class Mark:
    """A place in a file, or a word of the command line (then without a line)."""

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


@dataclass
class Marked:
    """A value and its place: `value` is a scalar, a dict of Marked or a list of Marked; `keys` marks a dict's keys."""

    value: Any
    mark: Mark
    keys: dict[str, Mark] | None = None

    def plain(self) -> Any:
        """The value without marks."""
        if isinstance(self.value, dict):
            return {key: item.plain() for key, item in self.value.items()}
        if isinstance(self.value, list):
            return [item.plain() for item in self.value]
        return self.value


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in a config, where, and how to mend it."""

    mark: Mark
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.mark}: {self.message}" + (f"\n    {self.hint}" if self.hint else "")


class ConfigError(RethawError):
    """All that is wrong with a config, at once."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = sorted(problems, key=lambda p: (p.mark.source, p.mark.line, p.mark.column))
        super().__init__("\n".join(map(str, self.problems)))


class Loader(yaml.SafeLoader):
    """PyYAML with the scalars of YAML 1.2's core schema."""

    yaml_implicit_resolvers: dict[str, Any] = {}


Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$"), list("-+0123456789")
)
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"),
    list("-+0123456789."),
)
CORE_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "map", "seq")}


def read_yaml(path: Path) -> Marked:
    """Reads a file; every mistake in it is a ConfigError with its place."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise RethawError(f"{path} is larger than {MAX_BYTES // 1000} kB; that is no pipeline")
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise RethawError(f"{path} is not a text file in UTF-8 ({error.reason} at byte {error.start})") from error
    except OSError as error:
        raise RethawError(f"cannot read {path}: {error.strerror}") from error
    return parse_yaml(text, str(path))


def parse_yaml(text: str, source: str) -> Marked:
    """Parses one YAML document that is a mapping."""
    try:
        root = yaml.compose(text, Loader=Loader)
    except yaml.MarkedYAMLError as error:
        at = error.problem_mark or error.context_mark
        mark = Mark(source, at.line + 1, at.column + 1) if at else Mark(source)
        raise ConfigError([Problem(mark, f"not valid YAML: {error.problem or error.context}")]) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError([Problem(Mark(source), f"not valid YAML: {error}")]) from error
    if root is None:
        raise ConfigError([Problem(Mark(source), "the file is empty", "Start with: version: 1")])
    converter = Converter(source)
    marked = converter.convert(root, ())
    if not isinstance(marked.value, dict):
        raise ConfigError([Problem(marked.mark, "a pipeline is a mapping of keys, such as version: 1")])
    if converter.problems:
        raise ConfigError(converter.problems)
    return marked


def parse_scalar(text: str) -> Any:
    """The value of one override, `key=TEXT`, read as YAML (so lists and mappings in flow style work too)."""
    node = yaml.compose(text, Loader=Loader) if text.strip() else None
    return Converter("").convert(node, ()).plain() if node is not None else None


class Converter:
    """Turns PyYAML's nodes into Marked values, counting them, because aliases can multiply without end."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.problems: list[Problem] = []
        self.count = 0

    def convert(self, node: yaml.Node, above: tuple[int, ...]) -> Marked:
        """`above` holds the nodes that this one is in: one that contains itself is refused."""
        mark = Mark(self.source, node.start_mark.line + 1, node.start_mark.column + 1)
        self.count += 1
        if self.count > MAX_NODES or id(node) in above:
            raise ConfigError([Problem(mark, f"aliases unfold into more than {MAX_NODES} values, or into themselves")])
        if node.tag not in CORE_TAGS:
            self.problems.append(Problem(mark, f"the tag {node.tag!r} is not allowed: a pipeline holds plain data only"))
            return Marked(None, mark)
        if isinstance(node, yaml.SequenceNode):
            return Marked([self.convert(child, (*above, id(node))) for child in node.value], mark)
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, mark, (*above, id(node)))
        return Marked(self.scalar(node, mark), mark)

    def mapping(self, node: yaml.MappingNode, mark: Mark, above: tuple[int, ...]) -> Marked:
        result: dict[str, Marked] = {}
        keys: dict[str, Mark] = {}
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            at = Mark(self.source, key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            if not isinstance(key, str):
                self.problems.append(Problem(at, "a key must be a plain word"))
            elif key in result:
                self.problems.append(Problem(at, f"the key {key!r} stands here twice (first at {keys[key]})"))
            else:
                result[key], keys[key] = self.convert(value_node, above), at
        return Marked(result, mark, keys)

    def scalar(self, node: yaml.Node, mark: Mark) -> Hashable:
        text, tag = str(node.value), node.tag.rpartition(":")[2]
        try:
            if tag == "int":
                return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
            if tag == "float":
                return float(re.sub(r"\.(inf|nan)", r"\1", text.lower()))
        except ValueError as error:
            self.problems.append(Problem(mark, f"{text[:40]!r} is no number: {error}"))
        return {"null": None, "bool": text.lower() == "true"}.get(tag, text)
