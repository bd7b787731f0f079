"""Reads YAML as plain data that remembers where everything stands, and refuses what a config never needs.

YAML 1.2 scalars: `1e-4` is a number; `no`, `on` and `1:30` are strings. Tags, duplicate keys and alias bombs are
refused, so a file can hold data only: it can never import or run anything.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

import yaml
from yaml.composer import Composer
from yaml.resolver import Resolver

from rethaw.api import RethawError
from rethaw.config.marks import ConfigError, Mark, Marked, Problem, Scalar, Unread

MAX_NODES = 20_000
MAX_DEPTH = 50
MAX_BYTES = 1_000_000
MAX_INT = 2**63
MAX_SLOW = 50_000
"""Texts longer than this are read by libyaml alone, where there is one."""


class Bounded(Composer, Resolver):
    """Nodes of a document with the scalars of YAML 1.2's core schema, bounded; a tag that is written out is marked."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - as in PyYAML
    depth = count = 0
    check_event: Any  # a parser's
    peek_event: Any
    get_event: Any

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """One node and all below it; stops at the first that is too deep or one too many."""
        event = self.peek_event()
        self.depth, self.count = self.depth + 1, self.count + 1
        if self.depth > MAX_DEPTH or self.count > MAX_NODES:
            limit = f"nested more than {MAX_DEPTH} deep" if self.depth > MAX_DEPTH else f"more than {MAX_NODES} values"
            raise yaml.MarkedYAMLError(problem=f"this is {limit}", problem_mark=event.start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        if node is not None and getattr(event, "tag", None) is not None:
            node.tag = EXPLICIT + event.tag
        return node


Bounded.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
Bounded.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
Bounded.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$"), list("-+0123456789")
)
Bounded.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    list("-+0123456789."),
)
EXPLICIT = "explicit "


class Loader(Bounded, yaml.SafeLoader):
    """PyYAML, which says best what is wrong with a text."""


class FastLoader(Bounded):
    """The same on libyaml's parser, which takes a tenth of the time."""

    def __init__(self, text: str) -> None:
        from yaml._yaml import CParser

        Composer.__init__(self)
        Resolver.__init__(self)
        parser = CParser(text)
        self.check_event, self.peek_event, self.get_event = parser.check_event, parser.peek_event, parser.get_event
        self.dispose = parser.dispose


def read_yaml(path: Path) -> Marked:
    """Reads a file; every mistake in it is a ConfigError with its place."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise RethawError(f"{path} is larger than {MAX_BYTES // 1000} kB; that is no pipeline")
        content = path.read_bytes()
    except OSError as error:
        raise RethawError(f"cannot read {path}: {error.strerror}") from error
    return parse_yaml(decode(content, str(path)), str(path))


def decode(content: bytes, source: str) -> str:
    """A file's text, which is UTF-8; the first byte that is not has its place."""
    try:
        return content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        mark = mark_after(content[: error.start].decode("utf-8"), source)
        hint = "Save it as UTF-8." if b"\0" not in content or content[:2] in UTF_16 else ""
        raise ConfigError([Problem(mark, "the file is not text in UTF-8", hint)]) from error


UTF_16 = (b"\xff\xfe", b"\xfe\xff")
"""Byte order marks."""


def mark_after(before: str, source: str) -> Mark:
    """The place of the character that follows this text."""
    return Mark(source, before.count("\n") + 1, len(before) - before.rfind("\n"))


def parse_yaml(text: str, source: str) -> Marked:
    """Parses one YAML document that is a mapping."""
    root = compose(text, source)
    if root is None:
        raise ConfigError([Problem(Mark(source, 1, 1), "the file is empty", "Start with: version: 1")])
    marked = convert(root, Converter(source))
    if not isinstance(marked.value, dict):
        raise ConfigError([Problem(marked.mark, "a pipeline is a mapping of keys, such as version: 1")])
    return marked


def parse_word(text: str, mark: Mark) -> Marked:
    """The value of an override, KEY=TEXT: TEXT itself, and what it is as YAML (so lists and mappings work too)."""
    try:
        root = compose(text, mark.source)
        read = convert(root, WordConverter(mark)) if root else Marked(None, mark)
    except ConfigError as error:
        read = Marked(Unread(tuple(Problem(mark, problem.message) for problem in error.problems)), mark)
    read.text = text
    return read


