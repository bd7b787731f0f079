"""Puts a config together: `extends`, then the overrides of the command line."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from rethaw.api import RethawError
from rethaw.config.model import DEFAULTS, LISTS, SINGLE
from rethaw.config.yaml import ConfigError, Mark, Marked, Problem, parse_value, read_yaml
from rethaw.plugins import CORE


def recipe_path(name: str) -> Path | None:
    """The file of the recipe with that name."""
    path = Path(str(files("rethaw") / "recipes" / f"{name}.yaml"))
    return path if path.is_file() else None


def recipe_names() -> list[str]:
    """The recipes that ship with rethaw; those that only others extend start with _ and are not listed."""
    names = (p.name for p in (files("rethaw") / "recipes").iterdir())
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml") and not name.startswith("_"))


def suggest(name: str) -> str:
    """What to write instead of a recipe that does not exist."""
    names = recipe_names()
    close = difflib.get_close_matches(name, names, 1, 0.7)
    return f"Did you mean {close[0]}?" if close else f"The recipes are: {', '.join(names)}."


def find_file(name: str, beside: Path | None = None) -> Path:
    """A YAML file by path, relative to `beside` (default: here), or a recipe by name."""
    path = (beside or Path()) / name
    if path.is_dir() and (path / "resolved.yaml").is_file():
        return path / "resolved.yaml"
    if path.is_file():
        return path
    recipe = recipe_path(name)
    if recipe:
        return recipe
    if path.is_dir():
        raise RethawError(
            f"{path} is a folder without resolved.yaml, so it is no run", "Name a YAML file, a recipe or a run folder."
        )
    raise RethawError(f"there is no file {str(path)!r} and no recipe {name!r}", suggest(name))


def load_tree(path: Path, seen: tuple[Path, ...] = ()) -> Marked:
    """A file with all that it extends merged under it."""
    path = path.resolve() if seen else path
    tree = read_yaml(path)
    base = tree.value.pop("extends", None)
    mark = (tree.keys or {}).pop("extends", tree.mark)
    if base is None or base.value is None:
        return tree
    if not isinstance(base.value, str):
        raise ConfigError([Problem(base.mark, "extends names one file or recipe")])
    try:
        found = find_file(base.value, path.parent).resolve()
    except RethawError as error:
        raise ConfigError([Problem(base.mark, f"extends: {error.message}", error.hint)]) from error
    if found in (*seen, path.resolve()):
        raise ConfigError([Problem(mark, f"{base.value} extends this file, so they go round in a circle")])
    return merge(load_tree(found, (*seen, path.resolve())), tree)


def merge(base: Marked, over: Marked) -> Marked:
    """Mappings merge key by key; lists and scalars are replaced, and so is a component of another name."""
    if not isinstance(over.value, dict):
        return over
    base = as_component(base)
    if not isinstance(base.value, dict) or ("use" in over.value and full_name(over) != full_name(base)):
        return over
    value, keys = dict(base.value), dict(base.keys or {})
    for key, item in over.value.items():
        value[key] = merge(value[key], item) if key in value else item
        keys[key] = (over.keys or {}).get(key, item.mark)
    return Marked(value, over.mark, keys)


def as_component(node: Marked) -> Marked:
    """A component that is given by its bare name, as the mapping that can take parameters."""
    if not isinstance(node.value, str):
        return node
    return Marked({"use": Marked(node.value, node.mark)}, node.mark, {"use": node.mark})


def full_name(node: Marked) -> str:
    """The component that a mapping names; `cold` is `core.cold`."""
    use = str(node.value["use"].plain()) if "use" in node.value else ""
    return use if "." in use else f"{CORE}.{use}"


def override(tree: Marked, overrides: Sequence[str]) -> Marked:
    """Applies `dotted.path=value` words; an item of a list is named by its id, its component or its number."""
    problems = []
    for word in overrides:
        mark = Mark(f"command line: {word if len(word) < 80 else word[:77] + '…'}")
        path, equals, text = word.partition("=")
        try:
            if not equals or not path:
                raise ValueError("an override is key=value, such as train.steps=1000")
            assign(tree, path.split("."), marked(parse_value(text, str(mark)), mark), mark)
        except ConfigError as error:
            problems += [Problem(mark, problem.message) for problem in error.problems]
        except ValueError as error:
            problems.append(Problem(mark, str(error)))
    if problems:
        raise ConfigError(problems)
    return tree


def marked(value: object, mark: Mark) -> Marked:
    """Plain data as Marked, all at one place."""
    if isinstance(value, dict):
        return Marked({k: marked(v, mark) for k, v in value.items()}, mark, dict.fromkeys(value, mark))
    if isinstance(value, list):
        return Marked([marked(v, mark) for v in value], mark)
    return Marked(value, mark)


def assign(tree: Marked, path: list[str], value: Marked, mark: Mark) -> None:
    """Sets one value, making the mappings on the way."""
    node = tree
    for depth, word in enumerate(path[:-1]):
        node = step_into(node, word, ".".join(path[: depth + 1]), mark)
    last = path[-1]
    if isinstance(node.value, list):
        node.value[item_index(node, last, ".".join(path))] = value
    elif isinstance(node.value, dict):
        node.value[last] = value
        node.keys = {**(node.keys or {}), last: mark}
    else:
        raise ValueError(f"{'.'.join(path[:-1])} is a plain value, it has no {last!r}")


def step_into(node: Marked, word: str, path: str, mark: Mark) -> Marked:
    """What `word` names in a node; a mapping that is not there yet is made, from the default if it has one."""
    if isinstance(node.value, list):
        at = item_index(node, word, path)
        node.value[at] = as_component(node.value[at])
        return node.value[at]  # type: ignore[no-any-return]
    if not isinstance(node.value, dict):
        raise ValueError(f"{path}: {word!r} cannot be reached, there is a plain value above it")
    if word not in node.value and item_id(node) == word:
        return node  # `degradation.blur.…` where the degradation is a single mapping, not a list
    if word not in node.value or node.value[word].value is None:
        node.value[word] = marked(DEFAULTS.get(path, {}), mark)
        node.keys = {**(node.keys or {}), word: mark}
    if path in SINGLE or path in LISTS:
        node.value[word] = as_component(node.value[word])
    return node.value[word]  # type: ignore[no-any-return]


def item_id(item: Marked) -> str | None:
    """An item's id: the one it gives, else the last part of its component's name."""
    plain = as_component(item).plain()
    if not isinstance(plain, dict):
        return None
    return str(plain.get("id") or str(plain.get("use") or "").rpartition(".")[2]) or None


def item_index(node: Marked, word: str, path: str) -> int:
    ids = [item_id(item) for item in node.value]
    if word in ids:
        return ids.index(word)
    if word.isdecimal() and int(word) < len(ids):
        return int(word)
    raise ValueError(f"{path}: there is no item {word!r}; the items are {', '.join(map(str, ids)) or 'none'}")
