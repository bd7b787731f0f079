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
MAX_DEPTH = 50
MAX_BYTES = 1_000_000
MAX_INT = 2**63


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
        self.problems = sorted(dict.fromkeys(problems), key=lambda p: (p.mark.source, p.mark.line, p.mark.column))
        super().__init__("\n".join(map(str, self.problems)))


class Loader(yaml.SafeLoader):
    """PyYAML with the scalars of YAML 1.2's core schema, bounded, and with every tag that is written out marked."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - as in PyYAML
    depth = count = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """One node and all below it; stops at the first that is too deep or one too many."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        self.depth, self.count = self.depth + 1, self.count + 1
        if self.depth > MAX_DEPTH or self.count > MAX_NODES:
            limit = f"nested more than {MAX_DEPTH} deep" if self.depth > MAX_DEPTH else f"more than {MAX_NODES} values"
            raise yaml.MarkedYAMLError(problem=f"this is {limit}", problem_mark=event.start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        if node is not None and getattr(event, "tag", None) is not None:
            node.tag = EXPLICIT + event.tag
        return node


Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$"), list("-+0123456789")
)
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    list("-+0123456789."),
)
EXPLICIT = "explicit "


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
    root = compose(text, source)
    if root is None:
        raise ConfigError([Problem(Mark(source), "the file is empty", "Start with: version: 1")])
    marked = convert(root, source)
    if not isinstance(marked.value, dict):
        raise ConfigError([Problem(marked.mark, "a pipeline is a mapping of keys, such as version: 1")])
    return marked


def parse_value(text: str, source: str) -> Any:
    """The value of one override, `key=TEXT`, read as YAML (so lists and mappings in flow style work too)."""
    root = compose(text, source)
    return None if root is None else convert(root, source).plain()


def compose(text: str, source: str) -> yaml.Node | None:
    """PyYAML's nodes; whatever it cannot read is one ConfigError."""
    try:
        return yaml.compose(text, Loader=Loader)
    except yaml.MarkedYAMLError as error:
        at = error.problem_mark or error.context_mark
        mark = Mark(source, at.line + 1, at.column + 1) if at else Mark(source)
        message = error.problem or error.context
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        mark = Mark(source, before.count("\n") + 1, len(before) - before.rfind("\n"))
        message = f"the character U+{ord(text[error.position]):04X} is not allowed"
    except (ValueError, OverflowError):  # chr() in PyYAML
        mark, message = Mark(source), 'an escape such as "\\UFFFFFFFF" stands for no character'
    raise ConfigError([Problem(mark, f"not valid YAML: {message}")])


def convert(root: yaml.Node, source: str) -> Marked:
    """Nodes to Marked values; every mistake in them at once."""
    converter = Converter(source)
    marked = converter.convert(root, ())
    if converter.problems:
        raise ConfigError(converter.problems)
    return marked


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
        if node.tag.startswith(EXPLICIT):
            tag = node.tag.removeprefix(EXPLICIT).replace("tag:yaml.org,2002:", "!!")
            self.problems.append(Problem(mark, f"the tag {tag} is not allowed: a pipeline holds plain data only"))
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
        if tag == "int":
            value = int(text, 0) if text[:2] in ("0o", "0x") else int(text[:40])
            if len(text) > 40 or abs(value) >= MAX_INT:
                self.problems.append(Problem(mark, f"{text[:40]}{'…' * (len(text) > 40)} is too large a number"))
            return value
        if tag == "float":
            return float(re.sub(r"\.(inf|nan)", r"\1", text.lower()))
        if not text.isprintable() and re.search("[\0\ud800-\udfff]", text):
            self.problems.append(Problem(mark, "the text holds a character that no text has"))
        return {"null": None, "bool": text.lower() == "true"}.get(tag, text)