def compose(text: str, source: str) -> yaml.Node | None:
    """PyYAML's nodes; whatever it cannot read is one ConfigError."""
    if yaml.__with_libyaml__:
        try:
            return yaml.compose(text, Loader=cast("Any", FastLoader))
        except yaml.MarkedYAMLError as error:
            if len(text) > MAX_SLOW:
                raise unreadable(error, source) from error
        except (yaml.YAMLError, ValueError, OverflowError):
            pass
    try:
        return yaml.compose(text, Loader=Loader)
    except yaml.MarkedYAMLError as error:
        raise unreadable(error, source) from error
    except yaml.reader.ReaderError as error:
        mark = mark_after(text[: error.position], source)
        message = f"the character U+{ord(text[error.position]):04X} is not allowed"
    except (ValueError, OverflowError):  # chr() in PyYAML
        mark, message = Mark(source, 1, 1), 'an escape such as "\\UFFFFFFFF" stands for no character'
    raise ConfigError([Problem(mark, f"not valid YAML: {message}")])


def unreadable(error: yaml.MarkedYAMLError, source: str) -> ConfigError:
    """What is no YAML, and where."""
    at = error.problem_mark or error.context_mark
    mark = Mark(source, at.line + 1, at.column + 1) if at else Mark(source, 1, 1)
    return ConfigError([Problem(mark, f"not valid YAML: {error.problem or error.context}")])


def convert(root: yaml.Node, converter: Converter) -> Marked:
    """Nodes to Marked values; every mistake in them at once."""
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

    def mark(self, node: yaml.Node) -> Mark:
        """Where a node stands."""
        return Mark(self.source, node.start_mark.line + 1, node.start_mark.column + 1)

    def convert(self, node: yaml.Node, above: tuple[int, ...]) -> Marked:
        """`above` holds the nodes that this one is in: one that contains itself is refused."""
        mark = self.mark(node)
        self.count += 1
        if self.count > MAX_NODES or id(node) in above:
            raise ConfigError([Problem(mark, f"aliases unfold into more than {MAX_NODES} values, or into themselves")])
        if self.tagged(node, mark):
            return Marked(None, mark)
        if isinstance(node, yaml.SequenceNode):
            return Marked([self.convert(child, (*above, id(node))) for child in node.value], mark)
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, mark, (*above, id(node)))
        return Marked(self.scalar(node, mark), mark)

    def tagged(self, node: yaml.Node, mark: Mark) -> bool:
        """Whether a node has a tag, which is a mistake."""
        if node.tag.startswith(EXPLICIT):
            tag = shortened(node.tag.removeprefix(EXPLICIT).replace("tag:yaml.org,2002:", "!!"))
            self.problems.append(Problem(mark, f"the tag {tag} is not allowed: a pipeline holds plain data only"))
        return node.tag.startswith(EXPLICIT)

    def mapping(self, node: yaml.MappingNode, mark: Mark, above: tuple[int, ...]) -> Marked:
        result: dict[str, Marked] = {}
        keys: dict[str, Mark] = {}
        for key_node, value_node in node.value:
            key, at = key_node.value, self.mark(key_node)
            if self.tagged(key_node, at):
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                self.problems.append(Problem(at, "a key must be a plain word"))
            elif key == "<<":
                self.problems.append(Problem(at, "<<, which merges mappings, is not allowed", MERGE_HINT))
            elif key in result:
                self.problems.append(
                    Problem(at, f"the key {shortened(key)!r} stands here twice (first at {keys[key]})")
                )
            else:
                result[key], keys[key] = self.convert(value_node, above), at
        return Marked(result, mark, keys)

    def scalar(self, node: yaml.Node, mark: Mark) -> Scalar:
        text, tag = str(node.value), node.tag.rpartition(":")[2]
        if tag == "int":
            value = int(text, 0) if text[:2] in ("0o", "0x") else int(text[:40])
            if len(text) > 40 or abs(value) >= MAX_INT:
                self.problems.append(Problem(mark, f"{text[:40]}{'…' * (len(text) > 40)} is too large a number"))
            return value
        if tag == "float":
            return float(re.sub(r"\.(inf|nan)", r"\1", text.lower()))
        if impossible(text):
            self.problems.append(Problem(mark, IMPOSSIBLE))
        return {"null": None, "bool": text.lower() == "true"}.get(tag, text)


class WordConverter(Converter):
    """The same for a word of the command line: everything stands at one place, and scalars keep their text."""

    def __init__(self, mark: Mark) -> None:
        super().__init__(mark.source)
        self.word = mark

    def mark(self, node: yaml.Node) -> Mark:
        return self.word

    def convert(self, node: yaml.Node, above: tuple[int, ...]) -> Marked:
        found = super().convert(node, above)
        if isinstance(node, yaml.ScalarNode):
            found.text = node.value
        return found


MERGE_HINT = "Write its keys out here, or lay this file over another one: extends: base.yaml"
IMPOSSIBLE = "the text holds a character that no text has"


def impossible(text: str) -> bool:
    """Whether a text holds NUL or half of a character, which no file or file name can hold."""
    return not text.isprintable() and re.search("[\0\ud800-\udfff]", text) is not None


def shortened(text: str, most: int = 60) -> str:
    """A text that fits into a message."""
    return text if len(text) <= most else f"{text[: most - 3]}…"
