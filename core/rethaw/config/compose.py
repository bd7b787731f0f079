"""Puts a config together: `extends`, then the overrides of the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rethaw.api import RethawError
from rethaw.config.find import find_file
from rethaw.config.marks import ConfigError, Mark, Marked, Problem, marked
from rethaw.config.model import DEFAULTS, LISTS, SINGLE
from rethaw.config.yaml import MAX_DEPTH, parse_word, read_yaml, shortened
from rethaw.plugins import CORE

MAX_EXTENDS = 20
"""So many files a chain of `extends` may have."""


def load_tree(path: Path, above: tuple[Path, ...] = ()) -> Marked:
    """A file with all that it extends merged under it. above: the files that extend this one, resolved."""
    path = path.resolve() if above else path
    tree = read_yaml(path)
    base = tree.entries.pop("extends", None)
    mark = tree.keys.pop("extends", tree.mark)
    if base is None or base.value is None:
        return tree
    if not isinstance(base.value, str):
        raise ConfigError([Problem(base.mark, "extends names one file or recipe")])
    above = (*above, path.resolve())
    if len(above) > MAX_EXTENDS:
        raise ConfigError([Problem(mark, f"this is the end of a chain of more than {MAX_EXTENDS} files by extends")])
    try:
        found = find_file(base.value, path.parent).resolve()
    except RethawError as error:
        raise ConfigError([Problem(base.mark, f"extends: {error.message}", error.hint)]) from error
    if found in above:
        wrong = f"{base.value} extends this file, so they go round in a circle"
        raise ConfigError([Problem(mark, wrong)])
    return merge(load_tree(found, above), tree)


def merge(base: Marked, over: Marked) -> Marked:
    """Mappings merge key by key; lists and scalars are replaced, and so is a component of another name."""
    if not isinstance(over.value, dict):
        return over
    base = as_component(base)
    if not isinstance(base.value, dict) or ("use" in over.value and full_name(over) != full_name(base)):
        return over
    value, keys = dict(base.value), dict(base.keys)
    for key, item in over.value.items():
        value[key] = merge(value[key], item) if key in value else item
        keys[key] = over.place(key)
    return Marked(value, over.mark, keys)


def as_component(node: Marked) -> Marked:
    """A component that is given by its bare name, as the mapping that can take parameters."""
    if not isinstance(node.value, str):
        return node
    return Marked({"use": Marked(node.value, node.mark)}, node.mark, {"use": node.mark})


def full_name(node: Marked) -> str:
    """The component that a mapping names; `cold` is `core.cold`."""
    use = str(node.entries["use"].plain()) if "use" in node.entries else ""
    return use if "." in use else f"{CORE}.{use}"


def override(tree: Marked, overrides: Sequence[str]) -> Marked:
    """Applies `dotted.path=value` words; an item of a list is named by its id, its component or its number."""
    problems = []
    for word in overrides:
        mark = Mark(f"command line: {printable(word)}")
        path, equals, text = word.partition("=")
        try:
            if not equals or not path:
                raise ValueError("an override is key=value, such as train.steps=1000")
            if path == "extends":
                raise ValueError("extends stands in a file only: it is followed before overrides are read")
            if path.count(".") > MAX_DEPTH:
                raise ValueError(f"no key of a pipeline lies more than {MAX_DEPTH} deep")
            assign(tree, path.split("."), parse_word(text, mark))
        except ValueError as error:
            problems.append(Problem(mark, str(error)))
    if problems:
        raise ConfigError(problems)
    return tree


def printable(word: str) -> str:
    """A word of the command line, short and without what a terminal would obey."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in shortened(word, 80))


def assign(tree: Marked, path: list[str], value: Marked) -> None:
    """Sets one value, making the mappings on the way."""
    node = tree
    for depth, word in enumerate(path[:-1]):
        node = step_into(node, word, ".".join(path[: depth + 1]), value.mark)
    last = path[-1]
    if isinstance(node.value, list):
        node.value[item_index(node, last, ".".join(path))] = value
    elif isinstance(node.value, dict):
        node.value[last] = value
        node.keys[last] = value.mark
    else:
        raise ValueError(f"{shortened('.'.join(path[:-1]))} is a plain value, it has no {shortened(last)!r}")


def step_into(node: Marked, word: str, path: str, mark: Mark) -> Marked:
    """What `word` names in a node; a mapping that is not there yet is made, from the default if it has one."""
    if isinstance(node.value, list):
        at = item_index(node, word, path)
        node.value[at] = as_component(node.value[at])
        return node.value[at]
    if not isinstance(node.value, dict):
        raise ValueError(f"{shortened(path)}: there is a plain value where {shortened(word)!r} is looked for")
    if word not in node.value and item_id(node) == word:
        return node  # `degradation.blur.…` where the degradation is a single mapping, not a list
    if word not in node.value or node.value[word].value is None:
        node.value[word] = marked(DEFAULTS.get(path, {}), mark)
        node.keys[word] = mark
    if path in SINGLE or path in LISTS:
        node.value[word] = as_component(node.value[word])
    return node.value[word]


def item_id(item: Marked) -> str | None:
    """An item's id: the one it gives, else the last part of its component's name."""
    plain = as_component(item).plain()
    if not isinstance(plain, dict):
        return None
    return str(plain.get("id") or str(plain.get("use") or "").rpartition(".")[2]) or None


def item_index(node: Marked, word: str, path: str) -> int:
    """The place in a list of the item that `word` names."""
    ids = [item_id(item) for item in node.items]
    if word in ids:
        return ids.index(word)
    if word.isdecimal() and len(word) < 6 and int(word) < len(ids):
        return int(word)
    known = shortened(", ".join(map(str, ids)), 400) or "none"
    raise ValueError(f"{shortened(path)}: there is no item {shortened(word)!r}; the items are {known}")
